"""The process that keeps the workers: starts them, replaces the dead, changes their bundle.

It holds the listening socket, so that no connection is refused while a worker is replaced, and does
no other work. SIGTERM and SIGINT end the workers in order; SIGHUP has them read the API keys again,
and the bundle, from the folder that `POST /v1/reload` named last.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

import policies
from envs.errors import UserError
from policies.service import keys
from policies.service.control import LOAD_TIME, Message, encode, read
from policies.service.logs import VARIABLE, JsonLog
from policies.service.schema import create_store, open_engine
from policies.service.settings import ServiceSettings, bind, require_keys

#: Seconds before a worker that died is replaced.
_PAUSE = 0.5


def check(settings: ServiceSettings) -> None:
    """Look at what can be wrong before a process is started; makes the store.

    The bundle and the rule of exploration are for the workers to read: they tell what is wrong, and
    the supervisor stays small.

    Raises:
        UserError: the first thing found.
    """
    known = keys.read_keys(settings.keys, os.environ.get(keys.VARIABLE))
    require_keys(settings.host, len(known))
    if not (settings.bundle / "manifest.json").is_file():
        raise UserError(
            f"bundle {settings.bundle}: it has no manifest.json; give a bundle's folder"
        )
    engine = open_engine(settings.store)
    create_store(engine)
    engine.dispose()


def serve(settings: ServiceSettings, announce: Callable[[str], None]) -> int:
    """Serve until a signal ends it; return the exit code.

    Args:
        settings: as given; they are checked here.
        announce: called with the address when all workers listen.

    Raises:
        UserError: the settings cannot be carried out.
    """
    check(settings)
    with (
        bind(settings.host, settings.port) as listening,
        tempfile.TemporaryDirectory(prefix="shelftalk-") as folder,
    ):
        log = JsonLog(_log_key())
        return asyncio.run(_Supervisor(settings, listening, Path(folder), log, announce).run())


@dataclass
class _Worker:
    process: asyncio.subprocess.Process
    stream: asyncio.StreamWriter
    #: How many changes of bundle had been made when it was started.
    changes: int
    ready: bool = False
    #: Answers that are waited for, by ticket.
    waited: dict[int, asyncio.Future[str | None]] = field(default_factory=dict)

    def say(self, message: Message) -> None:
        self.stream.write(encode(message))


class _Supervisor:
    def __init__(
        self, settings: ServiceSettings, listening: socket.socket, folder: Path, log: JsonLog,
        announce: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._settings, self._listening, self._folder = settings, listening, folder
        self._log, self._announce = log, announce
        self._workers: dict[int, _Worker] = {}
        self._stopping = asyncio.Event()
        self._changing = asyncio.Lock()
        self._changes, self._tickets = 0, 0
        self._announced = False
        #: What the user can mend, and whether it is us who are at fault.
        self._failure: str | None = None
        self._broken = False
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self._again()))
        (self._folder / "metrics").mkdir()
        keepers = [asyncio.create_task(self._keep()) for _ in range(self._settings.workers)]
        await self._stopping.wait()
        self._log.write("stopping")
        for worker in self._workers.values():
            worker.process.terminate()
        patience = 2 * self._settings.timeout + 5
        _, late = await asyncio.wait(keepers, timeout=patience)
        for worker in self._workers.values():
            self._log.write("killed", "error", pid=worker.process.pid)
            worker.process.kill()
        if late:
            await asyncio.wait(late)
        if self._failure is not None:
            raise UserError(self._failure)
        if self._broken:
            raise RuntimeError("a worker ended before it was ready; what it said stands above")
        return 0

    async def _keep(self) -> None:
        """Have one worker at work until the end."""
        while not self._stopping.is_set():
            await self._one()
            if not self._stopping.is_set():
                if not self._announced:
                    # Nothing has ever worked: to try again and again would hide why.
                    self._broken = self._failure is None
                    self._stopping.set()
                    return
                await asyncio.sleep(_PAUSE)

    async def _one(self) -> None:
        """Start a worker and stay with it until it ends."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "policies.service.worker",
                str(self._listening.fileno()), str(theirs.fileno()),
                pass_fds=(self._listening.fileno(), theirs.fileno()), env=self._environment(),
            )  # fmt: skip
        reader, stream = await asyncio.open_connection(sock=ours)
        worker = _Worker(process, stream, self._changes)
        self._workers[process.pid] = worker
        worker.say(
            {
                "settings": self._settings.model_dump(mode="json"),
                "folder": str(self._folder),
                "log_key": self._log.key.hex(),
            }
        )
        if self._stopping.is_set():
            process.terminate()
        while (message := await read(reader)) is not None:
            self._hear(worker, message)
        code = await process.wait()
        del self._workers[process.pid]
        stream.close()
        for answer in worker.waited.values():
            if not answer.done():
                answer.set_result("a worker ended while it loaded the bundle")
        mark_process_dead(process.pid, str(self._folder / "metrics"))
        self._log.write(
            "worker_ended", "info" if code == 0 else "error", pid=process.pid, code=code
        )

    def _environment(self) -> dict[str, str]:
        # The folder of our sources first, wherever the command was started.
        source = str(Path(policies.__file__).parents[1])
        paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
        return os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "PROMETHEUS_MULTIPROC_DIR": str(self._folder / "metrics"),
        }

    def _hear(self, worker: _Worker, message: Message) -> None:
        match message["say"]:
            case "ready":
                worker.ready = True
                self._log.write("worker_ready", pid=worker.process.pid)
                if worker.changes != self._changes:
                    self._spawn(self._catch_up(worker))
                self._announce_once()
            case "failed":
                self._failure = self._failure or message["why"]
            case "loaded":
                if answer := worker.waited.pop(message["ticket"], None):
                    answer.set_result(message["why"])
            case "reload":
                self._spawn(self._asked(worker, message["path"]))

    def _announce_once(self) -> None:
        ready = sum(worker.ready for worker in self._workers.values())
        if not self._announced and ready == self._settings.workers:
            self._announced = True
            host, port = self._listening.getsockname()[:2]
            self._announce(f"http://{f'[{host}]' if ':' in host else host}:{port}/")

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _again(self) -> None:
        """What SIGHUP asks for."""
        for worker in self._workers.values():
            worker.say({"do": "keys"})
        why, _ = await self._change(self._settings.bundle)
        self._log.write("reload", "info" if why is None else "error", refused=why)

    async def _asked(self, worker: _Worker, path: str | None) -> None:
        """What a worker's `POST /v1/reload` asks for."""
        folder = self._settings.bundle if path is None else Path(path)
        why, workers = await self._change(folder)
        worker.say({"do": "done", "why": why, "workers": workers})
        self._log.write("reload", "info" if why is None else "error", refused=why)

    async def _change(self, folder: Path) -> tuple[str | None, int]:
        """Have all workers change to a bundle, or none; return why not, and how many there are."""
        if self._changing.locked():
            return "a change of bundle is under way; try again when it is done", 0
        async with self._changing:
            workers = [worker for worker in self._workers.values() if worker.ready]
            refused = await self._load(workers, folder)
            for worker in workers:
                worker.say({"do": "swap" if refused is None else "drop"})
            if refused is None:
                self._changes += 1
                self._settings = self._settings.model_copy(update={"bundle": folder})
                for worker in workers:
                    worker.changes = self._changes
            return refused, len(workers)

    async def _catch_up(self, worker: _Worker) -> None:
        """Have a worker that was started before the last change make it too."""
        async with self._changing:
            if await self._load([worker], self._settings.bundle) is None:
                worker.say({"do": "swap"})
                worker.changes = self._changes

    async def _load(self, workers: list[_Worker], folder: Path) -> str | None:
        """Have workers load a bundle beside the present one; return the first refusal."""
        self._tickets += 1
        loop = asyncio.get_running_loop()
        for worker in workers:
            worker.waited[self._tickets] = loop.create_future()
            worker.say({"do": "load", "path": str(folder), "ticket": self._tickets})
        answers = [worker.waited[self._tickets] for worker in workers]
        try:
            async with asyncio.timeout(LOAD_TIME):
                found = await asyncio.gather(*answers)
        except TimeoutError:
            return "the bundle took too long to load"
        return next((why for why in found if why is not None), None)


def _log_key() -> bytes:
    """Key of the pseudonyms: the environment's, or one that lasts until the service stops."""
    given = os.environ.get(VARIABLE, "")
    return given.encode() if given else secrets.token_bytes(32)
