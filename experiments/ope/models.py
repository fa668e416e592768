"""A cross-fitted, position-aware reward model for slates: the q and v of DM and DR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.errors import UserError
from experiments.ope.cross_fitting import Learner, cross_fit


@dataclass(frozen=True)
class SlatePredictions:
    """Out-of-fold predictions: no slate is predicted by a model that saw its session."""

    q_logged: np.ndarray
    """(S, k) float64: reward of the logged item at its position, given the items above."""
    v_position: np.ndarray
    """(S, k) float64: expectation of that at each position when the target fills the slate."""

    @property
    def v_target(self) -> np.ndarray:
        """(S,) float64: expected reward of the target's whole slate."""
        return self.v_position.sum(axis=1)

    def columns(self) -> dict[str, np.ndarray]:
        """Return ``q_hat`` and ``v_hat``, each (S * k,), for a log sorted by slate and position."""
        return {"q_hat": self.q_logged.ravel(), "v_hat": self.v_position.ravel()}


def fit_slate_model(
    logged_features: np.ndarray,
    rewards: np.ndarray,
    target_features: np.ndarray,
    sessions: np.ndarray,
    *,
    rng: np.random.Generator,
    folds: int = 3,
    regressor: Learner | Any = "boosting",
) -> SlatePredictions:
    """Fit reward on (features, position, mean features above) and predict both policies' slates.

    One model serves all positions; the mean of the features above lets a click depend on what was
    seen before it. Folds hold whole sessions, so that q and v do not depend on the rewards that
    they correct (cross-fitting, Chernozhukov et al. 2018).

    Args:
        logged_features: (S, k, F) float, the logged item at each position.
        rewards: (S, k) float.
        target_features: (S, M, k, F) float, M slates per logged slate sampled from the target
            policy for the same shopper and candidates; v is the mean over them.
        sessions: (S,) ids.
        rng: seeds the regressor, where it is the default one, and shuffles sessions into folds.
        folds: number of folds, at least 2.
        regressor: a learner's name (``logistic`` for 0/1 rewards), or an unfitted scikit-learn
            estimator of one's own.

    Raises:
        UserError: shapes do not fit, or there are fewer sessions than folds.
    """
    _check_shapes(logged_features, rewards, target_features, sessions)
    logged, target = _design(logged_features), _design(target_features)
    q, v = cross_fit(
        logged, rewards, sessions, [logged, target], rng=rng, learner=regressor, folds=folds
    )
    return SlatePredictions(q, v.mean(axis=1))


def _design(features: np.ndarray) -> np.ndarray:
    """Features beside position and the mean features above: (..., k, F) to (..., k, 2 F + k)."""
    k = features.shape[-2]
    above = np.zeros(features.shape)
    above[..., 1:, :] = np.cumsum(features, axis=-2)[..., :-1, :]
    above /= np.maximum(np.arange(k), 1)[:, None]
    position = np.broadcast_to(np.eye(k), (*features.shape[:-1], k))
    return np.concatenate([features, above, position], axis=-1)


def _check_shapes(
    logged: np.ndarray, rewards: np.ndarray, target: np.ndarray, sessions: np.ndarray
) -> None:
    slates, k, width = logged.shape
    fits = (
        rewards.shape == (slates, k)
        and target.ndim == 4
        and target.shape[0] == slates
        and target.shape[2:] == (k, width)
        and sessions.shape == (slates,)
    )
    if not fits:
        raise UserError(
            "a reward model needs logged features (S, k, F), rewards (S, k), target features "
            f"(S, M, k, F) and sessions (S,), but they are {logged.shape}, {rewards.shape}, "
            f"{target.shape} and {sessions.shape}."
        )
