"""A real service in processes of its own, and shoppers that ask it over HTTP at the same time."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
_ADDRESS = re.compile(r"serving .* at (http://\S+)/")
#: Seconds for workers to import, load and listen, on a machine with much else to do.
_START = 90


class Process:
    """``shelftalk serve`` as a user starts it, in a process group of its own."""

    def __init__(self, bundle: Path, store: str, folder: Path, *options: str) -> None:
        self.log = folder / f"log-{time.monotonic_ns()}"
        command = [sys.executable, "-m", "experiments", "serve", str(bundle), "--store", store]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *(() if "--port" in options else ("--port", "0")), *options],
                cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        self.url = self._address()

    def _address(self) -> str:
        ends = time.monotonic() + _START
        while time.monotonic() < ends:
            if found := _ADDRESS.search(self.log.read_text()):
                return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.kill()
        raise AssertionError(f"the service did not start: {self.log.read_text()}")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def workers(self) -> list[int]:
        """Process ids of the workers at work."""
        ready = re.findall(r'"event": "worker_ready", "pid": (\d+)', self.log.read_text())
        gone = re.findall(r'"event": "worker_ended", "pid": (\d+)', self.log.read_text())
        return [int(pid) for pid in ready if pid not in gone]

    def kill(self) -> None:
        """End every process of it at once, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """Ask it to end in order; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextlib.contextmanager
def served(bundle: Path, store: str, folder: Path, *options: str) -> Iterator[Process]:
    """Run a service; whatever happens, nothing of it is left."""
    process = Process(bundle, store, folder, *options)
    try:
        yield process
    finally:
        process.kill()


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something to become true."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.02)


@dataclass
class Shoppers:
    """Threads that ask for a shelf, click on it and repeat the click, until told to stop.

    A click that is not acknowledged is sent again under its own id, as a careful client does.
    """

    url: str
    threads: int = 6
    #: Ids of the events that the service acknowledged.
    acknowledged: set[str] = field(default_factory=set)
    #: Statuses of all answers, and "broken" where none came.
    answers: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._ended, self._given_up = threading.Event(), threading.Event()

    def __enter__(self) -> Shoppers:
        """Begin."""
        self._at_work = [
            threading.Thread(target=self._shop, args=(n,), daemon=True) for n in range(self.threads)
        ]
        for thread in self._at_work:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.finish()

    def give_up(self) -> None:
        """Stop, and repeat no click any more."""
        self._given_up.set()
        self.finish()

    def finish(self) -> None:
        """Stop, with every click that was begun acknowledged."""
        self._ended.set()
        for thread in self._at_work:
            thread.join(60)
            assert not thread.is_alive()

    def _shop(self, number: int) -> None:
        with httpx.Client(timeout=30) as client:
            visit = 0
            while not self._ended.is_set():
                visit += 1
                shelf = self._post(client, "/v1/shelf", {"shopper": f"s{number:02d}"})
                if shelf is None:
                    time.sleep(0.02)
                    continue
                item = shelf["items"][visit % len(shelf["items"])]["item_id"]
                event = f"{number}-{visit}-{shelf['slate_id']}"
                click = {
                    "event_id": event, "slate_id": shelf["slate_id"], "item_id": item,
                    "type": "click",
                }  # fmt: skip
                sent = 0
                # Every third click is sent twice, acknowledged or not.
                while sent < 1 + (visit % 3 == 0) and not self._given_up.is_set():
                    if self._post(client, "/v1/feedback", {"events": [click]}) is None:
                        time.sleep(0.02)
                    else:
                        self.acknowledged.add(event)
                        sent += 1

    def _post(self, client: httpx.Client, path: str, body: Any) -> dict[str, Any] | None:
        try:
            answer = client.post(self.url + path, json=body)
        except httpx.HTTPError:
            self.answers["broken"] += 1
            return None
        self.answers[str(answer.status_code)] += 1
        found: dict[str, Any] = answer.json()
        return found if answer.status_code == 200 else None


def stored_events(store: Path) -> list[str]:
    """Ids of the events in a SQLite store, read by SQLite alone."""
    with contextlib.closing(sqlite3.connect(store)) as connection:
        return [row[0] for row in connection.execute("SELECT event_id FROM shelftalk_events")]
