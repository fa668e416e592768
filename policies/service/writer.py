"""One thread that commits what many requests wait for: a group at a time, as disks like it.

While one group is being committed the next one gathers, so that the number of commits follows the
disk's pace and not the number of requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from policies.service import metrics
from policies.service.errors import ApiError, unavailable
from policies.service.logs import JsonLog
from policies.service.store import Beat, Job, Store, Stored, StoreGone

#: Most jobs of one group, and of those that wait for one.
GROUP, MOST_WAITING = 256, 4_096
#: Seconds for which the answer to "can it be written?" stands.
_FRESH = 1.0
#: Seconds for that answer to come.
_PATIENCE = 2.0


@dataclass
class _Waiting:
    job: Job
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Stored | ApiError]


class Writer:
    """Hands jobs of an event loop to a `Store` in a thread of its own."""

    def __init__(self, store: Store, log: JsonLog) -> None:
        self._store, self._log = store, log
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._gone: str | None = None
        self._written = 0.0
        self._thread.start()

    async def write(self, job: Job) -> Stored:
        """Return when the job is durable.

        Raises:
            ApiError: the job cannot be carried out, or the store is gone (503).
        """
        if self._queue.qsize() > MOST_WAITING:
            raise unavailable("overloaded", "too many writes wait for the store; try again")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(job, loop, loop.create_future())
        self._queue.put(waiting)
        found = await waiting.answer
        if isinstance(found, ApiError):
            raise found
        return found

    async def healthy(self) -> bool:
        """Whether the store takes writes; asks it where the last answer is old."""
        if self._gone is None and time.monotonic() - self._written < _FRESH:
            return True
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.write(Beat())
        except (ApiError, TimeoutError):
            return False
        return True

    def close(self) -> None:
        """Write what waits, then stop; blocks until it is done."""
        self._queue.put(None)
        self._thread.join()
        self._store.close()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group, last = self._gather(first)
            # Whoever has left by now, because time ran out, is not written any more.
            group = [waiting for waiting in group if not waiting.answer.cancelled()]
            if group:
                _tell(group, self._commit([waiting.job for waiting in group]))
            if last:
                return

    def _gather(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        group = [first]
        while len(group) < GROUP:
            try:
                waiting = self._queue.get_nowait()
            except Empty:
                break
            if waiting is None:
                return group, True
            group.append(waiting)
        return group, False

    def _commit(self, jobs: list[Job]) -> Sequence[Stored | ApiError]:
        began = time.perf_counter()
        try:
            found: Sequence[Stored | ApiError] = self._store.write(jobs)
        except StoreGone as error:
            metrics.STORE_ERRORS.inc()
            if self._gone is None:
                self._log.write("store_gone", "error", reason=str(error))
            self._gone = str(error)
            return [
                unavailable("store_unavailable", "the store cannot be written; try again")
            ] * len(jobs)
        except Exception as error:  # a bug of ours must not leave requests waiting
            self._log.error("store_bug", error)
            metrics.STORE_ERRORS.inc()
            return [ApiError(500, "internal", "the store failed; this is our bug")] * len(jobs)
        metrics.COMMIT_SECONDS.observe(time.perf_counter() - began)
        if self._gone is not None:
            self._log.write("store_back")
        self._gone, self._written = None, time.monotonic()
        return found


def _tell(group: list[_Waiting], answers: Sequence[Stored | ApiError]) -> None:
    def tell() -> None:
        for waiting, answer in zip(group, answers, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(answer)

    # Where the loop has ended, so has everybody who waited.
    with contextlib.suppress(RuntimeError):
        group[0].loop.call_soon_threadsafe(tell)
