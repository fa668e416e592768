"""Off-policy estimators as pure functions from arrays to averageable terms.

Notation: slate s = 1..S, position l = 1..k, reward r_sl; importance weights of the target policy
pi_e over the logging policy pi_b; a reward model's q (of what was logged) and v (its expectation
under pi_e). The value of a policy is the mean over slates of the sum over positions of reward.

Every estimator here is a sum of ratios of means, value = sum_t mean_s N_st / mean_s D_st, so one
bootstrap and one delta method serve them all. A plain mean has D = 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Terms(NamedTuple):
    """What an estimator averages: ``value = sum_t mean(numerator_t) / mean(denominator_t)``."""

    numerator: np.ndarray
    """(S, T) float64."""
    denominator: np.ndarray
    """(S, T) float64."""


def plain(contributions: np.ndarray) -> Terms:
    """Return the terms of a plain mean over slates of ``contributions (S,)``."""
    column = contributions[:, None]
    return Terms(column, np.ones_like(column))


def importance_sampling(reward: np.ndarray, weight: np.ndarray) -> Terms:
    """``(1/S) sum_s sum_l w_sl r_sl``: IPS and its slate variants, by the weights given.

    - slate weights w_s = pi_e(a_1..a_k) / pi_b(a_1..a_k), equal at all positions: SIPS (Swaminathan
      et al. 2017, *Off-policy evaluation for slate recommendation*); unbiased always.
      On slates of one it is IPS (Horvitz and Thompson 1952; Dudik et al. 2014).
    - item-position weights pi_e(a_l at l) / pi_b(a_l at l): IIPS (Li et al. 2018, *Offline
      evaluation of ranking policies with click models*); unbiased where an item's reward does not
      depend on the others.
    - cascade weights pi_e(a_1..a_l) / pi_b(a_1..a_l): RIPS (McInerney et al. 2020, *Counterfactual
      evaluation of slate recommendations with sequential reward interactions*); unbiased where a
      reward depends only on the items above.

    Args:
        reward: (S, k) float64.
        weight: (S, k) float64.
    """
    return plain((weight * reward).sum(axis=1))


def self_normalised(reward: np.ndarray, weight: np.ndarray) -> Terms:
    """``sum_l (sum_s w_sl r_sl) / (sum_s w_sl)``: weights over their mean, by position.

    SNIPS (Swaminathan and Joachims 2015, *The self-normalized estimator for counterfactual
    learning*) position by position: SNSIPS, SNIIPS, SNRIPS. A constant reward comes
    out exactly.

    Args:
        reward: (S, k) float64.
        weight: (S, k) float64.
    """
    return Terms(weight * reward, weight)


def direct(v: np.ndarray) -> Terms:
    """``(1/S) sum_s sum_l v_sl``: DM, the reward model alone (Dudik et al. 2014).

    Args:
        v: (S, k) float64, expected predicted reward at each position under the target policy.
    """
    return plain(v.sum(axis=1))


def doubly_robust(reward: np.ndarray, weight: np.ndarray, q: np.ndarray, v: np.ndarray) -> Terms:
    """``(1/S) sum_s sum_l [v_sl + w_sl (r_sl - q_sl)]``: DR (Dudik et al. 2014).

    With slate weights it is DR over whole slates. With cascade weights, and q the predicted
    *immediate* reward given the items above, it is CascadeDR (Kiyohara et al. 2022, *Doubly robust
    off-policy evaluation for ranking policies under the cascade behavior model*): with Q_l = q_l +
    V_{l+1} and V_l = E_{pi_e}[Q_l | a_1..a_{l-1}] the sum of their equation telescopes to this one.

    Args:
        reward: (S, k) float64.
        weight: (S, k) float64.
        q: (S, k) float64, predicted reward of the logged item at its position.
        v: (S, k) float64, expectation of q at that position under the target policy.
    """
    return plain((v + weight * (reward - q)).sum(axis=1))


def self_normalised_doubly_robust(
    reward: np.ndarray, weight: np.ndarray, q: np.ndarray, v: np.ndarray
) -> Terms:
    """``mean_s v_s + (sum_s w_s (r_s - q_s)) / (sum_s w_s)``: SNDR (Thomas and Brunskill 2016).

    Args:
        reward: (S, k) float64.
        weight: (S,) float64, slate weights.
        q: (S, k) float64.
        v: (S, k) float64.
    """
    correction = weight * (reward - q).sum(axis=1)
    numerator = np.stack([v.sum(axis=1), correction], axis=1)
    return Terms(numerator, np.stack([np.ones_like(weight), weight], axis=1))


def cascade_doubly_robust(
    reward: np.ndarray, weight: np.ndarray, q_to_go: np.ndarray, v_to_go: np.ndarray
) -> Terms:
    """``(1/S) sum_s sum_l [w_{s,1:l} (r_sl - Q_sl) + w_{s,1:l-1} V_sl]``: CascadeDR.

    Kiyohara et al. 2022 (as cited above), for a model of the reward *to go*.

    Args:
        reward: (S, k) float64.
        weight: (S, k) float64, cascade weights.
        q_to_go: (S, k) float64, predicted reward from this position on, given the logged items up
            to and with this position and the target policy afterwards.
        v_to_go: (S, k) float64, expectation of q_to_go over the target's choice at this position,
            given the logged items above.
    """
    above = np.concatenate([np.ones_like(weight[:, :1]), weight[:, :-1]], axis=1)
    return plain((weight * (reward - q_to_go) + above * v_to_go).sum(axis=1))


def replay(reward: np.ndarray, matches: np.ndarray) -> Terms:
    """``sum_s m_s r_s / sum_s m_s``: replay (Li, Chu, Langford and Wang 2011, *Unbiased offline
    evaluation of contextual-bandit-based news article recommendation algorithms*).

    Consistent where the log was drawn uniformly at random; from any other, it favours contexts in
    which the log happened to agree with the target.

    Args:
        reward: (S, k) float64.
        matches: (S,) bool, whether the deterministic target would have shown the logged slate.
    """
    kept = matches[:, None].astype(float)
    return Terms(kept * reward.sum(axis=1, keepdims=True), kept)
