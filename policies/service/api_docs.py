"""The service's description: OpenAPI with its keys, and a page of it that needs no script."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

#: How a key is presented, either way.
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def describe(app: FastAPI, open_paths: tuple[str, ...]) -> dict[str, Any]:
    """Return the OpenAPI document of an application whose other paths take a key."""
    found = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes
    )
    found["components"]["securitySchemes"] = _SCHEMES
    for path, methods in found["paths"].items():
        for operation in methods.values():
            operation["security"] = [] if path in open_paths else [{n: []} for n in _SCHEMES]
    return found


def page(description: dict[str, Any]) -> str:
    """Return the description as HTML."""
    parts = [f"<h1>{escape(description['info']['title'])}</h1>"]
    parts.append(f"<p>{escape(description['info']['summary'])} Schema: ")
    parts.append('<a href="/openapi.json">openapi.json</a>. Keys go into the header ')
    parts.append("<code>Authorization: Bearer KEY</code> or <code>X-API-Key: KEY</code>.</p>")
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(operation.get('description', ''))}</p>")
            if body := operation.get("requestBody"):
                name = _name(body["content"]["application/json"]["schema"])
                parts.append(f'<p>Takes <a href="#{name}">{name}</a>.</p>')
            for status, answer in operation["responses"].items():
                shown = answer.get("content", {}).get("application/json", {}).get("schema", {})
                if status == "200" and (name := _name(shown)):
                    parts.append(f'<p>Answers <a href="#{name}">{name}</a>.</p>')
    parts.append("<h1>Objects</h1>")
    for name, schema in description["components"]["schemas"].items():
        parts.append(f'<h2 id="{escape(name)}">{escape(name)}</h2>')
        parts.append(f"<p>{escape(schema.get('description', ''))}</p><dl>")
        for field, shape in schema.get("properties", {}).items():
            needed = " (needed)" if field in schema.get("required", ()) else ""
            parts.append(f"<dt><code>{escape(field)}</code>: {_type(shape)}{needed}</dt>")
            parts.append(f"<dd>{escape(shape.get('description', ''))}</dd>")
        parts.append("</dl>")
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Shelftalk API</title>'
    return f"{head}<body>{''.join(parts)}</body></html>"


def _name(schema: dict[str, Any]) -> str:
    return escape(schema.get("$ref", "").rpartition("/")[2])


def _type(shape: dict[str, Any]) -> str:
    if name := _name(shape):
        return f'<a href="#{name}">{name}</a>'
    if kinds := shape.get("anyOf"):
        return " or ".join(map(_type, kinds))
    if "enum" in shape:
        return escape(" | ".join(map(json.dumps, shape["enum"])))
    kind = shape.get("type", "any")
    if kind == "array":
        return f"list of {_type(shape.get('items', {}))}"
    limits = [
        f"{word} {shape[key]}"
        for key, word in (
            ("minimum", "from"), ("maximum", "to"), ("maxLength", "at most"), ("format", "")
        )
        if key in shape
    ]  # fmt: skip
    return escape(" ".join([str(kind), *limits]).strip())
