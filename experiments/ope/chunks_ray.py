"""The same evaluation in chunks on several processes or machines, with Ray Data.

A log is split into spans of row groups. Each is tallied where a worker is free, and the tallies are
joined in the log's order, so the result, the bootstrap's draws included, is that of one process. As
with the input splits of MapReduce (Dean and Ghemawat 2004), a session that a border cuts belongs to
the span in which it begins: that worker reads on to its end, and the next one skips it. Ray Data's
own ``read_parquet`` would cut sessions and forget the numbers of rows, so its dataset here is one
of spans, and workers read the files: all machines must see them under the same path.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from envs.errors import UserError
from envs.progress import Progress, silent
from experiments.ope.chunks import (
    Batch,
    Part,
    Plan,
    RowsFrom,
    concluded,
    planned,
    read_chunks,
    tally_chunk,
)
from experiments.ope.evaluate import RECOMMENDED, Estimate
from experiments.simulate_workers import ray_for

#: Rows read at a time behind a span's end, to find where its last session ends.
_BEHIND = 10_000


@dataclass(frozen=True)
class Span:
    """Row groups of one file that lie side by side."""

    #: Number of the file, and of the row groups in it.
    file: int
    groups: tuple[int, ...]
    #: Number of the first row, counted over all files, and of rows.
    first: int
    rows: int


def evaluate_on_ray(
    path: Path,
    estimators: Sequence[str] | None = None,
    *,
    rng: np.random.Generator,
    workers: int,
    address: str | None = None,
    interval: str = RECOMMENDED,
    level: float = 0.95,
    cluster: str = "session_id",
    resamples: int = 1000,
    column_map: Mapping[str, str] | None = None,
    chunk_rows: int = 1_000_000,
    progress: Progress = silent,
) -> list[Estimate]:
    """Do what ``evaluate_chunks`` does, on ``workers`` tasks at a time.

    Args:
        path: as there; on a cluster, where every node sees it.
        estimators: as there.
        rng: as there.
        workers: tasks at a time, each with one CPU and memory for its chunk.
        address: of a running Ray cluster; None starts Ray on this machine and stops it at the end.
        interval: as there.
        level: as there.
        cluster: as there.
        resamples: as there.
        column_map: as there.
        chunk_rows: rows of a span, about, and rows that a task holds at once.
        progress: called with rows done and rows in all, whenever a span is.

    Raises:
        UserError: as ``evaluate_chunks``, or no cluster answers.
    """
    plan = planned(path, estimators, interval, level, cluster, column_map, chunk_rows)
    spans = spans_of(plan)
    found: dict[int, list[Part]] = {}
    done = 0
    with ray_for(workers, address):
        for number, parts in _mapped(plan, spans, workers):
            found[number] = parts
            done += spans[number].rows
            progress(done, plan.rows, {})
    parts = [part for number in sorted(found) for part in found[number]]
    return concluded(parts, plan, interval, level, resamples, rng)


def spans_of(plan: Plan) -> list[Span]:
    """Return spans of ``plan.chunk_rows`` rows, about, that make up the log in its order."""
    spans, first = [], 0
    for number, file in enumerate(plan.files):
        groups, rows = [], 0
        sizes = _group_sizes(file)
        for group, size in enumerate(sizes):
            groups.append(group)
            rows += size
            if rows >= plan.chunk_rows or group == len(sizes) - 1:
                spans.append(Span(number, tuple(groups), first, rows))
                groups, rows, first = [], 0, first + rows
    return spans


def tally_span(plan: Plan, span: Span) -> list[Part]:
    """Tally the clusters that begin in a span; empty where none does."""
    return [tally_chunk(frame, source, plan) for frame, source in _read_span(plan, span)]


def _read_span(plan: Plan, span: Span) -> Iterator[tuple[pd.DataFrame, RowsFrom]]:
    """Yield frames of the whole clusters that begin in a span's rows."""
    above, end = _last_key(plan, span), span.first + span.rows
    for frame, source in read_chunks(plan, span.first, _batches(plan, span)):
        keys = frame[plan.cluster].to_numpy()
        begins = np.append(True, keys[1:] != keys[:-1])
        # The cluster that the border above cut is the span's above.
        begins[0] = source.first > span.first or not len(above) or keys[0] != above[0]
        starts = np.flatnonzero(begins)
        mine = starts[source.first + starts < end]
        later = starts[source.first + starts >= end]
        stop = int(later[0]) if len(later) else len(frame)
        if len(mine):
            start = int(mine[0])
            yield frame.iloc[start:stop], RowsFrom(source.name, source.parts, source.first + start)
        if source.first + len(frame) >= end:
            return


def _batches(plan: Plan, span: Span) -> Iterator[Batch]:
    """The span's own rows, then what lies behind it, a little at a time."""
    file = plan.files[span.file]
    own = pq.ParquetFile(file).iter_batches(plan.chunk_rows, row_groups=list(span.groups))
    yield from ((file, batch) for batch in own)
    behind = list(range(span.groups[-1] + 1, len(_group_sizes(file))))
    size = min(_BEHIND, plan.chunk_rows)
    for later in plan.files[span.file :]:
        groups = behind if later == file else list(range(len(_group_sizes(later))))
        batches = pq.ParquetFile(later).iter_batches(size, row_groups=groups)
        yield from ((later, batch) for batch in batches)


def _last_key(plan: Plan, span: Span) -> np.ndarray:
    """The cluster of the row above a span, (1,); (0,) where there is none, or each row is one."""
    name = plan.columns.get(plan.cluster, plan.cluster)
    for file, group in _groups_above(plan, span):
        reader = pq.ParquetFile(file)
        if name not in reader.schema_arrow.names:
            break
        keys = reader.read_row_group(group, columns=[name]).to_pandas()[name].to_numpy()
        if len(keys):
            return keys[-1:]
    return np.array([])


def _groups_above(plan: Plan, span: Span) -> Iterator[tuple[Path, int]]:
    """Row groups above a span, the nearest first."""
    yield from ((plan.files[span.file], group) for group in reversed(range(span.groups[0])))
    for file in reversed(plan.files[: span.file]):
        yield from ((file, group) for group in reversed(range(len(_group_sizes(file)))))


def _group_sizes(file: Path) -> list[int]:
    found = pq.read_metadata(file)
    return [found.row_group(group).num_rows for group in range(found.num_row_groups)]


def _mapped(plan: Plan, spans: Sequence[Span], workers: int) -> Iterator[tuple[int, list[Part]]]:
    """Yield each span's number and tallies, in the order in which they are done."""
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False

    def tallied(batch: dict[str, np.ndarray]) -> dict[str, Any]:
        parts = np.empty(len(batch["item"]), dtype=object)
        for place, number in enumerate(batch["item"]):
            try:
                parts[place] = tally_span(plan, spans[number])
            except UserError as error:
                # Handed back as data: Ray Data would wrap it in words about its own workings.
                parts[place] = error
        return {"number": batch["item"], "parts": parts}

    numbers = ray.data.from_items(list(range(len(spans))), override_num_blocks=len(spans))
    found = numbers.map_batches(tallied, batch_size=1, num_cpus=1, concurrency=workers)
    for row in found.iter_rows():
        if isinstance(row["parts"], UserError):
            raise row["parts"]
        yield row["number"], row["parts"]
