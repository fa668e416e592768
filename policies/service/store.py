"""Writing to the store: one transaction for all that waits, each answer durable when it returns."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from policies.service.errors import ApiError, bad_request
from policies.service.schema import EVENTS, SLATES, STORE, reason, sqlite_file

#: What slates showed, by id.
_SHOWN = sa.select(SLATES.c.slate_id, SLATES.c.shown).where(
    SLATES.c.slate_id.in_(sa.bindparam("slates", expanding=True))
)


class StoreGone(Exception):
    """The store cannot be reached or written now; nothing of the group was stored."""


@dataclass(frozen=True)
class SlateRow:
    """A slate that is to be served: a row of `SLATES`."""

    slate: dict[str, Any]


@dataclass(frozen=True)
class EventRows:
    """Events of one request, rows of `EVENTS`; ``value`` None means the item's own margin."""

    events: list[dict[str, Any]]


@dataclass(frozen=True)
class Beat:
    """A write that changes nothing but the store's beat: can it be written?"""


Job = SlateRow | EventRows | Beat


@dataclass(frozen=True)
class Stored:
    """What became of a job: events that were new, and events that were known already."""

    new: int = 0
    known: int = 0


class Store:
    """A connection to the store, for one thread at a time.

    Args:
        engine: of the store, which has been made.
        turn: a file that all workers share, on which those of SQLite wait for their turn to write.
            Without it SQLite looks again and again, with pauses that grow.
    """

    def __init__(self, engine: Engine, turn: Path | None = None) -> None:
        self._engine = engine
        self._turn = None if turn is None else os.open(turn, os.O_RDWR | os.O_CREAT, 0o600)
        self._file = sqlite_file(engine)
        insert = sqlite.insert if self._file is not None else postgresql.insert
        # Rows that are there already are left alone.
        self._insert_slates = insert(SLATES).on_conflict_do_nothing()
        self._insert_events = insert(EVENTS).on_conflict_do_nothing().returning(EVENTS.c.event_id)
        self._connection: sa.Connection | None = None
        #: Device and inode of each file of SQLite when it was opened.
        self._opened: dict[Path, tuple[int, int]] = {}

    def write(self, jobs: Sequence[Job]) -> list[Stored | ApiError]:
        """Carry out jobs in one transaction; return what became of each.

        An `ApiError` is the answer to a job that could not be carried out as asked; the others of
        the group are not concerned.

        Raises:
            StoreGone: nothing was stored, or nobody can tell whether it was.
        """
        try:
            connection = self._connected()
            with self._my_turn(), connection.begin():
                slates = [job.slate for job in jobs if isinstance(job, SlateRow)]
                if slates:
                    connection.execute(self._insert_slates, slates)
                if any(isinstance(job, Beat) for job in jobs):
                    connection.execute(STORE.update().values(beat=time.time()))
                events = [job for job in jobs if isinstance(job, EventRows)]
                answers = iter(self._events(connection, events) if events else ())
                found = [next(answers) if isinstance(job, EventRows) else Stored() for job in jobs]
            self._require_same_files()
        except (SQLAlchemyError, OSError) as error:
            self.close()
            told = reason(error) if isinstance(error, SQLAlchemyError) else str(error)
            raise StoreGone(told) from error
        return found

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        """Wait for the other workers' transactions; the system frees the lock of a dead one."""
        if self._turn is None or self._file is None:
            yield
            return
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let the connection go; the next write makes another."""
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                connection.invalidate()
                connection.close()
            self._engine.dispose()
        except (SQLAlchemyError, OSError):
            pass

    def _connected(self) -> sa.Connection:
        if self._connection is None:
            if self._file is not None and not self._file.is_file():
                # SQLite would make an empty one, and events would name slates that are not in it.
                raise FileNotFoundError(f"{self._file} is gone")
            self._connection = self._engine.connect()
            if self._connection.in_transaction():
                self._connection.rollback()
            self._opened = {}
        return self._connection

    def _require_same_files(self) -> None:
        """Raise `OSError` where SQLite's files are no longer those that we write to."""
        if self._file is None:
            return
        for path in (self._file, self._file.with_name(self._file.name + "-wal")):
            status = os.stat(path)
            now = (status.st_dev, status.st_ino)
            if self._opened.setdefault(path, now) != now:
                raise FileNotFoundError(f"{path} was replaced")

    def _events(
        self, connection: sa.Connection, jobs: Sequence[EventRows]
    ) -> list[Stored | ApiError]:
        """Insert the events of jobs at once; return what became of each job."""
        margins = _margins(connection, {event["slate_id"] for job in jobs for event in job.events})
        refusals = [_refusal(job.events, margins) for job in jobs]
        first: dict[str, int] = {}
        rows: dict[str, dict[str, Any]] = {}
        for number, (job, refusal) in enumerate(zip(jobs, refusals)):
            for event in job.events if refusal is None else ():
                if event["event_id"] not in rows:
                    rows[event["event_id"]], first[event["event_id"]] = event, number
        if rows:
            # Sorted, so that two workers that insert the same events cannot wait for each other.
            ordered = [rows[name] for name in sorted(rows)]
            new = Counter(first[name] for name in connection.scalars(self._insert_events, ordered))
        else:
            new = Counter()
        return [
            Stored(new[number], len(job.events) - new[number]) if refusal is None else refusal
            for number, (job, refusal) in enumerate(zip(jobs, refusals))
        ]


def _refusal(events: list[dict[str, Any]], margins: dict[str, dict[str, float]]) -> ApiError | None:
    """Return why events cannot be stored, else None; purchases without a value get their margin."""
    for at, event in enumerate(events):
        shown = margins.get(event["slate_id"])
        if shown is None:
            return bad_request(
                f"event {event['event_id']!r} names a slate that was never served",
                f"body.events.{at}.slate_id",
            )
        if event["item_id"] not in shown:
            return bad_request(
                f"event {event['event_id']!r} names an item that is not on its slate",
                f"body.events.{at}.item_id",
            )
        if event["type"] == "purchase" and event["value"] is None:
            event["value"] = shown[event["item_id"]]
    return None


def _margins(connection: sa.Connection, slates: set[str]) -> dict[str, dict[str, float]]:
    """Margin of each item by slate and item."""
    found = connection.execute(_SHOWN, {"slates": list(slates)})
    return {slate: {one[0]: one[2] for one in json.loads(shown)} for slate, shown in found}
