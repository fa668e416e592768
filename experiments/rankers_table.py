"""The table of a comparison of rankers: what each policy comes to, and who is ahead of whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.rankers_intervals import crossed, share_of_gap
from experiments.rankers_names import END, START
from experiments.rankers_play import FIGURES, Played

F64 = NDArray[np.float64]

#: Metric that the share of the way is told in: the return's mean, with least luck in it.
WAY = "expected_return"


@dataclass(frozen=True)
class Entry:
    """A policy of the comparison."""

    name: str
    #: What its trainings came to, one a seed, in the same sessions; one where there are no seeds.
    played: list[Played]
    #: Figures of the trainings; none of a baseline.
    trainings: list[dict[str, Any]]

    def values(self, metric: str) -> F64:
        """Values by seed and session, (S, n)."""
        return np.stack([one.values(metric) for one in self.played])


def make_table(entries: Sequence[Entry]) -> dict[str, Any]:
    """Judge all policies; the first one is what the others are compared with.

    Args:
        entries: trained policies with the same number of seeds, the first of them foremost;
            baselines, among them `START` and `END`.

    Returns:
        ``sessions``, ``seeds``, ``first`` (its name), ``rows`` and ``paired``, as plain values.

        A row has the ``policy``, whether it was ``trained`` here, ``figures`` (by metric of
        `FIGURES`), ``share_of_way`` (of the way from `START` to `END` in expected return; None
        where there is no way) and, where trained, ``train_cpu_seconds`` and ``best_in_training``
        (return), means over seeds. Figures and shares are those of
        `experiments.rankers_intervals.Crossed.as_dict`.

        ``paired`` are the differences ``a`` - ``b`` of the first policy and every other one, by
        metric, with ``diff`` in place of ``value``; trainings of the same number are paired.
    """
    first, *others = entries
    by_name = {entry.name: entry for entry in entries}
    ends = by_name[START].values(WAY)[0], by_name[END].values(WAY)[0]
    return {
        "sessions": len(first.played[0].reward),
        "seeds": len(first.played),
        "first": first.name,
        "rows": [_row(entry, *ends) for entry in entries],
        "paired": [_difference(first, other, name) for other in others for name in FIGURES],
    }


def _row(entry: Entry, start: F64, end: F64) -> dict[str, Any]:
    share = share_of_gap(start, entry.values(WAY), end)
    row = {
        "policy": entry.name,
        "trained": bool(entry.trainings),
        "figures": {name: crossed(entry.values(name)).as_dict() for name in FIGURES},
        "share_of_way": None if share is None else share.as_dict(),
    }
    if entry.trainings:
        for ours, theirs in (
            ("train_cpu_seconds", "train_cpu_seconds"),
            ("best_in_training", "return_best"),
        ):
            row[ours] = float(np.mean([one[theirs] for one in entry.trainings]))
    return row


def _difference(first: Entry, other: Entry, metric: str) -> dict[str, Any]:
    # A baseline's one row of values stands against each of the first policy's trainings.
    found = crossed(first.values(metric) - other.values(metric)).as_dict()
    diff = found.pop("value")
    return {"a": first.name, "b": other.name, "metric": metric, "diff": diff, **found}
