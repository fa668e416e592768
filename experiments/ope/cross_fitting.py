"""Predictions that never saw what they predict: folds of whole sessions, one model a fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from envs.errors import UserError

#: ``logistic`` and ``boosting_classifier`` predict the probability of a 0/1 outcome.
Learner = Literal["ridge", "logistic", "boosting", "boosting_classifier"]


def make_learner(learner: Learner, rng: np.random.Generator) -> Any:
    """Return an unfitted scikit-learn estimator; ``rng`` seeds the boosted ones."""
    if learner == "ridge":
        return make_pipeline(StandardScaler(), Ridge(1.0))
    if learner == "logistic":
        return make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=500))
    boosted = (
        HistGradientBoostingRegressor if learner == "boosting" else HistGradientBoostingClassifier
    )
    return boosted(max_iter=100, max_leaf_nodes=15, random_state=int(rng.integers(2**31)))


def cross_fit(
    features: np.ndarray,
    outcome: np.ndarray,
    groups: np.ndarray,
    asked: Sequence[np.ndarray],
    *,
    rng: np.random.Generator,
    learner: Learner | Any = "boosting",
    folds: int = 3,
    sample_weight: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Fit outcome on features and predict each row by a model that never saw its group.

    Cross-fitting (Chernozhukov et al. 2018, *Double/debiased machine learning*): without it a
    reward model repeats the noise that it should correct, and intervals are too short.

    Args:
        features: (S, ..., F) float64; the middle axes are further training rows of the same group.
        outcome: (S, ...) float64, of the same leading shape.
        groups: (S,) ids, kept together in folds.
        asked: arrays (S, ..., F) to predict at, row by row with the fold of S.
        rng: shuffles groups into folds and seeds the learner.
        learner: a name, or an unfitted scikit-learn estimator of one's own.
        folds: number of folds.
        sample_weight: weights of the training rows, of the outcome's shape.

    Returns:
        For each array asked, predictions of its shape without F; probabilities of 1 from
        classifiers.

    Raises:
        UserError: fewer groups than folds, or an outcome that a classifier cannot take.
    """
    _, codes = np.unique(groups, return_inverse=True)
    if not 2 <= folds <= codes.max() + 1:
        raise UserError(
            f"a reward model needs from 2 folds to as many as there are sessions "
            f"({codes.max() + 1}), but folds is {folds}."
        )
    model = make_learner(cast(Learner, learner), rng) if isinstance(learner, str) else learner
    if hasattr(model, "predict_proba") and not np.isin(outcome, (0.0, 1.0)).all():
        raise UserError(
            f"a classifier ({learner}) needs outcomes of 0 and 1; use ridge or boosting for others."
        )
    splitter = GroupKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
    found = [np.empty(array.shape[:-1]) for array in asked]
    for train, held_out in splitter.split(codes, groups=codes):
        weight = None if sample_weight is None else sample_weight[train]
        fitted = _fit(model, features[train], outcome[train], weight)
        for out, array in zip(found, asked):
            out[held_out] = _predict(fitted, array[held_out])
    return found


def _fit(model: Any, features: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None) -> Any:
    rows, target = features.reshape(-1, features.shape[-1]), outcome.ravel()
    made = clone(model)
    if hasattr(made, "predict_proba") and target.min() == target.max():
        return float(target[0])  # a fold without the other outcome: its rate is all there is
    if weight is None:
        return made.fit(rows, target)
    # A pipeline passes weights on to its last step by that step's name.
    name = f"{made.steps[-1][0]}__sample_weight" if hasattr(made, "steps") else "sample_weight"
    return made.fit(rows, target, **{name: weight.ravel()})


def _predict(model: Any, features: np.ndarray) -> np.ndarray:
    if isinstance(model, float):
        return np.full(features.shape[:-1], model)
    rows = features.reshape(-1, features.shape[-1])
    classifier = hasattr(model, "predict_proba")
    values = model.predict_proba(rows)[:, 1] if classifier else model.predict(rows)
    return values.reshape(features.shape[:-1])
