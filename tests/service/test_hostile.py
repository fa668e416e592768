"""Hostile requests: every one is answered by a 4xx in the service's one shape, none by a 500."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.service.conftest import Client


def _broken_is_refused(context: Any, response: Any, case: Case) -> bool | None:
    """What breaks the description is refused; too large is a refusal that Schemathesis lacks."""
    return None if response.status_code == 413 else negative_data_rejection(context, response, case)


_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    _broken_is_refused,
]
_EXAMPLES = 30


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("path", ["/v1/shelf", "/v1/feedback"])
def test_fuzzed_requests_get_what_the_description_says(
    client: Client, path: str, mode: GenerationMode
) -> None:
    # Made from our own OpenAPI, valid or broken in some place; statuses, content types and the
    # shape of every answer must be among those described.
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json", client.service.app, headers={"host": "localhost"}
    )
    strategy: st.SearchStrategy[Case] = schema[path]["POST"].as_strategy(generation_mode=mode)

    @settings(
        max_examples=_EXAMPLES, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def fuzz(case: Case) -> None:
        case.call_and_validate("http://localhost", checks=_CHECKS)

    fuzz()


def _shelf(item: dict[str, Any]) -> bytes:
    return json.dumps(item).encode()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid"),
        (b"{", 400, "malformed"),
        (b"\xff\xfe\x00", 400, "malformed"),
        (b"[" * 100_000, 400, "malformed"),
        (b'{"shopper": ' + b'{"a":' * 30_000 + b"1" + b"}" * 30_000 + b"}", 400, "malformed"),
        (b"null", 422, "invalid"),
        (b"[]", 422, "invalid"),
        (b'{"k": 1e999}', 422, "invalid"),
        (b'{"k": ' + b"9" * 5000 + b"}", 400, "malformed"),
        (b'{"k": 2.5}', 422, "invalid"),
        (b'{"k": "2"}', 422, "invalid"),
        (b'{"min_price": true}', 422, "invalid"),
        (b'{"k": true, "k": "x"}', 422, "invalid"),
        (b'{"min_price": NaN}', 422, "invalid"),
        (b'{"max_price": Infinity}', 422, "invalid"),
        (b'{"min_price": -1}', 422, "invalid"),
        (b'{"min_price": 5, "max_price": 1}', 422, "invalid"),
        (b'{"shopper": "\\u0000"}', 422, "invalid"),
        (b'{"shopper": "\\ud800"}', 422, "invalid"),
        (b'{"query": ""}', 422, "invalid"),
        (b'{"query": "a\\u0000b"}', 422, "invalid"),
        (b'{"query": "a", "item": "I01"}', 422, "invalid"),
        (b'{"candidates": []}', 422, "invalid"),
        (b'{"candidates": ["no such item"]}', 422, "invalid"),
        (b'{"surprise": 1}', 422, "invalid"),
        (b'{"explain": true, "k": 21}', 422, "invalid"),
        (b'{"session": {"pages": [{"shown": "I01"}]}}', 422, "invalid"),
        (_shelf({"shopper": "x" * 129}), 422, "invalid"),
        (_shelf({"candidates": ["x"] * 1001}), 422, "invalid"),
    ],
)  # fmt: skip
def test_a_broken_shelf_request_is_refused(
    client: Client, body: bytes, status: int, code: str
) -> None:
    headers = {"content-type": "application/json"}
    answer = client.ask("POST", "/v1/shelf", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize(
    "change",
    [
        {"value": float("1e300")},
        {"type": "view"},
        {"at": "0001-01-01T00:00:00+14:00"},
        {"at": "9999-12-31T23:59:59-14:00"},
        {"at": "yesterday"},
        {"at": 1700000000},
        {"event_id": "a\x00"},
        {"event_id": ""},
        {"slate_id": "no such slate"},
        {"item_id": "not on it"},
    ],
)
def test_a_broken_event_is_refused_with_all_that_came_along(
    client: Client, change: dict[str, Any]
) -> None:
    shelf = client.shelf()
    event = {
        "event_id": shelf["slate_id"], "slate_id": shelf["slate_id"], "type": "click",
        "item_id": shelf["items"][0]["item_id"],
    }  # fmt: skip
    answer = client.feedback(event, event | {"event_id": "bad"} | change)
    assert answer.status_code == 422
    assert "events.1" in answer.json()["error"]["where"]
    assert client.feedback(event).json() == {"stored": 1, "duplicates": 0}


@pytest.mark.parametrize(
    "shopper",
    ["<script>alert(1)</script>", "'; DROP TABLE shelftalk_slates; --", "\u202egnp.exe", "你好"],
)
def test_hostile_ids_are_ids_like_others(client: Client, shopper: str) -> None:
    shelf = client.shelf(shopper=shopper)
    assert shelf["shopper"] is None
    event = {
        "event_id": shopper, "slate_id": shelf["slate_id"], "type": "click",
        "item_id": shelf["items"][0]["item_id"],
    }  # fmt: skip
    assert client.feedback(event).json() == {"stored": 1, "duplicates": 0}
    assert client.feedback(event).json() == {"stored": 0, "duplicates": 1}


def test_an_oversized_body_is_refused_whether_or_not_it_says_its_length(client: Client) -> None:
    async def chunks() -> Any:
        for _ in range(300):
            yield b" " * 1024

    headers = {"content-type": "application/json"}
    said = client.ask("POST", "/v1/shelf", content=b" " * 300_000, headers=headers)
    silent = client.ask("POST", "/v1/shelf", content=chunks(), headers=headers)
    for answer in (said, silent):
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "too_large"


def test_a_form_of_another_site_cannot_write(client: Client) -> None:
    # What a browser sends across sites without asking first is no JSON by its content type.
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        headers = {} if kind is None else {"content-type": kind}
        answer = client.ask("POST", "/v1/shelf", content=b"{}", headers=headers)
        assert answer.status_code == 422


def _error(answer: httpx.Response) -> str:
    code: str = answer.json()["error"]["code"]
    return code


def test_unknown_paths_and_methods_are_told_in_the_same_shape(client: Client) -> None:
    assert _error(client.ask("GET", "/nothing/here")) == "not_found"
    assert _error(client.ask("GET", "/v1/shelf")) == "method"
    assert _error(client.ask("DELETE", "/healthz")) == "method"


def test_without_keys_a_page_elsewhere_cannot_reach_the_service_by_its_own_name(
    client: Client,
) -> None:
    # DNS rebinding: a browser is led to 127.0.0.1 under the attacker's name.
    headers = {"host": "attacker.example:8000"}
    answer = client.ask("POST", "/v1/shelf", json={}, headers=headers)
    assert (answer.status_code, _error(answer)) == (400, "host")


def test_answers_carry_the_security_headers_and_no_leave_for_other_origins(client: Client) -> None:
    for method, path in (("GET", "/"), ("POST", "/v1/shelf"), ("GET", "/nothing")):
        headers = client.ask(method, path, headers={"origin": "https://elsewhere.example"}).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert not any(name.startswith("access-control") for name in headers)
