"""The reference of all settings, written from the settings themselves.

Run ``python -m experiments.config_docs`` to renew docs/config.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from experiments.config import Config, FolderCatalogue, IcecatCatalogue, SyntheticCatalogue

TARGET = Path(__file__).parents[1] / "docs" / "config.md"

_HEAD = """# Settings

Written by `python -m experiments.config_docs` from the settings' own docstrings. A config is a YAML
file with `name:` and any of the sections below; what is left out has its default. On the command
line, `--set section.key=value` overrides one setting.
"""


def _kind(info: FieldInfo) -> str:
    annotation = info.annotation
    options = [option for option in get_args(annotation) if isinstance(option, str)]
    if options:
        return " or ".join(f"`{option}`" for option in options)
    name = getattr(annotation, "__name__", None)
    return name if name and not get_args(annotation) else str(annotation).replace("pathlib.", "")


def _default(info: FieldInfo, value: Any) -> str:
    if info.is_required() and value is None:
        return "required"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def _value(info: FieldInfo) -> Any:
    """Return a field's own default; None where it has none."""
    return None if info.is_required() else info.get_default(call_default_factory=True)


def _rows(model: type[BaseModel], prefix: str, section: BaseModel | None) -> Iterator[str]:
    """Rows of a section; a section inside it follows with a dotted name.

    ``section`` is what a config has where it says nothing: a section may have other defaults there
    than its settings have by themselves.
    """
    for name, info in model.model_fields.items():
        inner: Any = info.annotation
        value = getattr(section, name) if section else _value(info)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _rows(inner, f"{prefix}{name}.", value)
        else:
            about = " ".join((info.description or "").split()).replace("|", "\\|")
            kind = _kind(info).replace("|", "\\|")
            yield f"| `{prefix}{name}` | {kind} | {_default(info, value)} | {about} |"


def _section(title: str, model: type[BaseModel], section: BaseModel | None = None) -> str:
    about = " ".join((model.__doc__ or "").split())
    head = "| key | kind | default | meaning |\n|---|---|---|---|\n"
    return f"## {title}\n{about}\n\n{head}" + "\n".join(_rows(model, "", section)) + "\n"


def render() -> str:
    """Return the text of docs/config.md."""
    top = {name: Config.model_fields[name] for name in ("name", "seed", "preset", "rounds")}
    lines = [
        f"- `{name}`: {info.description} ({_default(info, _value(info))})"
        for name, info in top.items()
    ]
    parts = [_HEAD, "\n".join(lines) + "\n"]
    for kind, model in (
        ("synthetic", SyntheticCatalogue), ("folder", FolderCatalogue), ("icecat", IcecatCatalogue),
    ):  # fmt: skip
        parts.append(_section(f"catalogue, kind: {kind}", model))
    for name, info in Config.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            default = info.get_default()
            part = _section(name, type(default), default)
            parts.append(part)
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
