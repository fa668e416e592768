"""Marginalised importance sampling: weights of states, not of the whole past that led to them.

A product of step weights grows with the session's length even where two pasts lead to the same
state. Xie, Ma and Wang 2019 (*Towards optimal off-policy evaluation for reinforcement learning with
marginalized importance sampling*) weigh a step by ``d_e,t(s) / d_b,t(s)`` instead, the ratio of
how often the policies reach its state, built up step by step:

``d_e,t+1(s') = sum_s d_e,t(s) P_e,t(s'|s)``, ``P_e,t(s'|s)`` the w-weighted share of the sessions
in s that go on to s'. Value: ``(1/E) sum_i sum_t g^t [d_e,t(s_it) / d_b,t(s_it)] w_it r_it``.
Consistent where the state carries all of the past that matters.
"""

from __future__ import annotations

import numpy as np

from experiments.ope.estimators import Terms, plain
from experiments.ope.session_estimators import discounts


def state_ratios(state: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return ``d_e,t(s_it) / d_b,t(s_it)``, ``(E, H) float64``, 0 past a session's end.

    All sessions must start alike under both policies, so the first ratios are 1. The next step's
    are ``omega_t+1(s') = sum_{i: s_i,t+1 = s'} omega_t(s_it) w_it / count_t+1(s')``: the mean of
    what the sessions that arrive in s' carried there.

    Args:
        state: (E, H) int, -1 past a session's end.
        weight: (E, H) float64, step weights.
    """
    ratio = np.zeros(weight.shape)
    ratio[:, 0] = 1.0
    states = int(state.max()) + 1
    for t in range(1, weight.shape[1]):
        alive = np.flatnonzero(state[:, t] >= 0)
        here = state[alive, t]
        carried = np.bincount(here, ratio[alive, t - 1] * weight[alive, t - 1], minlength=states)
        count = np.bincount(here, minlength=states)
        ratio[alive, t] = (carried / np.maximum(count, 1))[here]
    return ratio


def marginalised(
    reward: np.ndarray, weight: np.ndarray, state: np.ndarray, discount: float = 1.0
) -> Terms:
    """Return the terms of MIS; they hold the estimated state densities fixed.

    Args:
        reward: (E, H) float64.
        weight: (E, H) float64, step weights.
        state: (E, H) int, -1 past a session's end.
        discount: g.
    """
    steps = state_ratios(state, weight) * weight * reward
    return plain(steps @ discounts(reward.shape[1], discount))
