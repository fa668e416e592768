"""One process that answers requests, started and told by the supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from envs.errors import UserError
from policies.service.app import Reload, Room, make_app
from policies.service.control import Channel, Message, read
from policies.service.guard import Guard, Limits
from policies.service.keys import MOST_KEYS, VARIABLE, read_keys
from policies.service.logs import JsonLog, LibraryLog
from policies.service.protocol import TimedProtocol
from policies.service.rate import RateLimit
from policies.service.schema import open_engine
from policies.service.settings import ServiceSettings, exploration, require_keys
from policies.service.shelves import Served, serve_bundle
from policies.service.store import Store
from policies.service.writer import Writer

#: Seconds for which a connection without a request stays open: longer than proxies keep theirs, so
#: that it is they who close.
_IDLE = 75
#: Seconds for which one thread may hold the interpreter while another waits: the thread that
#: commits should not wait for the one that computes shelves.
_SWITCH = 0.0005


@dataclass(frozen=True)
class Service:
    """One worker's application, and what it holds."""

    app: Guard
    room: Room
    rate: RateLimit

    def close(self) -> None:
        """Write what waits and let everything go."""
        self.room.close()
        self.room.writer.close()
        self.rate.close()


def build(
    settings: ServiceSettings, folder: Path, log: JsonLog, reload: Reload | None = None
) -> Service:
    """Return the application of one worker.

    Args:
        settings: checked already, with a store that is there.
        folder: shared with the other workers.
        log: where requests are told.
        reload: changes the bundle of all workers; of this one alone where None.

    Raises:
        UserError: the bundle or the keys are bad.
    """
    keys = read_keys(settings.keys, os.environ.get(VARIABLE))
    served = load_served(settings.bundle, settings)
    if settings.live:
        ids = served.bundle.labels.ids
        lacking = len(ids) - served.bundle.reasons["tuned"].items
        log.write("live_reasons", items=len(ids), lacking=lacking)

    async def alone(path: Path | None) -> int:
        room.change(await load_beside(path or room.served.path, settings))
        return 1

    writer = Writer(Store(open_engine(settings.store), folder / "turn"), log)
    room = Room(served, writer, log, exploration(settings.explore), reload or alone, bool(keys))
    rate = RateLimit(folder / "rate", MOST_KEYS, settings.rate, max(settings.rate, 1.0))
    app = make_app(room, keys, Limits(settings.max_bytes, settings.timeout, rate))
    return Service(app, room, rate)


async def load_beside(path: Path, settings: ServiceSettings) -> Served:
    """Load a bundle in a thread, so that requests go on being answered."""
    return await asyncio.get_running_loop().run_in_executor(None, load_served, path, settings)


def load_served(path: Path, settings: ServiceSettings) -> Served:
    """Load a bundle as the settings ask for it."""
    explore = exploration(settings.explore)
    return serve_bundle(path, settings.live, explore, settings.live_deadline)


class _Server(uvicorn.Server):
    """Says when it listens; a signal ends it in order, and with exit code 0."""

    def __init__(self, config: uvicorn.Config, channel: Channel) -> None:
        super().__init__(config)
        self._channel = channel

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._channel.say({"say": "ready"})

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sign, self.stop)
        yield

    def stop(self) -> None:
        """Answer what is at work, then end."""
        self.should_exit = True


async def _work(listening: socket.socket, control: socket.socket) -> int:
    """Serve until told to stop; return the exit code."""
    channel = Channel(*await asyncio.open_connection(sock=control))
    first = await read(channel.reader)
    if first is None:
        return 1
    settings = ServiceSettings.model_validate(first["settings"])
    log = JsonLog(bytes.fromhex(first["log_key"]))
    logging.getLogger().addHandler(LibraryLog(log))
    try:
        service = build(settings, Path(first["folder"]), log, channel.reload)
    except UserError as error:
        channel.say({"say": "failed", "why": str(error)})
        return 2
    TimedProtocol.head_time = settings.timeout
    config = uvicorn.Config(
        service.app, http=TimedProtocol, ws="none", lifespan="off", log_config=None,
        access_log=False, server_header=False, proxy_headers=False, timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=int(2 * settings.timeout) + 1,
    )  # fmt: skip
    server = _Server(config, channel)
    listener = asyncio.create_task(_obey(channel, service, server, settings))
    # What was loaded lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    try:
        await server.serve(sockets=[listening])
    finally:
        listener.cancel()
        await asyncio.get_running_loop().run_in_executor(None, service.close)
    return 0


async def _obey(
    channel: Channel, service: Service, server: _Server, settings: ServiceSettings
) -> None:
    """Carry out what the supervisor says, and end when it is gone."""
    beside: Served | None = None
    while (message := await read(channel.reader)) is not None:
        match message["do"]:
            case "load":
                beside, answer = await _load(message, settings)
                channel.say(answer)
            case "swap":
                if beside is not None:
                    service.room.change(beside)
                beside = None
            case "drop":
                beside = None
            case "keys":
                _read_keys_again(service, settings)
            case "done":
                channel.answer(message)
    server.stop()


def _read_keys_again(service: Service, settings: ServiceSettings) -> None:
    """Take the keys as they are now; where they are bad, those at hand stay."""
    try:
        keys = read_keys(settings.keys, os.environ.get(VARIABLE))
        require_keys(settings.host, len(keys))
    except UserError as error:
        service.room.log.write("keys_refused", "error", reason=str(error))
        return
    service.app.keys = keys
    service.room.keys_needed = bool(keys)


async def _load(message: Message, settings: ServiceSettings) -> tuple[Served | None, Message]:
    answer: dict[str, Any] = {"say": "loaded", "ticket": message["ticket"], "why": None}
    try:
        return await load_beside(Path(message["path"]), settings), answer
    except UserError as error:
        return None, answer | {"why": str(error)}
    except Exception as error:  # a bundle that breaks our own code must not take the worker along
        return None, answer | {"why": f"the bundle cannot be loaded ({type(error).__name__})"}


def main(listening: int, control: int) -> int:
    """Work with the two sockets of these file descriptors; return the exit code."""
    # The supervisor reloads on this signal; a terminal that closes sends it to all of us.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH)
    import uvloop

    return uvloop.run(_work(socket.socket(fileno=listening), socket.socket(fileno=control)))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
