"""A feedback log that grows: a folder of Parquet parts, each of them whole or not there at all.

``LOG/log.json`` holds the schema's version and a description of who writes, and
``LOG/part-00000.parquet`` and so on hold the rows. A part is written beside its place and renamed,
so that a writer that is killed loses what it still held in memory and nothing else; the next one
clears the leavings away and goes on after the last part. `envs.feedback.read_feedback` reads it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from envs.errors import UserError
from envs.feedback import LOG_JSON, SCHEMA, check_feedback, log_parts, read_description
from envs.files import atomic_path, write_json


class FeedbackWriter:
    """Appends to the log folder ``folder``; a context manager, one at a time for each folder.

    Args:
        folder: made where it is not there.
        rows_per_part: a part is closed as soon as it holds so many rows. An append is never cut
            in two, and so neither are its slates and sessions.
        description: JSON values about the writer (logging policy, seed, shop). Those of a log
            that is taken up again must be the same.
    """

    def __init__(
        self,
        folder: Path,
        rows_per_part: int = 250_000,
        description: Mapping[str, Any] | None = None,
    ) -> None:
        if rows_per_part < 1:
            raise UserError(f"rows_per_part must be 1 or more, but is {rows_per_part}")
        self.folder = folder
        self._rows_per_part = rows_per_part
        self._description = dict(description or {})
        self._held: list[pa.Table] = []
        self._schema: pa.Schema | None = None
        self._next_part = 0
        self._rows = 0
        self._lock: int | None = None

    @property
    def rows(self) -> int:
        """Rows in the log, those still in memory included."""
        return self._rows + sum(map(len, self._held))

    def __enter__(self) -> FeedbackWriter:
        """Make or take up the log.

        Raises:
            UserError: another writer has it open, it was written under another description, or a
                part is damaged.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.folder)
        try:
            self._take_up()
        except BaseException:
            self._unlock()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is held, also after an error: every append was whole."""
        try:
            self.flush()
        finally:
            self._unlock()

    def append(self, rows: pd.DataFrame | pa.Table) -> None:
        """Check rows and add them to the log.

        Slates must be whole, with ids that the log has not seen: that is not checked here, but on
        reading.

        Raises:
            UserError: the rows break a rule of the log, or differ from the log in their columns;
                the log stays as it was.
        """
        table = (
            rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows, preserve_index=False)
        )
        frame = rows.to_pandas() if isinstance(rows, pa.Table) else rows
        check_feedback(frame, f"{self.folder}, new rows")
        table = self._conform(table)
        self._schema = table.schema
        self._held.append(table)
        if sum(map(len, self._held)) >= self._rows_per_part:
            self.flush()

    def flush(self) -> None:
        """Write the rows in memory as a part, now; nothing where there are none."""
        if not self._held:
            return
        table = pa.concat_tables(self._held)
        with atomic_path(self.folder / f"part-{self._next_part:05d}.parquet") as temporary:
            # Without Arrow's schema beside Parquet's own, any reader sees plain columns.
            pq.write_table(table, temporary, compression="zstd", store_schema=False)
        self._next_part += 1
        self._rows += len(table)
        self._held = []

    def last_row(self) -> dict[str, Any] | None:
        """Return the log's last row, by column; None where there is none."""
        parts = log_parts(self.folder)
        if self._held:
            table = self._held[-1]
        elif parts:
            file = pq.ParquetFile(parts[-1])
            table = file.read_row_group(file.num_row_groups - 1)
        else:
            return None
        return table.slice(len(table) - 1).to_pylist()[0]

    def _take_up(self) -> None:
        for leaving in self.folder.glob(".*"):
            if leaving.name.startswith((".part-", ".log.")):
                leaving.unlink()
        found, parts = read_description(self.folder), log_parts(self.folder)
        if not found and parts:
            raise UserError(
                f"{self.folder}: holds Parquet files but no {LOG_JSON}; a log is begun in a new "
                "folder"
            )
        description = {"schema": SCHEMA, **self._description}
        if not found:
            write_json(self.folder / LOG_JSON, description)
        _check_description(self.folder, found or description, description)
        for part in parts:
            self._rows += _footer(part).num_rows
        if parts:
            # Not their count: a part that somebody moved away leaves its number free for good.
            self._next_part = max(map(_number, parts)) + 1
            self._schema = pq.read_schema(parts[-1])

    def _conform(self, table: pa.Table) -> pa.Table:
        """The table with the log's columns in their order and types."""
        if self._schema is None:
            types = map(_plain_type, table.schema.types)
            return table.cast(pa.schema(list(zip(table.schema.names, types, strict=True))))
        ours, theirs = set(self._schema.names), set(table.schema.names)
        if ours != theirs:
            raise UserError(
                f"{self.folder}: rows must have the log's columns; "
                f"missing: {', '.join(sorted(ours - theirs)) or 'none'}; "
                f"new: {', '.join(sorted(theirs - ours)) or 'none'}"
            )
        try:
            return table.select(self._schema.names).cast(self._schema)
        except pa.ArrowInvalid as error:
            raise UserError(
                f"{self.folder}: rows must have the log's types ({error}); convert them first"
            ) from error

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """The type that a column is stored as: what every part can have."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    # A column without a value yet, such as the queries of a page at home, will hold text.
    text = pa.types.is_null(kind) or pa.types.is_large_string(kind)
    return pa.string() if text else kind


def _number(part: Path) -> int:
    digits = part.stem.removeprefix("part-")
    return int(digits) if digits.isdigit() else -1


def _locked(folder: Path) -> int:
    """Lock the folder for this process; the system frees it however the process ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(
            f"{folder}: another process is writing this log; wait for it, or write elsewhere"
        ) from None
    return descriptor


def _check_description(folder: Path, found: dict[str, Any], ours: dict[str, Any]) -> None:
    for key in sorted({*found, *ours}):
        if found.get(key) != ours.get(key):
            raise UserError(
                f"{folder}: this log was written with {key} {found.get(key)!r}, not "
                f"{ours.get(key)!r}; go on as it was begun, or write to a new folder"
            )


def _footer(part: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(part)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{part}: cannot be read as Parquet ({error}); move the part away to go on"
        ) from error
