"""What every request passes before a route sees it, as one ASGI layer.

In this order: an id; the host, where no keys protect the service from a browser that was led here;
the number of requests at work; the key and its role; its rate; the body's size and pace; the time
that the answer may take. What is turned away is answered here, in the service's one JSON shape, and
whatever the answer, it gets the security headers, a line in the log and its place in the metrics.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from policies.service import metrics
from policies.service.errors import ApiError, unavailable
from policies.service.keys import Key, find_key
from policies.service.logs import JsonLog
from policies.service.rate import RateLimit

#: Requests at work in one worker at once; more are told to come again.
MOST_AT_WORK = 512
#: Routes that need no key: the storefront page asks for one itself.
OPEN = ("/", "/healthz", "/docs", "/openapi.json", "/static")
ADMIN = ("/v1/reload",)

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOCAL_HOST = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.IGNORECASE)

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_API_CSP = "default-src 'none'; frame-ancestors 'none'"
_PAGE_CSP = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


@dataclass
class Limits:
    """What a request may take."""

    max_bytes: int
    timeout: float
    #: None lets every rate pass.
    rate: RateLimit | None = None


class Guard:
    """The layer around the application."""

    def __init__(self, app: ASGIApp, keys: Sequence[Key], limits: Limits, log: JsonLog) -> None:
        self.keys = tuple(keys)
        self._app = app
        self._limits = limits
        self._log = log
        self._at_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; pass other kinds of connections on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Passage(self, scope, receive, send).run()


class _Passage:
    """One request on its way through."""

    def __init__(self, guard: Guard, scope: Scope, receive: Receive, send: Send) -> None:
        self._guard, self._scope, self._receive, self._send = guard, scope, receive, send
        self._headers = Headers(scope=scope)
        self._began = time.perf_counter()
        self._status = 0
        given = self._headers.get("x-request-id", "")
        self._id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        # What the routes add to the log line of their request.
        scope["log"] = {}

    async def run(self) -> None:
        guard = self._guard
        guard._at_work += 1
        try:
            await self._passed()
        except ApiError as error:
            await self._fail(error)
        except TimeoutError:
            await self._fail(unavailable("timeout", "the answer took too long; try again"))
        except Exception as error:
            guard._log.error("bug", error, request_id=self._id)
            await self._fail(
                ApiError(500, "internal", f"this is our bug; quote request id {self._id}")
            )
        finally:
            guard._at_work -= 1
            self._account()

    async def _passed(self) -> None:
        guard, limits = self._guard, self._guard._limits
        path = self._scope["path"]
        if not guard.keys and not _LOCAL_HOST.fullmatch(self._headers.get("host", "localhost")):
            raise ApiError(
                400, "host", "without keys the service answers to a loopback host name only", "host"
            )
        if guard._at_work > MOST_AT_WORK:
            raise unavailable("overloaded", "too many requests at once; try again")
        self._check_key(path)
        body = await self._body(limits)
        sent = False

        async def receive() -> Message:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            return await self._receive()

        # A bundle takes its time to load, and its supervisor watches over that.
        async with asyncio.timeout(None if path in ADMIN else limits.timeout):
            await guard._app(self._scope, receive, self._pass_on)

    def _check_key(self, path: str) -> None:
        keys, limits = self._guard.keys, self._guard._limits
        if path in OPEN or path.startswith("/static/"):
            return
        bucket = 0
        if keys:
            key = find_key(keys, _presented(self._headers))
            if key is None:
                raise ApiError(401, "unauthorized", "a valid API key is needed", "authorization")
            self._scope["log"]["key"] = key.name
            if path in ADMIN and key.role != "admin":
                raise ApiError(403, "forbidden", "this takes an admin key", "authorization")
            bucket = keys.index(key)
        if limits.rate is not None and (wait := limits.rate.take(bucket)):
            raise ApiError(
                429, "rate_limited", "too many requests for this key; try later",
                retry_after=int(wait) + 1,
            )  # fmt: skip

    async def _body(self, limits: Limits) -> bytes:
        too_large = ApiError(
            413, "too_large", f"a body may have {limits.max_bytes:,} bytes at most", "body"
        )
        length = self._headers.get("content-length", "0")
        if not length.isdecimal():
            raise ApiError(400, "malformed", "content-length must be a number", "content-length")
        if int(length) > limits.max_bytes:
            raise too_large
        chunks, size, more = [], 0, True
        try:
            async with asyncio.timeout(limits.timeout):
                while more:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ApiError(400, "disconnected", "the client left")
                    chunk = message.get("body", b"")
                    size += len(chunk)
                    if size > limits.max_bytes:
                        raise too_large
                    chunks.append(chunk)
                    more = message.get("more_body", False)
        except TimeoutError:
            raise ApiError(408, "slow_body", "the body took too long to come", "body") from None
        return b"".join(chunks)

    async def _fail(self, error: ApiError) -> None:
        if self._status:  # the answer has begun: all that is left is to break it off
            return
        response = error.response()
        if error.status in (408, 413):
            # The rest of the body is not read, so the connection cannot be used again.
            response.headers["Connection"] = "close"
        if error.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        await response(self._scope, self._receive, self._pass_on)

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            page = headers.get("content-type", "").startswith("text/html")
            headers["Content-Security-Policy"] = _PAGE_CSP if page else _API_CSP
            headers["X-Request-ID"] = self._id
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)

    def _account(self) -> None:
        seconds = time.perf_counter() - self._began
        route: Any = self._scope.get("route")
        # The route's pattern: a path that nothing serves may hold anything.
        name = getattr(route, "path", None) or "other"
        metrics.REQUESTS.labels(name, str(self._status)).inc()
        metrics.SECONDS.labels(name).observe(seconds)
        self._guard._log.write(
            "request", request_id=self._id, method=self._scope["method"], route=name,
            status=self._status, ms=round(1000 * seconds, 2), **self._scope["log"],
        )  # fmt: skip


def _presented(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
