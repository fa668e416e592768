"""One process that answers requests."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from policies.service.app import Room, make_app
from policies.service.guard import Guard, Limits
from policies.service.keys import VARIABLE, read_keys
from policies.service.logs import JsonLog
from policies.service.rate import RateLimit
from policies.service.schema import create_store, open_engine
from policies.service.settings import ServiceSettings, exploration
from policies.service.shelves import serve_bundle
from policies.service.store import Store
from policies.service.writer import Writer


@dataclass(frozen=True)
class Service:
    """One worker's application, and what it holds."""

    app: Guard
    room: Room
    rate: RateLimit

    def close(self) -> None:
        """Write what waits and let everything go."""
        self.room.writer.close()
        self.rate.close()


def build(settings: ServiceSettings, folder: Path, log: JsonLog) -> Service:
    """Return the application of one worker; ``folder`` is shared with the others."""
    engine = open_engine(settings.store)
    create_store(engine)
    keys = read_keys(settings.keys, os.environ.get(VARIABLE))
    served = serve_bundle(settings.bundle, settings.live)

    async def reload(path: Path | None) -> int:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            None, serve_bundle, path or room.served.path, settings.live
        )
        room.change(found)
        return 1

    writer = Writer(Store(engine), log)
    room = Room(served, writer, log, exploration(settings.explore), reload)
    rate = RateLimit(folder / "rate", max(len(keys), 1), settings.rate, max(2 * settings.rate, 1))
    app = make_app(room, keys, Limits(settings.max_bytes, settings.timeout, rate))
    return Service(app, room, rate)


def run(settings: ServiceSettings, listening: socket.socket) -> None:
    """Answer requests until a signal asks to stop; those at work are finished first."""
    log = JsonLog(secrets.token_bytes(32))
    with tempfile.TemporaryDirectory() as name:
        service = build(settings, Path(name), log)
        config = uvicorn.Config(
            service.app, loop="uvloop", http="httptools", ws="none", lifespan="on", log_config=None,
            access_log=False, server_header=False, proxy_headers=False,
            timeout_graceful_shutdown=int(2 * settings.timeout) + 1,
        )  # fmt: skip
        try:
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            service.close()
