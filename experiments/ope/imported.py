"""Logs from elsewhere as feedback folders: ``shelftalk import open_bandit`` and ``table``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from envs.errors import UserError
from envs.feedback import LOG_JSON
from envs.feedback_store import FeedbackWriter
from envs.files import atomic_folder
from envs.importers.open_bandit import (
    import_open_bandit,
    read_open_bandit,
    with_shares_as_target,
    with_uniform_target,
)
from envs.importers.table import read_table
from experiments.ope.evaluate import ESTIMATED
from experiments.ope.propensity_model import estimate_propensities

#: The target of ``--target`` that needs no other log.
UNIFORM = "uniform"


@dataclass(frozen=True)
class ImportedLog:
    """A feedback log, and what became of its source."""

    frame: pd.DataFrame
    #: What ``log.json`` says of it.
    description: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    #: Rows left out, by reason.
    dropped: dict[str, int] = field(default_factory=dict)

    def counts(self) -> dict[str, Any]:
        """Return what ``shelftalk import --json`` writes."""
        frame = self.frame
        sessions = "session_id" if "session_id" in frame else "slate_id"
        return {
            "impressions": len(frame),
            "slates": int(frame["slate_id"].nunique()),
            "sessions": int(frame[sessions].nunique()),
            "items": int(frame["item_id"].nunique()),
            "reward_per_slate": float(frame["reward"].sum() / frame["slate_id"].nunique()),
            **self.description,
            "columns": [str(column) for column in frame],
            "notes": self.notes,
            "dropped": self.dropped,
        }

    def summary_lines(self) -> list[str]:
        """Return the counts, notes and losses for people."""
        counts = self.counts()
        return [
            f"{counts['impressions']:,} impressions in {counts['slates']:,} slates of "
            f"{counts['sessions']:,} sessions, {counts['items']:,} items; a slate earned "
            f"{counts['reward_per_slate']:.5g}",
            *self.notes,
            *(f"left out {rows:,} rows: {why}" for why, rows in self.dropped.items()),
        ]


def open_bandit_log(folder: Path, *, target: str | None = None, drop: bool = False) -> ImportedLog:
    """Read one policy's log of the Open Bandit Dataset, with a target where one is named.

    Args:
        folder: such as ``men/bts``.
        target: ``uniform`` (each item equally often: the dataset's policy ``random``), or the
            folder of another policy's log, whose items' shares at each slot are the target.
        drop: leave out lines that break a rule instead of refusing the first.

    Raises:
        UserError: a folder is not of this kind, or a log breaks a rule.
    """
    frame, dropped = import_open_bandit(folder, drop=drop)
    notes = ["each line is a slate of one: which slots shared a page, the source does not say"]
    if target == UNIFORM:
        frame = with_uniform_target(frame, folder)
        notes.append("target: each item equally often at each slot, exact")
    elif target is not None:
        frame = with_shares_as_target(frame, read_open_bandit(Path(target)))
        notes.append(
            f"target: the items' shares at each slot of {Path(target).name}, an average over its "
            "visitors and its time"
        )
    description = {"source": "open_bandit", "propensities": "logged"}
    return ImportedLog(frame, description, notes, dropped)


def table_log(
    path: Path,
    column_map: Mapping[str, str],
    *,
    estimate: bool = False,
    features: Sequence[str] = (),
    drop: bool = False,
    seed: int = 0,
) -> ImportedLog:
    """Read any table of impressions; where it has no propensities, estimate them if asked to.

    Args:
        path: a .csv, .tsv, .jsonl or .parquet file.
        column_map: our name -> the name in the file.
        estimate: whether to estimate propensities, cross-fitted by session.
        features: columns known before the page was shown, for that.
        drop: leave out rows that break a rule, with their slates, instead of refusing the first.
        seed: of the folds.

    Raises:
        UserError: the table breaks a rule, or has propensities although they are to be estimated.
    """
    found = read_table(path, column_map, propensities=not estimate, drop=drop)
    frame, notes, propensities = found.frame, list(found.notes), "logged"
    if estimate:
        if "pscore" in frame:
            raise UserError(
                f"{path}: has a column pscore, and logged propensities are better than estimated "
                "ones; leave --estimate-propensities out"
            )
        frame = estimate_propensities(frame, features, rng=np.random.default_rng(seed))
        propensities = "estimated"
        known = f"from {', '.join(features)}" if features else "from items and positions alone"
        notes.append(
            f"PROPENSITIES ARE ESTIMATES, {known}: whatever else decided the page biases every "
            f"value found with them; column {ESTIMATED} marks the log"
        )
    elif features:
        raise UserError("--features: are for --estimate-propensities; give both or neither")
    description = {"source": "table", "propensities": propensities}
    return ImportedLog(frame, description, notes, found.dropped)


def check_out(out: Path) -> None:
    """Raise a UserError unless ``out`` is new, empty, or a log that may be replaced."""
    if not out.exists() or (out.is_dir() and (not any(out.iterdir()) or _is_log(out))):
        return
    raise UserError(f"{out}: exists and is no feedback log; choose another folder")


def write_imported(log: ImportedLog, out: Path) -> None:
    """Write the log as a feedback folder, whole or not at all.

    Raises:
        UserError: ``out`` is something else, or the log breaks a rule.
    """
    check_out(out)
    with (
        atomic_folder(out) as temporary,
        FeedbackWriter(temporary, description=log.description) as writer,
    ):
        writer.append(log.frame)


def _is_log(folder: Path) -> bool:
    return (folder / LOG_JSON).is_file()
