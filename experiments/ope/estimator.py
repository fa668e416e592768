"""What an estimator is: how a log becomes terms to average, and what it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from experiments.ope import estimators
from experiments.ope.control_variates import with_control_variate
from experiments.ope.estimators import Terms
from experiments.ope.sessions import Sessions
from experiments.ope.slates import Slates

#: Columns of a reward model of slates: of what was logged, and expected under the target.
MODEL = ("q_hat", "v_hat")


@dataclass(frozen=True)
class Estimator:
    """How a name becomes terms to average."""

    terms: Callable[[Slates], Terms]
    """Terms (S, T) of a log's slates; those of sessions lie on each session's first slate."""
    propensity: str | None
    """The kind of `Slates.weight` that it uses; None where it uses none, or those of sessions."""
    model: tuple[str, ...] = ()
    """The columns of a reward model of slates that it needs."""
    needs: tuple[str, ...] = ()
    """Further columns that it needs."""
    unit: Literal["slate", "session"] = "slate"
    """What its value is the mean reward of."""
    session_weights: Callable[[Sessions], np.ndarray] | None = None
    """Weights (E, H) of sessions, for an estimator of sessions that uses any."""
    whole_log: bool = False
    """Whether it chooses or fits something on the log, and so must see all of it at once."""
    caveat: str = ""
    """What its interval leaves out, in words; "" where nothing."""

    def columns(self) -> tuple[str, ...]:
        """Return the columns that a log must have for it."""
        kinds = () if self.propensity is None else self.propensity.split("*")
        ratios = [kind for kind in kinds if kind.startswith("pscore")]
        stored = [kind for kind in kinds if not kind.startswith("pscore")]
        pairs = [name for kind in ratios for name in (kind, f"eval_{kind}")]
        return (*pairs, *stored, *self.model, *self.needs)


def weighted(kind: str) -> Estimator:
    """The plain mean of rewards under one kind of weights."""
    return Estimator(lambda s: estimators.importance_sampling(s.reward, s.weight(kind)), kind)


def self_normalised(kind: str) -> Estimator:
    """The same with each position's weights over their mean."""
    return Estimator(lambda s: estimators.self_normalised(s.reward, s.weight(kind)), kind)


def doubly_robust(kind: str, model: tuple[str, ...]) -> Estimator:
    """DR with one kind of weights and a model's q and v."""

    def terms(slates: Slates) -> Terms:
        predictions = map(slates.prediction, model)
        return estimators.doubly_robust(slates.reward, slates.weight(kind), *predictions)

    return Estimator(terms, kind, model)


def control_variate(kind: str) -> Estimator:
    """The plain mean, corrected by what the weights average beyond 1."""
    return Estimator(lambda s: with_control_variate(s.reward, s.weight(kind)), kind, whole_log=True)
