"""Intervals for sums of ratios of means, with whole clusters (sessions) as the sampling unit.

Slates of one session share a shopper, so they are not independent: all errors here sum over a
cluster first. Self-normalised estimators are re-normalised inside each resample; freezing the
normaliser gives intervals several times too wide.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from experiments.ope.estimators import Terms

#: Resamples drawn at once: bounds the memory of a resampling step to this many counts.
_CHUNK_COUNTS = 4_000_000


def point(terms: Terms) -> float:
    """Return ``sum_t mean(N_t) / mean(D_t)``; NaN where a normaliser is 0."""
    return float(_ratios(terms.numerator.sum(axis=0), terms.denominator.sum(axis=0)).sum())


def influence(terms: Terms) -> np.ndarray:
    """Return each slate's first-order pull on the estimate, ``(S,) float64``, summing to 0.

    Delta method: psi_s = sum_t (N_st - R_t D_st) / mean(D_t) with R_t = mean(N_t) / mean(D_t)
    (Owen 2013, *Monte Carlo theory, methods and examples*, chapter 9).
    """
    ratios = _ratios(terms.numerator.sum(axis=0), terms.denominator.sum(axis=0))
    scaled = _ratios(terms.numerator - ratios * terms.denominator, terms.denominator.mean(axis=0))
    return scaled.sum(axis=1)


def standard_error(pull: np.ndarray, clusters: np.ndarray) -> float:
    """Return the cluster-robust standard error of a mean whose influence is ``pull``.

    sqrt(C / (C - 1) * sum_c (sum_{s in c} psi_s)^2) / S; with C = S it is the usual one.

    Args:
        pull: (S,) float64, as from ``influence``.
        clusters: (S,) int, from 0 without gaps; at least two of them.
    """
    sums = np.bincount(clusters, weights=pull)
    scale = len(sums) / (len(sums) - 1)
    return float(np.sqrt(scale * np.square(sums).sum()) / len(pull))


def normal_interval(value: float, se: float, level: float) -> tuple[float, float]:
    """Return ``value -+ z se``: the delta method's interval."""
    half = float(stats.norm.ppf(0.5 + level / 2)) * se
    return value - half, value + half


def student_interval(value: float, se: float, level: float, clusters: int) -> tuple[float, float]:
    """Return ``value -+ t se`` with one degree of freedom fewer than clusters."""
    half = float(stats.t.ppf(0.5 + level / 2, clusters - 1)) * se
    return value - half, value + half


def bootstrap_values(
    estimators: Sequence[Terms], clusters: np.ndarray, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the estimates on resampled clusters, ``(resamples, len(estimators)) float64``.

    Clusters are drawn with replacement. A resample is a vector of counts, so every estimator's
    numerators and denominators come from one matrix product with the clusters' sums, and all
    estimators meet the same resamples.
    """
    sums = np.concatenate(
        [_cluster_sums(part, clusters) for terms in estimators for part in terms], axis=1
    )
    values = np.empty((resamples, len(estimators)))
    step = max(1, _CHUNK_COUNTS // len(sums))
    for start in range(0, resamples, step):
        totals = _counts(len(sums), min(step, resamples - start), rng) @ sums
        left = 0
        for column, terms in enumerate(estimators):
            width = terms.numerator.shape[1]
            middle, right = left + width, left + 2 * width
            ratios = _ratios(totals[:, left:middle], totals[:, middle:right])
            values[start : start + len(totals), column] = ratios.sum(axis=1)
            left = right
    return values


def percentile_interval(values: np.ndarray, level: float) -> tuple[float, float, float]:
    """Return low, high and standard deviation of bootstrap ``values (resamples,)``.

    Resamples where a normaliser is 0 have no value and are left out; without any, all is NaN.
    """
    defined = values[~np.isnan(values)]
    if defined.size < 2:
        return float("nan"), float("nan"), float("nan")
    low, high = np.quantile(defined, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high), float(np.std(defined, ddof=1))


def _cluster_sums(values: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Sum ``values (S, T)`` by cluster, to ``(C, T)``."""
    sums = np.zeros((int(clusters.max()) + 1, values.shape[1]))
    np.add.at(sums, clusters, values)
    return sums


def _counts(clusters: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each cluster is drawn, ``(resamples, clusters) float64``."""
    drawn = rng.integers(0, clusters, size=(resamples, clusters))
    drawn += clusters * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * clusters)
    return counts.reshape(resamples, clusters).astype(float)


def _ratios(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """``numerator / denominator``, NaN where the denominator is 0."""
    safe = np.where(denominator == 0, np.nan, denominator)
    return numerator / safe
