"""How heavy the tail of importance weights is: the shape k of a generalised Pareto distribution.

Vehtari, Simpson, Gelman, Yao and Gabry 2024, *Pareto smoothed importance sampling*: weights have
finite moments up to order 1 / k, so that means converge ever slower as k rises, and from about
k = 0.7 on neither the estimate nor its standard error can be trusted at any usual sample size.
"""

from __future__ import annotations

import numpy as np

#: A tail of fewer different weights has no shape to speak of.
_LEAST_DISTINCT = 5
#: Weights nearer than this to the smallest one of the tail, relatively, differ by rounding:
#: propensities are given to six digits, and two policies that agree have weights of about 1.
_ROUNDING = 1e-5
#: The prior of the paper: k = 0.5, worth ten weights.
_PRIOR, _PRIOR_WEIGHT = 0.5, 10


def tail_length(n: int) -> int:
    """Return how many of ``n`` weights are the tail: min(0.2 n, 3 sqrt(n)), as in the paper."""
    return int(np.ceil(min(0.2 * n, 3 * np.sqrt(n))))


def tail_shape_limit(n: int) -> float:
    """Return the k from which ``n`` weights are too few: min(1 - 1 / log10(n), 0.7)."""
    return min(1 - 1 / np.log10(n), 0.7) if n > 1 else 0.0


def tail_shape(largest: np.ndarray, n: int) -> float:
    """Return k-hat of ``n`` weights from their largest ones, at least ``tail_length(n) + 1``.

    NaN where the tail has too few different weights: a log of few items, say, or no weight at all.
    """
    tail = np.sort(largest)[-tail_length(n) - 1 :]
    excess = tail[1:] - tail[0]
    excess = excess[excess > _ROUNDING * max(tail[0], 1e-300)]
    if len(np.unique(excess)) < _LEAST_DISTINCT:
        return float("nan")
    return pareto_shape(excess)


def pareto_shape(excess: np.ndarray) -> float:
    """Return the shape of a generalised Pareto distribution of ``excess (n,)``, sorted, above 0.

    The posterior-mean estimate of Zhang and Stephens 2009, *A new and efficient estimation method
    for the generalized Pareto distribution*, with the weak prior of Vehtari et al. 2024.
    """
    n = len(excess)
    grid = np.arange(1, 31 + int(np.sqrt(n)))
    quartile = excess[int(n / 4 + 0.5) - 1]
    b = 1 / excess[-1] + (1 - np.sqrt(len(grid) / (grid - 0.5))) / (3 * quartile)
    shapes = np.log1p(-b[:, None] * excess).mean(axis=1)
    likelihood = n * (np.log(-b / shapes) - shapes - 1)
    posterior = np.exp(likelihood - likelihood.max())
    rate = float((b * posterior).sum() / posterior.sum())
    shape = float(np.log1p(-rate * excess).mean())
    return (n * shape + _PRIOR_WEIGHT * _PRIOR) / (n + _PRIOR_WEIGHT)
