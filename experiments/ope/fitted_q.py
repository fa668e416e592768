"""Fitted Q evaluation with linear models: what a session earns from here on under the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import GroupKFold

from envs.errors import UserError


@dataclass(frozen=True)
class SessionPredictions:
    """Out-of-fold predictions of the reward to go, for S slates in the order given."""

    q: np.ndarray
    """(S,) float64: of the logged slate."""
    v: np.ndarray
    """(S,) float64: expected over the target's slates."""

    def columns(self, positions: int) -> Mapping[str, np.ndarray]:
        """Return the log's columns ``q_hat_session`` and ``v_hat_session``, each (S * k,)."""
        return {
            "q_hat_session": np.repeat(self.q, positions),
            "v_hat_session": np.repeat(self.v, positions),
        }


def fit_session_model(
    logged: np.ndarray,
    target: np.ndarray,
    reward: np.ndarray,
    session: np.ndarray,
    step: np.ndarray,
    *,
    rng: np.random.Generator,
    ridge: float = 1e-3,
    discount: float = 1.0,
    folds: int = 3,
) -> SessionPredictions:
    """Linear FQE (Le, Voloshin and Yue 2019, *Batch policy learning under constraints*).

    Repeats the regression ``Q <- r + g V(next slate)``, ``V(s) = E_{a ~ pi_e} Q(s, a)``, as often
    as the longest session has slates; past a session's end V is 0. With a linear Q the expectation
    is Q at the mean features, and each repetition is one product with a small matrix: the ridge's
    projection of the next slate's features is computed once.

    Args:
        logged: (S, F) float64, features of state and logged slate. Give them a feature of the step
            where the sessions' length is limited.
        target: (S, F) float64, the mean of the features over the target's slates in that state.
        reward: (S,) float64, summed over the slate.
        session: (S,) ids; folds hold whole sessions.
        step: (S,) int, order within a session.
        rng: shuffles sessions into folds.
        ridge: penalty on the weights, as a share of the number of slates; the mean is free.
        discount: g.
        folds: number of folds.

    Raises:
        UserError: shapes do not fit, or there are fewer sessions than folds.
    """
    _, codes = np.unique(session, return_inverse=True)
    _check(logged, target, reward, codes, folds)
    after = _next_slate(codes, step)
    with_one, target_one = (np.column_stack([np.ones(len(x)), x]) for x in (logged, target))
    # The next slate's expected features, 0 (and so no value) past the end.
    following = np.where((after >= 0)[:, None], target_one[after], 0.0)
    repeats = int(np.bincount(codes).max())
    splitter = GroupKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
    q, v = np.empty(len(reward)), np.empty(len(reward))
    for train, held_out in splitter.split(codes, groups=codes):
        weights = _fitted(
            with_one[train], following[train], reward[train], ridge, discount, repeats
        )
        q[held_out], v[held_out] = with_one[held_out] @ weights, target_one[held_out] @ weights
    return SessionPredictions(q, v)


def _fitted(
    features: np.ndarray,
    following: np.ndarray,
    reward: np.ndarray,
    ridge: float,
    discount: float,
    repeats: int,
) -> np.ndarray:
    """Weights (F + 1,) after ``repeats`` regressions of r + g V."""
    penalty = ridge * len(features) * np.eye(features.shape[1])
    penalty[0, 0] = 0.0
    gram = features.T @ features + penalty + 1e-9 * np.eye(len(penalty))
    once = np.linalg.solve(gram, features.T @ np.column_stack([reward, following]))
    earned, carried = once[:, 0], once[:, 1:]
    weights = np.zeros(len(earned))
    for _ in range(repeats):
        weights = earned + discount * carried @ weights
    return weights


def _next_slate(session: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Row of the session's next slate, -1 at its last, ``(S,) int``."""
    order = np.lexsort((step, session))
    after = np.full(len(order), -1)
    follows = session[order][1:] == session[order][:-1]
    after[order[:-1][follows]] = order[1:][follows]
    return after


def _check(
    logged: np.ndarray, target: np.ndarray, reward: np.ndarray, codes: np.ndarray, folds: int
) -> None:
    if logged.ndim != 2 or target.shape != logged.shape or reward.shape != logged.shape[:1]:
        raise UserError(
            "a session model needs logged features (S, F), target features (S, F) and rewards (S,),"
            f" but they are {logged.shape}, {target.shape} and {reward.shape}."
        )
    if not 2 <= folds <= codes.max() + 1:
        raise UserError(
            f"a session model needs from 2 folds to as many as there are sessions "
            f"({codes.max() + 1}), but folds is {folds}."
        )
