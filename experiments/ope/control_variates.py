"""Importance weights expect 1: what they average beyond that corrects the estimate they make."""

from __future__ import annotations

import numpy as np

from experiments.ope.estimators import Terms, plain


def with_control_variate(reward: np.ndarray, weight: np.ndarray) -> Terms:
    """``(1/S) sum_s sum_l [w_sl r_sl - b_l (w_sl - 1)]`` with the b_l of least variance.

    The best coefficient is ``b_l = cov(w_l r_l, w_l) / var(w_l)``, the optimal baseline of Gupta et
    al. 2024 (*Optimal baseline corrections for off-policy contextual bandits*) and the regression
    estimator of Owen 2013 (chapter 8.9). A constant reward comes out exactly. b is fitted on the
    same log, which biases the estimate by order 1/S; its own error moves the estimate by order 1/S
    too, so intervals that hold b fixed are right to first order.

    Args:
        reward: (S, k) float64.
        weight: (S, k) float64: slate, cascade or item-position weights.
    """
    weighted = weight * reward
    centred = weight - weight.mean(axis=0)
    variance = np.square(centred).sum(axis=0)
    together = (centred * weighted).sum(axis=0)
    best = np.divide(together, variance, out=np.zeros_like(together), where=variance > 0)
    return plain((weighted - best * (weight - 1)).sum(axis=1))
