"""Choosing lambda, or any one of several estimators, from the log alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import stats

from experiments.ope.shrinkage import Shrinkage

#: By estimated mean squared error, or by Lepski's principle (SLOPE).
Selection = Literal["mse", "slope"]
_DELTA = 0.05


def slope(values: Sequence[float], widths: Sequence[float]) -> int:
    """Return the index of the candidate that SLOPE chooses.

    From the widest interval (least bias) to the narrowest, a candidate i stays while ``|v_i - v_j|
    <= width_i + (sqrt(6) - 1) width_j`` for each j before it; the last that stays is taken (Su,
    Srinath and Krishnamurthy 2020, *Adaptive estimator selection for off-policy evaluation*; the
    order by width is Tucker and Lee's 2021 SLOPE++).

    Args:
        values: estimates of one quantity.
        widths: half-widths of their intervals; candidates of equal width keep their order.
    """
    value, width = np.asarray(values), np.asarray(widths)
    order = np.argsort(-width, kind="stable")
    chosen = int(order[0])
    for place in range(1, len(order)):
        i, before = order[place], order[:place]
        apart = np.abs(value[before] - value[i])
        if (apart > width[i] + (np.sqrt(6) - 1) * width[before]).any():
            break
        chosen = int(i)
    return chosen


def mean_variance(values: np.ndarray, clusters: np.ndarray) -> float:
    """Return the cluster-robust variance of the mean of ``values (S,)``."""
    sums = np.bincount(clusters, weights=values - values.mean())
    return float(np.square(sums).sum()) * len(sums) / max(len(sums) - 1, 1) / len(values) ** 2


def bias_bound(residual: np.ndarray, weight: np.ndarray, shrunk: np.ndarray) -> float:
    """Return a bound on the bias of shrunk weights that holds with probability 95 %.

    ``|mean((w - w') residual)| + sqrt(2 mean(w^2) log(2/d) / S) + 2 max(w) log(2/d) / (3 S)``: the
    direct estimate with Bernstein's margin (section 5 of Su, Dimakopoulou, Krishnamurthy and Dudik
    2020), for rewards in [0, 1].
    """
    log_term = np.log(2 / _DELTA) / len(weight)
    seen = abs(np.mean((weight - shrunk) * residual))
    margin = np.sqrt(2 * np.mean(np.square(weight)) * log_term) + 2 * weight.max() * log_term / 3
    return float(seen + margin)


def choose_lambda(
    how: Selection,
    family: Shrinkage,
    residual: np.ndarray,
    weight: np.ndarray,
    baseline: np.ndarray,
    clusters: np.ndarray,
    grid: Sequence[float] | None = None,
) -> float:
    """Return the lambda of ``family`` for the estimate ``mean(baseline + w'(lambda) residual)``.

    Args:
        how: ``mse`` takes the least variance plus squared ``bias_bound``; ``slope`` the last
            estimate that agrees with all less biased ones.
        family: the shrunk weights.
        residual: (S,) float64, reward less its prediction (the reward itself without a model).
        weight: (S,) float64.
        baseline: (S,) float64, predicted value (0 without a model).
        clusters: (S,) int, from 0 without gaps.
        grid: lambdas to choose from, least biased first; the family's own when None.
    """
    lams = list(family.grid if grid is None else grid)
    shrunk = [family.apply(weight, lam) for lam in lams]
    terms = [baseline + w * residual for w in shrunk]
    variances = [mean_variance(t, clusters) for t in terms]
    if how == "slope":
        quantile = float(stats.t.ppf(1 - _DELTA, max(int(clusters.max()), 1)))
        widths = [quantile * np.sqrt(variance) for variance in variances]
        return lams[slope([float(t.mean()) for t in terms], widths)]
    scores = [v + bias_bound(residual, weight, w) ** 2 for v, w in zip(variances, shrunk)]
    return lams[int(np.argmin(scores))]
