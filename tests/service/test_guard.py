"""What a request passes first: its key, its rate, its pace; and what the log says of it."""

from __future__ import annotations

import io
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from envs.errors import UserError
from policies.service import app
from policies.service.keys import find_key, make_key, read_keys
from policies.service.logs import JsonLog
from policies.service.rate import RateLimit
from policies.service.settings import (
    ServiceSettings,
    bind,
    exploration,
    is_loopback,
    require_keys,
)
from tests.service.conftest import Client, running
from tests.service.process import Process, served, until


def test_a_key_is_found_by_itself_alone(tmp_path: Path) -> None:
    pairs = [make_key("shop", "read"), make_key("boss", "admin")]
    file = tmp_path / "keys"
    file.write_text("# ours\n" + "\n".join(kept.line for _, kept in pairs) + "\n\n")
    keys = read_keys(file, None)
    assert keys == tuple(kept for _, kept in pairs)
    assert [find_key(keys, key) for key, _ in pairs] == list(keys)
    assert find_key(keys, "") is None
    assert find_key(keys, pairs[0][0] + "x") is None
    # Neither file nor objects hold the key.
    assert all(key not in file.read_text() + repr(keys) for key, _ in pairs)
    assert read_keys(None, ";".join(kept.line for _, kept in pairs)) == keys
    assert read_keys(None, None) == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("shop read", "line 1 must read NAME ROLE sha256:HEX"),
        ("# one\nshop owner sha256:" + "0" * 64, "line 2 must read"),
        ("shop read sha256:123", "line 1 must read"),
        ("\n".join(["shop read sha256:" + "0" * 64] * 2), "line 2 names 'shop' a second time"),
        ("# nothing\n", "holds no key"),
    ],
)
def test_a_bad_keys_file_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(UserError, match=told):
        read_keys(file, None)


def test_a_bucket_gives_its_burst_and_then_its_rate(tmp_path: Path) -> None:
    ours = RateLimit(tmp_path / "rate", 2, rate=10, burst=5)
    theirs = RateLimit(tmp_path / "rate", 2, rate=10, burst=5)  # another worker
    taken = [limit.take(0, now=100.0) for limit in (ours, theirs) * 4]
    assert taken[:5] == [0.0] * 5
    assert all(wait == pytest.approx(0.1) for wait in taken[5:])
    assert ours.take(1, now=100.0) == 0
    assert theirs.take(0, now=100.1) == 0
    assert theirs.take(0, now=100.1) == pytest.approx(0.1)
    # However long nobody comes, the bucket holds its burst.
    assert [ours.take(0, now=1e4) for _ in range(6)] == [0.0] * 5 + [pytest.approx(0.1)]
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("localhost", True), ("::1", True),
     ("0.0.0.0", False), ("192.168.1.2", False), ("example.org", False)],
)  # fmt: skip
def test_without_keys_only_this_machine_is_served(host: str, local: bool) -> None:
    assert is_loopback(host) is local
    require_keys(host, 1)
    if local:
        require_keys(host, 0)
    else:
        with pytest.raises(UserError, match="binds to a loopback address only"):
            require_keys(host, 0)


def test_a_port_in_use_is_one_line() -> None:
    with bind("127.0.0.1", 0) as taken, pytest.raises(UserError, match="Address already in use"):
        bind("127.0.0.1", taken.getsockname()[1])


def test_rules_of_exploration_are_read_or_refused() -> None:
    assert exploration(None) is None
    rule = exploration("plackett_luce:0.25")
    assert rule is not None
    assert rule.name == "plackett_luce(temperature=0.25)"
    for text in ("plackett_luce", "greedy:1", "epsilon:x", "epsilon:2", "plackett_luce:0"):
        with pytest.raises(UserError, match=f"--explore {text}"):
            exploration(text)


class Guarded:
    """A service with two keys, and what it logged."""

    def __init__(self, client: Client, log: io.StringIO, read: str, admin: str) -> None:
        self.client, self.log, self.read, self.admin = client, log, read, admin

    def lines(self) -> list[dict[str, Any]]:
        """What was logged so far."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@pytest.fixture(scope="module")
def guarded(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    (read, kept), (admin, kept_admin) = make_key("shop", "read"), make_key("boss", "admin")
    (folder / "keys").write_text(f"{kept.line}\n{kept_admin.line}\n")
    settings = ServiceSettings(
        bundle=bundle_path, store=f"sqlite:///{folder}/store.db", keys=folder / "keys", rate=20
    )
    log = io.StringIO()
    with running(settings, folder, JsonLog(b"secret", log)) as client:
        yield Guarded(client, log, read, admin)


def test_a_wrong_or_missing_key_is_401_and_learns_nothing(guarded: Guarded) -> None:
    ask = guarded.client.ask
    for headers in (
        {}, {"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}, {"authorization": "Basic x"},
        {"authorization": f"Bearer {guarded.read[:-1]}"},
    ):  # fmt: skip
        for method, path in (
            ("POST", "/v1/shelf"), ("POST", "/v1/feedback"), ("GET", "/v1/shop"),
            ("POST", "/v1/reload"), ("GET", "/metrics"), ("GET", "/nothing"),
        ):  # fmt: skip
            answer = ask(method, path, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "unauthorized"
            assert answer.headers["www-authenticate"] == "Bearer"
    for path in ("/healthz", "/", "/docs", "/openapi.json"):
        assert ask("GET", path).status_code == 200


def test_either_header_carries_a_key_and_only_admins_reload(guarded: Guarded) -> None:
    ask = guarded.client.ask
    bearer, header = {"authorization": f"Bearer {guarded.read}"}, {"x-api-key": guarded.read}
    for headers in (bearer, header):
        answer = ask("GET", "/v1/shop", headers=headers)
        assert answer.status_code == 200
        assert answer.json()["keys_needed"] is True
    assert ask("POST", "/v1/reload", json={}, headers=bearer).status_code == 403
    admin = {"authorization": f"Bearer {guarded.admin}"}
    assert ask("POST", "/v1/reload", json={}, headers=admin).json()["workers"] == 1


def test_a_key_that_asks_too_often_waits_and_others_do_not(guarded: Guarded) -> None:
    ask = [("GET", "/v1/shop", {"headers": {"x-api-key": guarded.read}})] * 60
    answers = guarded.client.ask_all(ask)
    assert {answer.status_code for answer in answers} == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["code"] == "rate_limited"
    assert int(refused.headers["retry-after"]) >= 1
    headers = {"x-api-key": guarded.admin}
    assert guarded.client.ask("GET", "/v1/shop", headers=headers).status_code == 200


def test_the_log_has_no_personal_data_and_no_key(guarded: Guarded) -> None:
    headers = {"x-api-key": guarded.admin, "x-request-id": "mine-1"}
    secret = "Ms Secretive"
    for body in (
        {"shopper": secret, "query": "private query"}, {"shopper": secret},
        {"shopper": "somebody else"}, {"surprise": "private query"},
    ):  # fmt: skip
        answer = guarded.client.ask("POST", "/v1/shelf", json=body, headers=headers)
        assert answer.headers["x-request-id"] == "mine-1"
    guarded.client.ask("GET", f"/nothing/{secret}?q=private+query", headers=headers)
    text = guarded.log.getvalue()
    assert "ecretive" not in text
    assert "private" not in text
    assert guarded.read not in text
    assert guarded.admin not in text
    mine = [line for line in guarded.lines() if line.get("request_id") == "mine-1"]
    shoppers = [line["shopper"] for line in mine if "shopper" in line]
    assert shoppers[0] == shoppers[1] != shoppers[2]
    known = {"at", "level", "event", "request_id", "method", "route", "status", "ms", "key",
             "slate", "shopper"}  # fmt: skip
    assert all(line.keys() <= known for line in mine)
    assert mine[0]["key"] == "boss"
    assert mine[-1]["route"] == "other"


def test_a_hostile_request_id_is_replaced(guarded: Guarded) -> None:
    for given in ("a b", "x" * 65, 'a"}', ""):
        answer = guarded.client.ask("GET", "/healthz", headers={"x-request-id": given})
        assert answer.headers["x-request-id"] not in (given, "")


def test_work_that_takes_too_long_and_a_store_that_hangs_are_503(
    bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ServiceSettings(
        bundle=bundle_path, store=f"sqlite:///{tmp_path}/store.db", timeout=0.3
    )
    with running(settings, tmp_path, JsonLog(b"secret")) as client:
        monkeypatch.setattr(app, "make_shelf", lambda *asked: time.sleep(0.6))
        answer = client.ask("POST", "/v1/shelf", json={"explain": True})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "timeout")
        assert int(answer.headers["retry-after"]) >= 1
        monkeypatch.undo()
        write = client.service.room.writer._store.write

        def hang(jobs: Any) -> Any:
            time.sleep(0.6)
            return write(jobs)

        monkeypatch.setattr(client.service.room.writer._store, "write", hang)
        answer = client.ask("POST", "/v1/shelf", json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "timeout")


@pytest.mark.faults
def test_keys_are_read_again_without_a_restart(bundle_path: Path, tmp_path: Path) -> None:
    (old, kept), (new, replaced) = make_key("shop", "read"), make_key("shop", "read")
    file = tmp_path / "keys"
    file.write_text(kept.line)
    with served(
        bundle_path, f"sqlite:///{tmp_path}/s.db", tmp_path, "--keys", str(file)
    ) as process:

        def status(key: str) -> int:
            url = process.url + "/v1/shop"
            return httpx.get(url, headers={"x-api-key": key}, timeout=30).status_code

        assert (status(old), status(new)) == (200, 401)
        file.write_text(replaced.line)
        process.process.send_signal(signal.SIGHUP)
        until(lambda: status(new) == 200)
        assert status(old) == 401
        # A file that cannot be read leaves the keys as they are.
        file.write_text("nonsense")
        process.process.send_signal(signal.SIGHUP)
        until(lambda: "keys_refused" in process.log.read_text())
        assert status(new) == 200


@pytest.fixture(scope="module")
def slow(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("slow")
    with served(bundle_path, f"sqlite:///{folder}/s.db", folder, "--timeout", "0.5") as process:
        yield process


def _talk(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """Send parts of a request with pauses; return all that comes until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        found = b""
        while chunk := connection.recv(65_536):
            found += chunk
    return found


@pytest.mark.faults
def test_whoever_is_slow_is_let_go(slow: Process) -> None:
    head = b"POST /v1/shelf HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    body = _talk(slow.port, head + b"Content-Length: 20\r\n\r\n", b"{")
    assert body.startswith(b"HTTP/1.1 408")
    assert b'"slow_body"' in body
    began = time.monotonic()
    assert _talk(slow.port) == b""
    assert _talk(slow.port, head) == b""
    assert time.monotonic() - began < 30
    # What is no HTTP at all is told so.
    assert _talk(slow.port, b"\x16\x03\x01\x00\r\n\r\n").startswith(b"HTTP/1.1 400")


@pytest.mark.faults
def test_an_upgrade_that_nobody_offers_is_an_ordinary_request(slow: Process) -> None:
    request = (
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert _talk(slow.port, request).startswith(b"HTTP/1.1 200")
