"""The feedback log: one Parquet row per impression, with the probability of having shown it.

Columns (`S` slates of `k` positions each make `S * k` rows, in any order):

- ``slate_id, position`` (0-based), ``item_id``, ``reward``: which item stood where, what it earned;
- ``pscore``: probability of the whole ordered slate under the logging policy, equal on its rows;
- ``pscore_cascade``: probability of the items up to and with this position;
- ``pscore_item_position``: probability of this item at this position, whatever stands elsewhere;
- ``session_id`` (the slate's own id when absent), ``step, timestamp, shopper_id, segment, scene,
  query, reason_id, click, purchase, logging_policy, done``: optional;
- ``eval_pscore``, ``eval_pscore_cascade``, ``eval_pscore_item_position``: the same three under a
  stored target policy, where 0 is allowed because a target may be deterministic;
- ``q_hat, v_hat, q_hat_cascade, v_hat_cascade``: predictions of a reward model, optional (see
  ``experiments/ope/slates.py``);
- any further column is kept as it is.

A log with neither ``slate_id`` nor ``position`` is a bandit log: every row is a slate of one.

A log is one Parquet file, or a folder of them: what `envs.feedback_store.FeedbackWriter` leaves
(parts and a ``log.json``), or parts that other tools wrote, in sub-folders too. Hidden files and
those whose names start with an underscore are no parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from envs.errors import UserError, nearest
from envs.feedback_rules import (
    COLUMNS,
    PROPENSITIES,
    REQUIRED,
    TARGETS,
    Source,
    check_feedback,
    slate_order,
)
from envs.files import atomic_path, read_json

__all__ = [
    "COLUMNS",
    "PROPENSITIES",
    "REQUIRED",
    "TARGETS",
    "check_feedback",
    "read_feedback",
    "slate_order",
    "write_feedback",
]

#: Beside the parts of a folder: the schema's version, and what the writer says of itself.
LOG_JSON = "log.json"
SCHEMA = 1


def write_feedback(frame: pd.DataFrame, path: Path) -> None:
    """Check ``frame`` and write it to ``path`` as Parquet, atomically.

    Raises:
        UserError: the frame breaks a rule of the log; nothing is written.
    """
    check_feedback(frame, str(path))
    with atomic_path(path) as temporary:
        frame.to_parquet(temporary, engine="pyarrow", index=False)


def read_feedback(
    path: Path, *, column_map: Mapping[str, str] | None = None, targets: bool = False
) -> pd.DataFrame:
    """Read and check a feedback log.

    Args:
        path: a Parquet file, or a folder of them, read in the order of their paths.
        column_map: our name -> the name in the file, such as ``{"item_id": "action"}``. A mapped
            column takes the place of one that already has our name.
        targets: whether ``eval_pscore``, the target policy's probability, must be there.

    Returns:
        The rows in the log's order, with ``session_id`` filled in, extra columns kept.

    Raises:
        UserError: the log is absent, unreadable or breaks a rule; the message names the file.
    """
    read, source = _read_log(path)
    frame = rename_columns(read, column_map or {}, source.name)
    if "slate_id" not in frame and "position" not in frame:
        frame = frame.assign(slate_id=np.arange(len(frame)), position=0)
    if "session_id" not in frame and "slate_id" in frame:
        frame = frame.assign(session_id=frame["slate_id"])
    check_feedback(frame, source, targets=targets)
    return frame


def log_parts(folder: Path) -> list[Path]:
    """Return the Parquet files of a log folder, in the order of their paths."""
    found = [path.relative_to(folder) for path in folder.rglob("*.parquet")]
    shown = [path for path in found if not any(name.startswith((".", "_")) for name in path.parts)]
    return [folder / path for path in sorted(shown)]


def read_description(folder: Path) -> dict[str, Any]:
    """Return what ``log.json`` says of a log folder; empty where there is none.

    Raises:
        UserError: the file is damaged or of a later schema.
    """
    path = folder / LOG_JSON
    if not path.is_file():
        return {}
    try:
        found = read_json(path)
    except ValueError as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}).") from error
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        raise UserError(
            f"{path}: the log's schema must be {SCHEMA}, but is {schema!r}; read it with the "
            "version of Shelftalk that wrote it."
        )
    return found


def _read_log(path: Path) -> tuple[pd.DataFrame, Source]:
    if not path.is_dir():
        return _read_parquet(path), Source(str(path))
    read_description(path)
    parts = log_parts(path)
    if not parts:
        raise UserError(f"{path}: the folder holds no Parquet file; a log has one part at least.")
    frames = [_read_parquet(part) for part in parts]
    rows = [(part, len(frame)) for part, frame in zip(parts, frames)]
    return pd.concat(frames, ignore_index=True), Source(str(path), rows)


def _read_parquet(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(
            f"{path}: there is no such file; name a Parquet file of logged feedback, or a folder."
        )
    try:
        return pd.read_parquet(path, engine="pyarrow")
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path}: cannot be read as Parquet ({reason}); it may be truncated or of another kind."
        ) from error


def rename_columns(frame: pd.DataFrame, column_map: Mapping[str, str], source: str) -> pd.DataFrame:
    for ours, theirs in column_map.items():
        if ours not in COLUMNS:
            raise UserError(
                f"{source}: the column map names {ours!r}, which is no column of the feedback log; "
                f"write OURS=THEIRS, as in item_id=action.{nearest(ours, COLUMNS)}"
            )
        if theirs not in frame:
            raise UserError(
                f"{source}: the column map {ours}={theirs} asks for column {theirs!r}, "
                f"which the file does not have.{nearest(theirs, map(str, frame.columns))}"
            )
    replaced = [name for name in frame.columns if name in {*column_map, *column_map.values()}]
    columns: dict[str, Any] = {ours: frame[theirs] for ours, theirs in column_map.items()}
    return frame.drop(columns=replaced).assign(**columns)
