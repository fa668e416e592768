"""Importance weights learned by telling the target's actions from the logged ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.ope.cross_fitting import Learner, cross_fit


def balanced_weights(
    logged_features: np.ndarray,
    target_features: np.ndarray,
    groups: np.ndarray,
    *,
    rng: np.random.Generator,
    learner: Learner | Any = "logistic",
    folds: int = 3,
) -> np.ndarray:
    """``w(x, a) = P(target | x, a) / P(logged | x, a)``, out of fold, ``(S,) float64``.

    A classifier is trained on the logged actions (label 0) and on as many drawn from the target for
    the same contexts (label 1); its odds are the density ratio (Sondhi, Arbour and Dimmery 2020,
    *Balanced off-policy evaluation in general action spaces*). Needs no propensities. The column
    ``weight_balanced`` is read by BalancedIPS, which divides by the weights' mean.

    Args:
        logged_features: (S, F) float64, features of context and logged action. A linear classifier
            needs their products, or it can only see how actions differ on average.
        target_features: (S, F) float64, the same with an action drawn from the target.
        groups: (S,) ids, kept together in folds.
        rng: shuffles folds and seeds the learner.
        learner: a classifier.
        folds: number of folds.
    """
    pairs = np.stack([logged_features, target_features], axis=1)
    label = np.broadcast_to(np.array([0.0, 1.0]), pairs.shape[:2])
    (chance,) = cross_fit(
        pairs, label, groups, [logged_features], rng=rng, learner=learner, folds=folds
    )
    return chance / np.maximum(1 - chance, 1e-9)
