"""Importance weights made smaller on purpose: less variance for some bias, by one number lambda.

Each family maps weights to weights and has one end of its lambdas that leaves them as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shrinkage:
    """A family of shrunk weights and the lambdas worth trying."""

    apply: Callable[[np.ndarray, float], np.ndarray]
    """Weights (S,) and lambda to shrunk weights (S,)."""
    grid: tuple[float, ...]
    """From the lambda that changes nothing to the one that changes most."""
    rule: str
    """What a lambda must be, in words."""
    allows: Callable[[float], bool]


def clip(weight: np.ndarray, lam: float) -> np.ndarray:
    """``min(w, lambda)`` (Ionides 2008, *Truncated importance sampling*)."""
    return np.minimum(weight, lam)


def switch(weight: np.ndarray, lam: float) -> np.ndarray:
    """``w 1[w <= lambda]``: Switch (Wang, Agarwal and Dudik 2017, *Optimal and adaptive off-policy
    evaluation in contextual bandits*); lambda = 0 leaves the model, infinity leaves DR.
    """
    return np.where(weight <= lam, weight, 0.0)


def optimistic(weight: np.ndarray, lam: float) -> np.ndarray:
    """``lambda w / (w^2 + lambda)``: DRos (Su, Dimakopoulou, Krishnamurthy and Dudik 2020, *Doubly
    robust off-policy evaluation with shrinkage*); 0 leaves the model, infinity leaves DR.
    """
    return weight if np.isinf(lam) else lam * weight / (np.square(weight) + max(lam, 1e-300))


def harmonic(weight: np.ndarray, lam: float) -> np.ndarray:
    """``w / (1 - lambda + lambda w)``: sub-Gaussian weights (Metelli, Russo and Restelli 2021,
    *Subgaussian and differentiable importance sampling*); 0 leaves w, 1 makes all weights 1.
    """
    below = 1 - lam + lam * weight
    return np.divide(weight, below, out=np.zeros_like(weight), where=below > 0)


_LARGE = (np.inf, 1000.0, 500.0, 100.0, 50.0, 10.0, 5.0, 2.0, 1.0)
_POSITIVE = ("from 0 up to inf", lambda lam: lam >= 0)
CLIP = Shrinkage(clip, _LARGE, *_POSITIVE)
SWITCH = Shrinkage(switch, _LARGE, *_POSITIVE)
OPTIMISTIC = Shrinkage(optimistic, _LARGE, *_POSITIVE)
HARMONIC = Shrinkage(
    harmonic,
    (0.0, 0.0001, 0.001, 0.01, 0.05, 0.1, 0.5, 1.0),
    "from 0 to 1",
    lambda lam: 0 <= lam <= 1,
)
