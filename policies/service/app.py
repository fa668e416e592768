"""The application: its routes, and what they share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response

from envs.errors import UserError
from policies.logging_policies import LoggingPolicy
from policies.service import api_docs, metrics
from policies.service.errors import ApiError, bad_request, invalid_body, json_response, unavailable
from policies.service.guard import OPEN, Guard, Limits
from policies.service.keys import Key
from policies.service.logs import JsonLog
from policies.service.messages import (
    MOST_EXPLAINED,
    ErrorAnswer,
    FeedbackAnswer,
    FeedbackRequest,
    Health,
    ReloadAnswer,
    ReloadRequest,
    ShelfAnswer,
    ShelfRequest,
    ShopAnswer,
)
from policies.service.shelves import Made, Served, make_shelf, shop
from policies.service.store import EventRows
from policies.service.writer import Writer

#: Threads for shelves that take long, those for shelves that may wait for the language model, and
#: how many of either kind may be asked for at once.
_SLOW_THREADS, _LIVE_THREADS, _MOST_SLOW = 2, 16, 32

STATIC = Path(__file__).parent / "static"

#: Changes the bundle of all workers to that of a folder (None: the present one); returns how many
#: workers there are. Raises `UserError` for a bad bundle.
Reload = Callable[[Path | None], Awaitable[int]]


@dataclass
class Room:
    """What the routes share."""

    served: Served
    writer: Writer
    log: JsonLog
    explore: LoggingPolicy | None
    reload: Reload
    keys_needed: bool

    def __post_init__(self) -> None:
        live = self.served.bundle.live is not None
        self._slow = ThreadPoolExecutor(_LIVE_THREADS if live else _SLOW_THREADS, "shelf")
        self._slow_waiting = 0

    async def make(self, asked: ShelfRequest) -> Made:
        """Make a shelf: here if that takes a few milliseconds, else in a thread.

        Raises:
            UserError: the request cannot be carried out.
            ApiError: too many slow ones wait.
        """
        served, explore = self.served, None if asked.explore is False else self.explore
        if served.quick and not asked.explain:
            made = make_shelf(served, asked, explore)
        elif self._slow_waiting >= _MOST_SLOW:
            raise unavailable("overloaded", "too many slow shelves wait; try again")
        else:
            self._slow_waiting += 1
            loop = asyncio.get_running_loop()
            try:
                made = await loop.run_in_executor(self._slow, make_shelf, served, asked, explore)
            finally:
                self._slow_waiting -= 1
        if made.refused is not None:
            self.log.write("explore_refused", "warning", reason=made.refused)
        return made

    def change(self, served: Served) -> None:
        """Answer with another bundle from now on; requests at work end with the one they have."""
        metrics.BUNDLE.labels(**self.served.name).set(0)
        before, self.served = self.served.bundle, served
        if before.live is not None:
            # Its thread ends when it has written what it is at, which nobody here waits for.
            self._slow.submit(before.live.close)
        metrics.BUNDLE.labels(**served.name).set(1)

    def close(self) -> None:
        """Let the language model go."""
        if self.served.bundle.live is not None:
            self.served.bundle.live.close()


def make_app(room: Room, keys: Sequence[Key], limits: Limits) -> Guard:
    """Return the application behind its guard."""

    metrics.BUNDLE.labels(**room.served.name).set(1)
    app = FastAPI(
        title="Shelftalk",
        summary="Shelves that order themselves and say why; feedback comes back.",
        version="1",
        docs_url=None,
        redoc_url=None,
        responses={code: {"model": ErrorAnswer} for code in (400, 401, 408, 413, 422, 429, 503)},
    )
    app.openapi = lambda: description  # type: ignore[method-assign]
    _add_errors(app)
    _add_routes(app, room)
    description = api_docs.describe(app, OPEN)
    return Guard(app, keys, limits, room.log)


def _add_routes(app: FastAPI, room: Room) -> None:
    @app.post("/v1/shelf", responses={200: {"model": ShelfAnswer}})
    async def shelf(asked: ShelfRequest, request: Request) -> Response:
        """Make a shelf; it is stored before it is answered."""
        if asked.query is not None and asked.item is not None:
            raise bad_request("give a query or an item, not both", "body.item")
        slots = room.served.bundle.manifest.settings.slots
        if asked.explain and (asked.k or slots) > MOST_EXPLAINED:
            raise bad_request(
                f"explain is for {MOST_EXPLAINED} items at most; ask for fewer with k", "body.k"
            )
        made = await room.make(asked)
        await room.writer.write(made.row)
        metrics.SLATES.labels(made.answer["scene"]).inc()
        request.scope["log"] |= {
            "slate": made.answer["slate_id"],
            "shopper": room.log.pseudonym(asked.shopper),
        }
        return json_response(made.answer)

    @app.post("/v1/feedback", responses={200: {"model": FeedbackAnswer}})
    async def feedback(asked: FeedbackRequest) -> Response:
        """Store events, each once however often it is sent; answered when they are durable."""
        now = time.time()
        events = [
            {
                "event_id": event.event_id,
                "slate_id": event.slate_id,
                "item_id": event.item_id,
                "type": event.type,
                "value": event.value if event.type == "purchase" else None,
                "at": now if event.at is None else event.at.timestamp(),
            }
            for event in asked.events
        ]
        stored = await room.writer.write(EventRows(events))
        metrics.EVENTS.labels("stored").inc(stored.new)
        metrics.EVENTS.labels("duplicate").inc(stored.known)
        return json_response({"stored": stored.new, "duplicates": stored.known})

    @app.get("/v1/shop", responses={200: {"model": ShopAnswer}})
    async def shop_shown() -> Response:
        """Say what there is to choose from."""
        return json_response(shop(room.served, room.keys_needed))

    @app.get("/healthz", responses={200: {"model": Health}, 503: {"model": Health}})
    async def health() -> Response:
        """Say whether shelves can be served and feedback stored."""
        store = "ok" if await room.writer.healthy() else "unavailable"
        found = {"status": store, "bundle": room.served.name, "store": store}
        return json_response(found, 200 if store == "ok" else 503)

    @app.get("/metrics", response_class=Response)
    async def prometheus() -> Response:
        """Return the metrics of all workers in Prometheus' text format."""
        return Response(metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})

    @app.post("/v1/reload", responses={200: {"model": ReloadAnswer}, 409: {"model": ErrorAnswer}})
    async def reload(asked: ReloadRequest) -> Response:
        """Change to another bundle; takes an admin key. A bad one leaves the old one at work."""
        try:
            workers = await room.reload(None if asked.path is None else Path(asked.path))
        except UserError as error:
            metrics.RELOADS.labels("refused").inc()
            raise ApiError(409, "bad_bundle", str(error), "body.path") from error
        metrics.RELOADS.labels("done").inc()
        return json_response({"bundle": room.served.name, "workers": workers})

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> Response:
        return HTMLResponse(api_docs.page(app.openapi()))

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    app.mount("/static", StaticFiles(directory=STATIC), name="static")


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def api(_: Request, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(UserError)
    async def user(_: Request, error: UserError) -> Response:
        return bad_request(str(error)).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return invalid_body(error.errors()).response()

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        known = {
            400: ("malformed", "the body is not valid JSON"),
            404: ("not_found", "there is nothing here"),
            405: ("method", "this path takes another method"),
        }
        code, message = known.get(error.status_code, ("http", str(error.detail)))
        answer: Any = ApiError(error.status_code, code, message).response()
        answer.headers.update(error.headers or {})
        return answer
