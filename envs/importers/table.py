"""Import any table of impressions as a feedback log, by a map from our columns to theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from envs.errors import UserError, nearest
from envs.feedback import COLUMNS, check_feedback, slate_order
from envs.importers.drops import without_bad_rows, without_broken_slates

_READERS: Mapping[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": pd.read_csv,
    ".tsv": lambda path: pd.read_csv(path, sep="\t"),
    ".jsonl": lambda path: pd.read_json(path, lines=True),
    ".parquet": pd.read_parquet,
}


@dataclass(frozen=True)
class ImportedTable:
    """A log and what had to be settled to make it one."""

    frame: pd.DataFrame
    #: What a reader should know, in plain words.
    notes: list[str]
    #: Rows left out, by reason.
    dropped: dict[str, int] = field(default_factory=dict)


def read_table(
    path: Path,
    column_map: Mapping[str, str] | None = None,
    *,
    propensities: bool = True,
    drop: bool = False,
) -> ImportedTable:
    """Read a table with one row an impression as a feedback log.

    Positions that count from 1 in every slate are moved to 0. Where there is no ``reward``, the
    clicks are the reward. Other columns are kept under their own names.

    Args:
        path: a .csv, .tsv, .jsonl or .parquet file.
        column_map: our name -> the name in the file, such as ``{"item_id": "action"}``.
        propensities: whether ``pscore`` must be there; without it, see
            `experiments.ope.propensity_model`.
        drop: leave out rows that break a rule, with the rest of their slates, instead of refusing
            the first (`envs.importers.drops`).

    Raises:
        UserError: the file cannot be read, the map does not fit it, or the log breaks a rule.
    """
    table = _read(path)
    frame, notes = _mapped(table, column_map or {}, path), []
    dropped: Counter[str] = Counter()
    if "reward" not in frame and "click" in frame:
        frame = frame.assign(reward=frame["click"])
        notes.append("there is no column reward: clicks are the reward")
    if "slate_id" not in frame and "position" not in frame:
        frame = frame.assign(slate_id=np.arange(len(frame)), position=0)
        notes.append("there are no slates: each row is a slate of one")
    if drop:
        frame, dropped = without_bad_rows(frame)
    if {"slate_id", "position"} <= set(frame) and _counts_from_one(frame):
        frame = frame.assign(position=frame["position"] - 1)
        notes.append("positions counted from 1: moved to 0")
    if drop and {"slate_id", "position", "item_id"} <= set(frame):
        frame, broken = without_broken_slates(frame)
        dropped += broken
    # A log without propensities obeys every other rule.
    checked = frame if propensities or "pscore" in frame else frame.assign(pscore=1.0)
    check_feedback(checked, str(path))
    return ImportedTable(frame, notes, dict(dropped))


def _read(path: Path) -> pd.DataFrame:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: a table is one of {', '.join(_READERS)}, by its name's end.")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file.")
    try:
        return reader(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be read as {path.suffix} ({reason}).") from error


def _mapped(table: pd.DataFrame, column_map: Mapping[str, str], path: Path) -> pd.DataFrame:
    for ours, theirs in column_map.items():
        if ours not in COLUMNS:
            raise UserError(
                f"{path}: the column map names {ours!r}, which is no column of the feedback log."
                + nearest(ours, COLUMNS)
            )
        if theirs not in table:
            raise UserError(
                f"{path}: the column map {ours}={theirs} asks for column {theirs!r}, which the "
                f"file does not have.{nearest(theirs, map(str, table.columns))}"
            )
    mapped: dict[str, Any] = {ours: table[theirs] for ours, theirs in column_map.items()}
    taken = {*column_map, *column_map.values()}
    return table.drop(columns=[c for c in table if c in taken]).assign(**mapped)


def _counts_from_one(frame: pd.DataFrame) -> bool:
    if not pd.api.types.is_numeric_dtype(frame["position"]) or frame.empty:
        return False
    order, starts = slate_order(frame)
    return bool((frame["position"].to_numpy()[order][starts] == 1).all())
