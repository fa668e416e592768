"""The user's own JSONL and Parquet files: rows, and columns by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from envs.errors import UserError, nearest


def read_rows(path: Path) -> pd.DataFrame:
    """Read a JSONL or Parquet file, by its suffix.

    Raises:
        UserError: for a file that is missing, of another kind, broken or empty.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the path of a JSONL or Parquet file")
    if path.suffix == ".parquet":
        frame = _parquet(path)
    elif path.suffix in (".jsonl", ".ndjson"):
        frame = pd.DataFrame(list(_objects(path)), dtype=object)
    else:
        raise UserError(
            f"{path}: must be a .jsonl or .parquet file, but its name ends in "
            f"{path.suffix or 'nothing'!r}; convert or rename it"
        )
    if not len(frame):
        raise UserError(f"{path}: holds no rows; there is nothing to read")
    return frame


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except Exception as error:  # the reader raises many kinds, all meaning "not readable"
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: cannot be read as Parquet ({why}); write it anew") from error


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield _object(line, f"{path}, line {number}")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: must be UTF-8 ({error.reason}); convert it") from error


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise UserError(f"{where}: is not valid JSON ({error}); mend or drop the line") from error
    if not isinstance(value, dict):
        raise UserError(
            f"{where}: must be a JSON object, but is {type(value).__name__}; write "
            '{"column": "value", ...}'
        )
    return value


def require_columns(frame: pd.DataFrame, columns: dict[str, str], path: Path) -> None:
    """Make sure that the file has its columns.

    Args:
        frame: the rows.
        columns: setting -> the column it names.
        path: for messages.

    Raises:
        UserError: for the first column that is missing, with the nearest name that is there.
    """
    there = [str(column) for column in frame.columns]
    for setting, column in columns.items():
        if column not in there:
            raise UserError(
                f"{path}: {setting} names column {column!r}, which is missing; there are "
                f"{', '.join(there)}.{nearest(column, there)}"
            )


def cell_text(cell: Any) -> str:
    """Return a cell as text on one line: lists and objects joined by commas, nothing as ""."""
    if isinstance(cell, dict):
        return ", ".join(f"{key} {cell_text(value)}" for key, value in cell.items())
    if isinstance(cell, (list, tuple, np.ndarray)):
        return ", ".join(filter(None, map(cell_text, cell)))
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return ""
    return " ".join(str(cell).split())


def texts_of(frame: pd.DataFrame, column: str | None) -> list[str]:
    """Return a column as texts; "" in every row where there is no such setting."""
    return [""] * len(frame) if column is None else [cell_text(cell) for cell in frame[column]]
