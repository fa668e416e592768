"""Value a target policy from a feedback log: estimates with intervals, diagnostics and warnings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from envs.errors import UserError, nearest
from experiments.ope import diagnostics, intervals
from experiments.ope.estimators import Terms
from experiments.ope.registry import ESTIMATORS, available, require
from experiments.ope.slates import Slates

Interval = Literal["bootstrap", "delta", "student"]
INTERVALS: tuple[Interval, ...] = ("bootstrap", "delta", "student")


@dataclass(frozen=True)
class Estimate:
    """One estimator's answer, with what is needed to judge it."""

    estimator: str
    value: float
    """Mean over slates of the summed reward; NaN where the log does not define it."""
    low: float
    high: float
    se: float
    """Standard error: of the resamples for the bootstrap, else by the delta method."""
    ess: float
    """Effective sample size in slates, at the position where it is lowest; n without weights."""
    max_weight: float
    zero_share: float
    """Share of importance weights that are 0."""
    n: int
    """Number of slates."""
    warnings: list[str]

    @property
    def conclusive(self) -> bool:
        """Whether the overlap between log and target allows a conclusion at all."""
        return not any(warning.startswith(diagnostics.NO_VERDICT) for warning in self.warnings)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON, undefined numbers as None."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }


def evaluate(
    frame: pd.DataFrame,
    estimators: Sequence[str] | None = None,
    *,
    rng: np.random.Generator,
    interval: Interval = "bootstrap",
    level: float = 0.95,
    cluster: str = "session_id",
    resamples: int = 1000,
) -> list[Estimate]:
    """Estimate the target policy's value per slate from a log of another policy.

    Args:
        frame: a feedback log (``envs/feedback.py``) with ``eval_pscore*`` columns, and the model
            columns of ``experiments/ope/slates.py`` for the estimators that use a model.
        estimators: names from ``ESTIMATORS``; None for all whose columns are there.
        rng: source of the bootstrap's draws.
        interval: percentile ``bootstrap``, ``delta`` (normal) or ``student`` (t).
        level: the interval's level, in (0, 1).
        cluster: the column whose values are independent; slates that share one are kept together.
        resamples: number of bootstrap resamples.

    Returns:
        One estimate for each name, in the order asked.

    Raises:
        UserError: a log that breaks its rules, an unknown name, an absent column, too few clusters.
    """
    _check_choices(estimators or (), interval, level)
    slates = Slates(frame, cluster)
    names = list(estimators) if estimators is not None else available(slates)
    for name in names:
        require(name, slates)
    clusters = slates.clusters
    if clusters.max() == 0:
        raise UserError(
            f"all slates share one {cluster!r}: an interval needs at least two of them."
        )
    terms = {name: ESTIMATORS[name].terms(slates) for name in names}
    values = {name: intervals.point(terms[name]) for name in names}
    pulls = {name: intervals.influence(terms[name]) for name in names}
    spreads = _spreads(terms, values, pulls, clusters, interval, level, resamples, rng)
    return [
        _assemble(
            name, slates, values[name], spreads[name], _compare(name, values, pulls, clusters)
        )
        for name in names
    ]


@dataclass(frozen=True)
class _Spread:
    low: float
    high: float
    se: float


def _spreads(
    terms: Mapping[str, Terms],
    values: Mapping[str, float],
    pulls: Mapping[str, np.ndarray],
    clusters: np.ndarray,
    interval: Interval,
    level: float,
    resamples: int,
    rng: np.random.Generator,
) -> dict[str, _Spread]:
    if interval == "bootstrap":
        drawn = intervals.bootstrap_values(list(terms.values()), clusters, resamples, rng)
        return {
            name: _Spread(*intervals.percentile_interval(column, level))
            for name, column in zip(terms, drawn.T, strict=True)
        }
    spreads = {}
    for name, value in values.items():
        se = intervals.standard_error(pulls[name], clusters)
        low, high = (
            intervals.normal_interval(value, se, level)
            if interval == "delta"
            else intervals.student_interval(value, se, level, int(clusters.max()) + 1)
        )
        spreads[name] = _Spread(low, high, se)
    return spreads


def _assemble(
    name: str, slates: Slates, value: float, spread: _Spread, warnings: list[str]
) -> Estimate:
    propensity = ESTIMATORS[name].propensity
    ess, max_weight, zero_share = float(slates.n), 1.0, 0.0
    if propensity is not None:
        seen = diagnostics.overlap(slates.weight(propensity), slates.clusters)
        ess, max_weight, zero_share = seen.ess, seen.max_weight, seen.zero_share
        warnings = diagnostics.overlap_warnings(seen) + warnings
    return Estimate(
        estimator=name,
        value=value,
        low=spread.low,
        high=spread.high,
        se=spread.se,
        ess=ess,
        max_weight=max_weight,
        zero_share=zero_share,
        n=slates.n,
        warnings=warnings,
    )


def _compare(
    name: str,
    values: Mapping[str, float],
    pulls: Mapping[str, np.ndarray],
    clusters: np.ndarray,
) -> list[str]:
    """A model-based estimate beside the weights-only one of the same slates."""
    other = next((known for known in ("SNIPS", "SNSIPS") if known in values), None)
    if other is None or not ESTIMATORS[name].model:
        return []
    # Paired: both move with the same slates, so the difference is far surer than either.
    se = intervals.standard_error(pulls[name] - pulls[other], clusters)
    return diagnostics.disagreement(name, values[name], other, values[other], se)


def _check_choices(names: Sequence[str], interval: str, level: float) -> None:
    for name in names:
        if name not in ESTIMATORS:
            raise UserError(
                f"there is no estimator {name!r}; choose from {', '.join(ESTIMATORS)}."
                + nearest(name, ESTIMATORS)
            )
    if interval not in INTERVALS:
        raise UserError(f"there is no interval {interval!r}; choose from {', '.join(INTERVALS)}.")
    if not 0 < level < 1:
        raise UserError(f"the interval's level must lie between 0 and 1, but it is {level!r}.")
