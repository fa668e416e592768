"""Off-policy evaluation of logs larger than memory: part by part, then sums alone.

Row groups are read one after the other and tallied; only sums by session are kept (a few dozen
bytes for each session and estimator), so memory grows with the sessions and not with the rows, and
results are those of the whole log in memory to the last bit of a sum. Sessions must lie in one
piece, as in every log that Shelftalk writes: the rows of the last session of a row group wait for
the next one.

`experiments.ope.chunks_ray` does the same on several processes or machines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from envs.errors import UserError
from envs.feedback import log_parts, rename_columns
from envs.feedback_rules import Source, check_feedback
from envs.progress import Progress, silent
from experiments.ope.evaluate import (
    ESTIMATED,
    RECOMMENDED,
    Estimate,
    check_choices,
    conclude,
    sampled_spreads,
    tallied,
)
from experiments.ope.registry import ESTIMATORS, available
from experiments.ope.slates import Slates
from experiments.ope.tally import Tally, joined, require_clusters, tally_slates

#: Intervals that follow from sums by session.
CHUNK_INTERVALS = ("skew", "bootstrap", "bca", "delta", "student")
#: Rows that tell which estimators fit.
_GLANCE = 1_000

#: A file and some of its rows.
Batch = tuple[Path, pa.RecordBatch]


class _Padded(Slates):
    """Slates as wide as the longest one of the whole log, so that parts join."""

    def __init__(self, frame: pd.DataFrame, cluster: str, width: int) -> None:
        self._width = width
        super().__init__(frame, cluster)

    @property
    def k(self) -> int:
        """Positions of the log's longest slate."""
        return self._width


def evaluate_chunks(
    path: Path,
    estimators: Sequence[str] | None = None,
    *,
    rng: np.random.Generator,
    interval: str = RECOMMENDED,
    level: float = 0.95,
    cluster: str = "session_id",
    resamples: int = 1000,
    column_map: Mapping[str, str] | None = None,
    chunk_rows: int = 1_000_000,
    progress: Progress = silent,
) -> list[Estimate]:
    """Do what ``evaluate`` does, for a log on disk, about ``chunk_rows`` rows at a time.

    Args:
        path: a Parquet file or a folder of them, as for ``read_feedback``.
        estimators: names whose terms are read from the log's columns; None for all that fit.
        rng: source of the bootstrap's draws.
        interval: one of ``CHUNK_INTERVALS``.
        level: the interval's level, in (0, 1).
        cluster: the column whose values are independent; each must lie in one piece.
        resamples: number of bootstrap resamples.
        column_map: our name -> the name in the file.
        chunk_rows: rows to hold at once.
        progress: called with rows done and rows in all.

    Raises:
        UserError: the log breaks a rule, or sessions do not lie in one piece.
    """
    plan = planned(path, estimators, interval, level, cluster, column_map, chunk_rows)
    parts, done = [], 0
    for frame, source in read_chunks(plan):
        parts.append(tally_chunk(frame, source, plan))
        done += len(frame)
        progress(done, plan.rows, {})
    return concluded(parts, plan, interval, level, resamples, rng)


@dataclass(frozen=True)
class Plan:
    """A log on disk and what is asked of it, as every part's tally must know it."""

    path: Path
    #: Parquet files in order, and our name -> the name in them.
    files: tuple[Path, ...]
    columns: Mapping[str, str]
    cluster: str
    names: tuple[str, ...]
    #: Positions of the longest slate, and rows, of all files.
    width: int
    rows: int
    chunk_rows: int


class Part(NamedTuple):
    """What is kept of a chunk of whole clusters."""

    tally: Tally
    #: Hashes of its clusters, to find those that turn up in two chunks.
    clusters: np.ndarray
    #: Whether its propensities are estimates.
    estimated: bool


def planned(
    path: Path,
    estimators: Sequence[str] | None,
    interval: str,
    level: float,
    cluster: str,
    column_map: Mapping[str, str] | None,
    chunk_rows: int,
) -> Plan:
    """Check what is asked, as ``evaluate_chunks`` says, and look at the log's files."""
    check_choices(estimators or (), interval, level)
    if interval not in CHUNK_INTERVALS:
        raise UserError(
            f"interval {interval} needs the whole log at once; in chunks there are "
            f"{', '.join(CHUNK_INTERVALS)}."
        )
    for name in estimators or ():
        if ESTIMATORS[name].whole_log or ESTIMATORS[name].unit == "session":
            raise UserError(
                f"estimator {name} needs the whole log at once: it chooses something on it, or "
                "lays whole sessions side by side; leave it out, or evaluate without chunks."
            )
    if chunk_rows < 1:
        raise UserError(f"chunks must have 1 row or more, but have {chunk_rows}.")
    files = log_parts(path) if path.is_dir() else [path]
    if not files:
        raise UserError(f"{path}: the folder holds no Parquet file; a log has one part at least.")
    columns = dict(column_map or {})
    width, rows = _extent(files, columns)
    if not rows:
        raise UserError(f"{path}: the feedback log has no rows; log at least one slate.")
    if cluster == "session_id" and columns.get(cluster, cluster) not in _schema(files[0]):
        # Without sessions each slate is its own, and a bandit's rows are all their own.
        cluster = "slate_id"
    plan = Plan(
        path, tuple(files), columns, cluster, tuple(estimators or ()), width, rows, chunk_rows
    )
    return plan if plan.names else replace(plan, names=_usual(plan))


def tally_chunk(frame: pd.DataFrame, source: Source, plan: Plan) -> Part:
    """Check whole clusters of the log and tally them.

    Raises:
        UserError: a row breaks a rule; ``source`` says what the message calls it.
    """
    check_feedback(frame, source, targets=True)
    slates = _Padded(frame, plan.cluster, plan.width)
    return Part(
        tally_slates(slates, tallied(plan.names, slates)),
        pd.util.hash_pandas_object(frame[plan.cluster].drop_duplicates(), index=False).to_numpy(),
        ESTIMATED in frame and bool(frame[ESTIMATED].any()),
    )


def concluded(
    parts: Sequence[Part],
    plan: Plan,
    interval: str,
    level: float,
    resamples: int,
    rng: np.random.Generator,
) -> list[Estimate]:
    """Join the parts of a log, in its order, and answer.

    Raises:
        UserError: a cluster is in two parts, or there are too few clusters.
    """
    _check_whole(np.concatenate([part.clusters for part in parts]), plan)
    tally = joined([part.tally for part in parts])
    require_clusters(tally, plan.cluster)
    spreads = sampled_spreads(tally, interval, level, resamples, rng)
    estimated = any(part.estimated for part in parts)
    return conclude(plan.names, tally, spreads, interval, level, estimated=estimated)


def read_chunks(
    plan: Plan, first: int = 0, batches: Iterable[Batch] | None = None
) -> Iterator[tuple[pd.DataFrame, RowsFrom]]:
    """Yield frames of whole clusters, about ``plan.chunk_rows`` rows each, never cutting a cluster.

    Args:
        plan: the log.
        first: number of the first row, counted over all files.
        batches: what to read from there on; None for the whole log.
    """
    lengths = [(file, _metadata(file).num_rows) for file in plan.files]
    held, read = pd.DataFrame(), first
    for file, batch in _all_batches(plan) if batches is None else batches:
        fresh = _ours(batch, plan.columns, str(file), read)
        read += len(fresh)
        if plan.cluster not in fresh:
            raise UserError(f"{file}: the log has no column {plan.cluster!r} to cluster by.")
        frame = pd.concat([held, fresh], ignore_index=True) if len(held) else fresh
        keys = frame[plan.cluster].to_numpy()
        others = np.flatnonzero(keys != keys[-1]) if len(keys) else keys
        whole = int(others[-1]) + 1 if len(others) else 0
        if whole:
            yield frame.iloc[:whole], RowsFrom(str(file), lengths, first)
        held, first = frame.iloc[whole:].reset_index(drop=True), first + whole
    if len(held):
        yield held, RowsFrom(str(plan.files[-1]), lengths, first)


@dataclass(frozen=True)
class RowsFrom(Source):
    """Rows of a log from number ``first`` on, counted over all its files."""

    first: int = 0

    def locate(self, row: int) -> tuple[str, int]:
        """Return the file of a row of the chunk and its number there."""
        return super().locate(self.first + row)


def _all_batches(plan: Plan) -> Iterator[Batch]:
    for file in plan.files:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=plan.chunk_rows):
            yield file, batch


def _usual(plan: Plan) -> tuple[str, ...]:
    """The usual estimators whose columns the log has, by its first rows."""
    frame, source = next(read_chunks(replace(plan, chunk_rows=_GLANCE)))
    check_feedback(frame, source, targets=True)
    return tuple(available(_Padded(frame, plan.cluster, plan.width)))


def _ours(
    batch: pa.RecordBatch, columns: Mapping[str, str], source: str, number: int
) -> pd.DataFrame:
    """A batch under our names; rows of a bandit log, from ``number`` on, are slates of one."""
    frame = rename_columns(batch.to_pandas(), columns, source)
    if "slate_id" not in frame and "position" not in frame:
        frame = frame.assign(slate_id=number + np.arange(len(frame)), position=0)
    return frame


def _extent(files: Sequence[Path], columns: Mapping[str, str]) -> tuple[int, int]:
    """The longest slate's positions, and the number of rows, of all files."""
    name = columns.get("position", "position")
    width = 1
    for file in files:
        if name in _schema(file):
            position = pq.read_table(file, columns=[name])[name]
            # A position that is no whole number is named when its row is checked.
            longest = pc.max(pc.cast(position, pa.float64())).as_py()
            width = max(width, int(longest) + 1 if longest is not None else 1)
    return width, sum(_metadata(file).num_rows for file in files)


def _schema(file: Path) -> list[str]:
    return list(_metadata(file).schema.to_arrow_schema().names)


def _metadata(file: Path) -> pq.FileMetaData:
    if not file.is_file():
        raise UserError(
            f"{file}: there is no such file; name a Parquet file of logged feedback, or a folder."
        )
    try:
        return pq.read_metadata(file)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{file}: cannot be read as Parquet ({reason}); it may be truncated or of another kind."
        ) from error


def _check_whole(hashes: np.ndarray, plan: Plan) -> None:
    """No cluster may turn up in two chunks: it would count as two."""
    if len(np.unique(hashes)) < len(hashes):
        raise UserError(
            f"{plan.path}: the rows of some {plan.cluster!r} lie apart; sort the log by "
            f"{plan.cluster!r}, or evaluate it without chunks."
        )
