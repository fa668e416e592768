"""Writing to the store: one transaction for all that waits, each answer durable when it returns."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from policies.service.errors import ApiError, bad_request
from policies.service.schema import EVENTS, SLATES, STORE, reason, sqlite_file


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
    """A connection to the store, for one thread at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._file = sqlite_file(engine)
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
            with connection.begin():
                slates = [job.slate for job in jobs if isinstance(job, SlateRow)]
                if slates:
                    connection.execute(self._insert(SLATES), slates)
                found = [self._one(connection, job) for job in jobs]
            self._require_same_files()
        except (SQLAlchemyError, OSError) as error:
            self.close()
            told = reason(error) if isinstance(error, SQLAlchemyError) else str(error)
            raise StoreGone(told) from error
        return found

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

    def _one(self, connection: sa.Connection, job: Job) -> Stored | ApiError:
        if isinstance(job, Beat):
            connection.execute(STORE.update().values(beat=time.time()))
        if isinstance(job, EventRows):
            return self._events(connection, job.events)
        return Stored()

    def _events(self, connection: sa.Connection, events: list[dict[str, Any]]) -> Stored | ApiError:
        margins = _margins(connection, {event["slate_id"] for event in events})
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
        rows = {event["event_id"]: event for event in reversed(events)}
        # Sorted, so that two workers that insert the same events cannot wait for each other.
        ordered = [rows[name] for name in sorted(rows)]
        insert = self._insert(EVENTS).returning(EVENTS.c.event_id)
        new = len(connection.execute(insert, ordered).all())
        return Stored(new, len(events) - new)

    def _insert(self, table: sa.Table) -> Any:
        """An insertion that leaves rows alone that are there already."""
        insert = sqlite.insert if self._file is not None else postgresql.insert
        return insert(table).on_conflict_do_nothing()


def _margins(connection: sa.Connection, slates: set[str]) -> dict[str, dict[str, float]]:
    """Margin of each item by slate and item."""
    rows = connection.execute(
        sa.select(SLATES.c.slate_id, SLATES.c.shown).where(SLATES.c.slate_id.in_(slates))
    )
    return {slate: {one[0]: one[2] for one in json.loads(shown)} for slate, shown in rows}
