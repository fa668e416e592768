"""What looking ahead does: a ranker trained for the session beside one trained for the page.

The one trained for the page (gamma 0) takes what the page gives. Shown the same classes again,
shoppers are satiated: they click less, and leave. One trained for the session (gamma above 0) can
give up a little of the page for a shopper who stays. Page by page that is to be seen: whether it
shows more classes, whether satiation stays lower, how many are still there, and on which page what
was given up has been earned back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.rankers_intervals import crossed
from experiments.rankers_names import LONG, MYOPIC
from experiments.rankers_play import Pages

F64 = NDArray[np.float64]

#: Means over the sessions that see the page.
AMONG_THOSE_THERE = ("satiation", "trust", "classes")


def horizon(long: Sequence[Pages], myopic: Sequence[Pages]) -> dict[str, Any]:
    """Compare page by page the same sessions under both, each with one `Pages` a training.

    Returns:
        ``pages`` (1, 2, ... as far as anybody gets), then lists of that length: under
        ``variants``, for `LONG` and `MYOPIC`, ``there`` (share of sessions that see the page),
        ``satiation`` (of the shown classes, after the page), ``trust`` (after the page) and
        ``classes`` (distinct ones on the page), which are means over the sessions that see it and
        None where there are none, and ``return_so_far``, over all sessions, of pages at their
        expected reward; ``lead``: by how
        much `LONG` is ahead in ``return_so_far``, with ``low`` and ``high``
        (`experiments.rankers_intervals.crossed`).
    """
    sides = {LONG: _stacked(long), MYOPIC: _stacked(myopic)}
    count = max(int(side["there"].any(axis=(0, 1)).sum()) for side in sides.values())
    ahead = _so_far(sides[LONG]) - _so_far(sides[MYOPIC])
    leads = [crossed(ahead[..., page]).as_dict() for page in range(count)]
    return {
        "pages": list(range(1, count + 1)),
        "variants": {name: _course(side, count) for name, side in sides.items()},
        "lead": {key: [one[key] for one in leads] for key in ("value", "low", "high")},
    }


def _stacked(trainings: Sequence[Pages]) -> dict[str, F64]:
    """Return the arrays of all trainings by name, each (S, n, P)."""
    return {
        name: np.stack([getattr(one, name) for one in trainings]).astype(np.float64)
        for name in Pages.__dataclass_fields__
    }


def _so_far(side: dict[str, F64]) -> F64:
    """Sum of the expected rewards up to each page, (S, n, P)."""
    return np.cumsum(side["expected"], axis=2)


def _course(side: dict[str, F64], count: int) -> dict[str, list[float | None]]:
    """Return the means by page over trainings and sessions."""
    there = side["there"].sum(axis=(0, 1))
    found: dict[str, list[float | None]] = {"there": _means(side["there"])[:count]}
    for name in AMONG_THOSE_THERE:
        sums = side[name].sum(axis=(0, 1))
        found[name] = [float(s / n) if n else None for s, n in zip(sums, there)][:count]
    return found | {"return_so_far": _means(_so_far(side))[:count]}


def _means(values: F64) -> list[float | None]:
    """Return the means by page over all trainings and sessions."""
    return [float(mean) for mean in values.mean(axis=(0, 1))]
