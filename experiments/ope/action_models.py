"""A cross-fitted reward model over all actions of a bandit, plain or fitted for DR's variance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from envs.errors import UserError
from experiments.ope.cross_fitting import Learner, cross_fit

#: ``normal`` weighs all rows alike, ``iw`` by pi_e / pi_b, ``mrdr`` for the least variance of DR.
Fitting = Literal["normal", "iw", "mrdr"]


@dataclass(frozen=True)
class ActionPredictions:
    """Out-of-fold predictions of each action's reward."""

    q: np.ndarray
    """(S, A) float64."""
    q_logged: np.ndarray
    """(S,) float64, of the logged action."""
    v: np.ndarray
    """(S,) float64, expectation under the target policy."""

    def columns(self, suffix: str = "") -> Mapping[str, np.ndarray]:
        """Return ``q_hat`` and ``v_hat`` for the log; ``suffix`` is ``_mrdr`` for MRDR's."""
        return {f"q_hat{suffix}": self.q_logged, f"v_hat{suffix}": self.v}


def fitting_weights(kind: Fitting, logged: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the rows' weights in the regression, ``(S,) float64``.

    ``mrdr``: ``pi_e (1 - pi_b) / pi_b^2``, whose weighted squared error is the part of DR's
    variance that the model can change (Farajtabar, Chow and Ghavamzadeh 2018, *More robust doubly
    robust off-policy evaluation*).

    Args:
        kind: which weights.
        logged: (S,) float64, pi_b of the logged action.
        target: (S,) float64, pi_e of it.
    """
    if kind == "normal":
        return np.ones_like(logged)
    if kind == "iw":
        return target / logged
    return target * (1 - logged) / np.square(logged)


def fit_action_model(
    context: np.ndarray,
    action_features: np.ndarray,
    action: np.ndarray,
    reward: np.ndarray,
    logged: np.ndarray,
    target: np.ndarray,
    groups: np.ndarray,
    *,
    rng: np.random.Generator,
    learner: Learner | Any = "boosting",
    fitting: Fitting = "normal",
    folds: int = 3,
) -> ActionPredictions:
    """Fit reward on (context, action features) and predict all actions out of fold.

    Args:
        context: (S, C) float64.
        action_features: (A, F) float64 (``np.eye(A)`` for actions without features), or (S, A, F).
        action: (S,) int, the logged action.
        reward: (S,) float64.
        logged: (S,) float64, pi_b of the logged action.
        target: (S, A) float64, pi_e of all actions.
        groups: (S,) ids, such as sessions, kept together in folds.
        rng: shuffles folds and seeds the learner.
        learner: a name, or an unfitted scikit-learn estimator.
        fitting: how rows are weighed; ``mrdr`` is what makes DR MRDR.
        folds: number of folds.

    Raises:
        UserError: shapes do not fit, or there are fewer groups than folds.
    """
    rows, actions = target.shape
    if action_features.shape[-2] != actions or len(context) != rows or reward.shape != (rows,):
        raise UserError(
            "an action model needs context (S, C), action features (A, F) or (S, A, F), reward (S,)"
            f" and target (S, A), but they are {context.shape}, {action_features.shape}, "
            f"{reward.shape} and {target.shape}."
        )
    each = np.broadcast_to(action_features, (rows, actions, action_features.shape[-1]))
    repeated = np.broadcast_to(context[:, None], (rows, actions, context.shape[1]))
    design = np.concatenate([repeated, each], axis=-1)
    weight = None
    if fitting != "normal":
        weight = fitting_weights(fitting, logged, target[np.arange(rows), action])
    (q,) = cross_fit(
        design[np.arange(rows), action], reward, groups, [design],
        rng=rng, learner=learner, folds=folds, sample_weight=weight,
    )  # fmt: skip
    return ActionPredictions(q, q[np.arange(rows), action], (target * q).sum(axis=1))
