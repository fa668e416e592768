"""Intervals of shares and of the share of a way, where rows of one item are no independent rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sft.metrics.figures import Figure, clustered_mean

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_LEVEL = 0.95
_TAILS = ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2)
#: Bootstrap samples of the share of the way.
DRAWS = 2_000


def linearised(part: F64, whole: F64) -> F64:
    """Return values whose mean is r = sum(part) / sum(whole), as is their variance, (n,) float64.

    v_i = r + (part_i - r · whole_i) / mean(whole): the Taylor linearisation of a ratio (Woodruff
    1971). So whatever works on means, clusters and paired differences too, works on ratios.

    Args:
        part, whole: (n,); the whole's sum must be above 0.
    """
    ratio = part.sum() / whole.sum()
    return ratio + (part - ratio * whole) / whole.mean()


def clustered_share(part: F64, whole: F64, clusters: I64) -> Figure | None:
    """Share sum(part) / sum(whole) with a 95 % interval that stays in [0, 1]; None of nothing.

    Clopper and Pearson's exact interval at the effective sample size n* = p (1 - p) / se², se
    clustered, times (t_{n-1} / t_{G-1})² (Korn and Graubard 1998). Where the share is 0 or 1 no se
    is seen: then n* is the number of clusters, as if one row of each told all about it.

    Args:
        part, whole: counts of each row, (n,), 0 <= part <= whole.
        clusters: cluster number of each row, (n,).
    """
    if not whole.sum() > 0:
        return None
    count, kept = whole.sum(), whole > 0
    groups = len(np.unique(clusters[kept]))
    share = float(part.sum() / count)
    if groups < 2:
        return Figure(share)
    effective = float(groups)
    if 0 < share < 1:
        figure = clustered_mean(linearised(part[kept], whole[kept]), clusters[kept])
        assert figure.high is not None
        half = figure.high - figure.value  # t_{G-1} · se
        spread = share * (1 - share) * stats.t.ppf(_TAILS[1], count - 1) ** 2
        effective = float(min(count, spread / half**2)) if half > 0 else float(count)
    found = share * effective
    low = stats.beta.ppf(_TAILS[0], found, effective - found + 1) if share > 0 else 0.0
    high = stats.beta.ppf(_TAILS[1], found + 1, effective - found) if share < 1 else 1.0
    return Figure(share, float(low), float(high))


def share_of_way(
    start: F64, reached: F64, end: F64, clusters: I64, rng: np.random.Generator
) -> Figure | None:
    """How much of the way from start to end was gone: mean(reached - start) / mean(end - start).

    The interval is a percentile bootstrap of whole clusters. None where the end is not beyond the
    start; no interval where it is not in one of the bootstrap's samples, since the share may then
    be anything (Fieller 1954).

    Args:
        start, reached, end: paired values, (n,) each.
        clusters: cluster number of each row, (n,).
        rng: draws the bootstrap's samples.
    """
    gone, way = reached - start, end - start
    if not way.sum() > 0:
        return None
    share = float(gone.sum() / way.sum())
    _, member = np.unique(clusters, return_inverse=True)
    parts = np.stack([np.bincount(member, gone), np.bincount(member, way)], axis=1)  # (G, 2)
    groups = len(parts)
    if groups < 2:
        return Figure(share)
    times = rng.multinomial(groups, np.full(groups, 1 / groups), size=DRAWS)
    sums = times @ parts
    if (sums[:, 1] <= 0).any():
        return Figure(share)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], _TAILS)
    return Figure(share, float(low), float(high))
