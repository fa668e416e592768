"""Value of a session under the target policy, from sessions of any length.

Notation: session i = 1..E, step t = 0..H-1, reward r_it, step weight w_it, cumulative weight
rho_it = w_i0 ... w_it with rho_i,-1 = 1, predicted reward to go q_it of the logged slate and its
expectation v_it under the target, discount g. Each function returns terms of E rows; past a
session's end r, q, v are 0 and w is 1.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls
from scipy.stats import norm

from experiments.ope.estimators import Terms, plain

#: MAGIC blends at most this many J-step returns.
_BLEND = 12
#: Share of the interval around weighted DR in which a J-step return counts as unbiased.
_MAGIC_LEVEL = 0.5


def discounts(steps: int, discount: float) -> np.ndarray:
    """Return g^0 .. g^(H-1), ``(H,)``."""
    return discount ** np.arange(steps)


def trajectory(reward: np.ndarray, cumulative: np.ndarray, discount: float = 1.0) -> Terms:
    """``(1/E) sum_i rho_i,H-1 sum_t g^t r_it``: TIS (Precup, Sutton and Singh 2000)."""
    returns = reward @ discounts(reward.shape[1], discount)
    return plain(cumulative[:, -1] * returns)


def per_decision(reward: np.ndarray, cumulative: np.ndarray, discount: float = 1.0) -> Terms:
    """``(1/E) sum_i sum_t g^t rho_it r_it``: PDIS (Precup, Sutton and Singh 2000, *Eligibility
    traces for off-policy policy evaluation*): later choices cannot change an earlier reward.
    """
    return plain((cumulative * reward) @ discounts(reward.shape[1], discount))


def normalised_trajectory(
    reward: np.ndarray, cumulative: np.ndarray, discount: float = 1.0
) -> Terms:
    """``sum_i rho_i R_i / sum_i rho_i``: SNTIS, weighted importance sampling of whole sessions."""
    last = cumulative[:, -1:]
    returns = (reward @ discounts(reward.shape[1], discount))[:, None]
    return Terms(last * returns, last)


def normalised_per_decision(
    reward: np.ndarray, cumulative: np.ndarray, discount: float = 1.0
) -> Terms:
    """``sum_t g^t sum_i rho_it r_it / sum_i rho_it``: SNPDIS, weighted PDIS (Thomas 2015)."""
    return Terms(discounts(reward.shape[1], discount) * cumulative * reward, cumulative)


def doubly_robust(
    reward: np.ndarray, cumulative: np.ndarray, q: np.ndarray, v: np.ndarray, discount: float = 1.0
) -> Terms:
    """``(1/E) sum_i sum_t g^t [rho_i,t-1 v_it + rho_it (r_it - q_it)]``: step-wise DR, SDR (Jiang
    and Li 2016, *Doubly robust off-policy value evaluation for reinforcement learning*).

    Args:
        reward: (E, H) float64.
        cumulative: (E, H) float64.
        q: (E, H) float64.
        v: (E, H) float64.
        discount: g.
    """
    steps = _before(cumulative) * v + cumulative * (reward - q)
    return plain(steps @ discounts(reward.shape[1], discount))


def weighted_doubly_robust(
    reward: np.ndarray, cumulative: np.ndarray, q: np.ndarray, v: np.ndarray, discount: float = 1.0
) -> Terms:
    """SDR with each step's weights over their mean, SNSDR (weighted DR, Thomas and Brunskill 2016,
    *Data-efficient off-policy policy evaluation for reinforcement learning*).
    """
    g, before = discounts(reward.shape[1], discount), _before(cumulative)
    return Terms(
        np.concatenate([g * before * v, g * cumulative * (reward - q)], axis=1),
        np.concatenate([before, cumulative], axis=1),
    )


def magic(
    reward: np.ndarray, cumulative: np.ndarray, q: np.ndarray, v: np.ndarray, discount: float = 1.0
) -> Terms:
    """``sum_j x_j g_j``: MAGIC (Thomas and Brunskill 2016), a blend of model and weighted DR.

    The J-step return g_j corrects the model on the first j steps and believes it afterwards: g_0 is
    the model alone, g_H weighted DR. The blend x >= 0, sum x = 1, minimises ``x' (O + b b') x`` for
    the returns' covariance O and their bias b_j, the distance of g_j from the 50 % interval around
    g_H. The terms hold x fixed.

    Args:
        reward: (E, H) float64.
        cumulative: (E, H) float64.
        q: (E, H) float64.
        v: (E, H) float64.
        discount: g.
    """
    sessions, steps = reward.shape
    whole = weighted_doubly_robust(reward, cumulative, q, v, discount)
    # Column t: model's value entering step t, and the correction that step t makes.
    value, correction = whole.numerator[:, :steps], whole.numerator[:, steps:]
    js = np.unique(np.linspace(0, steps, min(steps + 1, _BLEND)).round().astype(int))
    # A return of j steps has value terms of steps 0..j-1, corrections of the same, and the model's
    # value at step j for the rest: so value terms 0..j, all but the last of which q takes back.
    reach = np.arange(steps)
    keep_value = (reach <= js[:, None]).astype(float)
    keep_correction = (reach < js[:, None]).astype(float)
    keep = np.concatenate([keep_value, keep_correction], axis=1)
    ratios = _ratio(whole.numerator.sum(axis=0), whole.denominator.sum(axis=0))
    returns = keep @ ratios
    # Influence of each session on each return, by the delta method.
    pull = _ratio(
        np.concatenate([value, correction], axis=1) - ratios * whole.denominator,
        whole.denominator.mean(axis=0),
    )
    covariance = np.atleast_2d(np.cov(pull @ keep.T, rowvar=False)) / sessions
    half = float(norm.ppf(0.5 + _MAGIC_LEVEL / 2)) * np.sqrt(covariance[-1, -1])
    apart = returns - returns[-1]
    bias = np.sign(apart) * np.maximum(np.abs(apart) - half, 0.0)
    blend = smallest_quadratic(covariance + np.outer(bias, bias))
    return Terms(whole.numerator * (blend @ keep), whole.denominator)


def smallest_quadratic(matrix: np.ndarray) -> np.ndarray:
    """Return ``argmin x' Q x`` over x >= 0 with sum x = 1, for a semi-definite Q ``(J, J)``.

    ``min |Q^(1/2) x|^2 + (1'x - 1)^2`` over x >= 0 has the same direction: for any direction d its
    best length leaves a cost that rises with d'Qd / (1'd)^2. So non-negative least squares solves
    it.
    """
    values, vectors = np.linalg.eigh(matrix)
    scale = max(float(values.max()), 1e-300)
    # Where several blends cost nothing, a trace of the identity picks the most even one.
    root = vectors * np.sqrt(np.maximum(values, 0.0) / scale + 1e-9)
    system = np.vstack([root.T, np.ones(len(matrix))])
    found, _ = nnls(system, np.append(np.zeros(len(matrix)), 1.0))
    return found / found.sum()


def _before(cumulative: np.ndarray) -> np.ndarray:
    """rho_t-1: the weights shifted by a step, 1 at first."""
    return np.concatenate([np.ones_like(cumulative[:, :1]), cumulative[:, :-1]], axis=1)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Ratio, 0 where nothing carries any weight: nothing is known there, so nothing is added."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)
