"""Value a target policy from a feedback log: estimates with intervals, diagnostics and warnings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from envs.errors import UserError, nearest
from experiments.ope import bootstrap, diagnostics, intervals
from experiments.ope.bounded import BOUNDED_ESTIMATORS, WEIGHT_CAP, bounded_interval
from experiments.ope.concentration import BOUNDS
from experiments.ope.registry import ESTIMATORS, available, require
from experiments.ope.slates import Slates
from experiments.ope.tally import Tally, require_clusters, tally_slates, weights_of

Interval = Literal[
    "skew", "bootstrap", "bca", "delta", "student", "hoeffding", "bernstein", "sequence"
]
INTERVALS: tuple[Interval, ...] = get_args(Interval)
#: The one that holds what it says best, on every estimator and world of the coverage study.
RECOMMENDED: Interval = "skew"

#: Present, and other than 0, where `experiments.ope.propensity_model` made the propensities.
ESTIMATED = "pscore_estimated"


@dataclass(frozen=True)
class Estimate:
    """One estimator's answer, with what is needed to judge it."""

    estimator: str
    value: float
    """Mean over slates of the summed reward; NaN where the log does not define it."""
    low: float
    high: float
    se: float
    """Standard error: of the resamples for a bootstrap, else by the delta method."""
    ess: float
    """Effective sample size in slates, at the position where it is lowest; n without weights."""
    max_weight: float
    zero_share: float
    """Share of importance weights that are 0."""
    n: int
    """Number of slates, or of sessions where ``unit`` is session and weights are used."""
    warnings: list[str]
    support_violations: float = 0.0
    """Share of the target's choices that the log could not show, estimated as 1 less the mean
    weight; 0 where that is within its error."""
    tail: float | None = None
    """Pareto k-hat of the weights, at the position where it is highest; None without a tail."""
    interval: str = RECOMMENDED
    level: float = 0.95
    unit: str = "slate"
    """What the value is the mean reward of: a slate or a session."""
    notes: list[str] = field(default_factory=list)
    """What the interval does not count."""

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


@dataclass(frozen=True)
class Spread:
    """An interval and a standard error."""

    low: float
    high: float
    se: float


def evaluate(
    frame: pd.DataFrame,
    estimators: Sequence[str] | None = None,
    *,
    rng: np.random.Generator,
    interval: Interval = RECOMMENDED,
    level: float = 0.95,
    cluster: str = "session_id",
    resamples: int = 1000,
    reward_range: tuple[float, float] | None = None,
    weight_cap: float = WEIGHT_CAP,
) -> list[Estimate]:
    """Estimate the target policy's value from a log of another policy.

    The value is the mean reward of a slate; for estimators of sessions, that of a session.

    Args:
        frame: a feedback log (``envs/feedback.py``) with ``eval_pscore*`` columns, and the model
            columns of ``experiments/ope/slates.py`` for the estimators that use a model.
        estimators: names from ``ESTIMATORS``; None for all whose columns are there.
        rng: source of the bootstrap's draws.
        interval: ``skew`` (studentised, corrected for skewness and heavy tails), percentile
            ``bootstrap``, ``bca`` (bias-corrected), ``delta`` (normal) or ``student`` (t), whose
            coverage `experiments.ope.coverage` measures; and ``hoeffding``, ``bernstein`` and the
            anytime-valid ``sequence``, which hold at every sample size, for plain weighted means
            of rewards in a known range.
        level: the interval's level, in (0, 1).
        cluster: the column whose values are independent; slates that share one are kept together.
        resamples: number of bootstrap resamples.
        reward_range: least and largest possible reward of a row, for the last three intervals;
            0 and 1 are known from a log of zeros and ones.
        weight_cap: largest weight that counts in the last three intervals: choose it before the
            log is seen, lower for light weights.

    Returns:
        One estimate for each name, in the order asked.

    Raises:
        UserError: a log that breaks its rules, an unknown name, an absent column, too few clusters.
    """
    check_choices(estimators or (), interval, level)
    slates = Slates(frame, cluster)
    names = list(estimators) if estimators is not None else available(slates)
    tally = tally_slates(slates, tallied(names, slates))
    require_clusters(tally, cluster)
    if interval in BOUNDS:
        spreads = _bounded_spreads(slates, names, tally, interval, level, reward_range, weight_cap)
    else:
        spreads = sampled_spreads(tally, interval, level, resamples, rng)
    estimated = ESTIMATED in frame and bool(frame[ESTIMATED].any())
    return conclude(names, tally, spreads, interval, level, estimated=estimated)


def tallied(names: Sequence[str], slates: Slates) -> list[str]:
    """Return the estimators to tally: those asked for, and one that models are checked against.

    Raises:
        UserError: the log lacks a column that one of them needs.
    """
    for name in names:
        require(name, slates)
    check = "SNIPS" if slates.k == 1 else "SNSIPS"
    modelled = any(ESTIMATORS[name].model for name in names)
    beside = [check] if modelled and slates.has("eval_pscore") and not _reference(names) else []
    return [*names, *beside]


def sampled_spreads(
    tally: Tally, interval: str, level: float, resamples: int, rng: np.random.Generator
) -> dict[str, Spread]:
    """Return the interval of each tallied estimator: a bootstrap's, or by its standard error."""
    values = {name: intervals.point(terms) for name, terms in tally.terms.items()}
    if interval not in ("bootstrap", "bca"):
        return {
            name: _linear_spread(tally, name, value, interval, level)
            for name, value in values.items()
        }
    drawn = bootstrap.bootstrap_values(list(tally.terms.values()), resamples, rng)
    spreads = {}
    for (name, terms), column in zip(tally.terms.items(), drawn.T, strict=True):
        low, high = (
            bootstrap.bca_interval(column, values[name], terms, level)
            if interval == "bca"
            else bootstrap.percentile_interval(column, level)
        )
        spreads[name] = Spread(low, high, bootstrap.bootstrap_error(column))
    return spreads


def conclude(
    names: Sequence[str],
    tally: Tally,
    spreads: Mapping[str, Spread],
    interval: str,
    level: float,
    *,
    estimated: bool,
) -> list[Estimate]:
    """Put values, intervals, diagnostics and warnings together.

    Args:
        names: estimators to answer for.
        tally: their sums, and those of the estimator that models are checked against.
        spreads: their intervals.
        interval: what kind those are.
        level: their level.
        estimated: whether the log's propensities are estimates.
    """
    overlaps = {name: sums.overlap() for name, sums in tally.weights.items()}
    found = []
    for name in names:
        spread, key = spreads[name], weights_of(name)
        seen = None if key is None else overlaps[key]
        found.append(
            Estimate(
                estimator=name,
                value=intervals.point(tally.terms[name]),
                low=spread.low,
                high=spread.high,
                se=spread.se,
                ess=seen.ess if seen else float(tally.n),
                max_weight=seen.max_weight if seen else 1.0,
                zero_share=seen.zero_share if seen else 0.0,
                n=seen.n if seen else tally.n,
                warnings=[
                    *(diagnostics.overlap_warnings(seen, _numerator(key)) if seen else []),
                    *_against_weights(name, tally),
                ],
                support_violations=seen.outside if seen else 0.0,
                tail=None if seen is None or math.isnan(seen.tail) else seen.tail,
                interval=interval,
                level=level,
                unit=ESTIMATORS[name].unit,
                notes=_notes(name, seen is not None and estimated),
            )
        )
    return found


def check_choices(names: Sequence[str], interval: str, level: float) -> None:
    """Raise a UserError for an unknown estimator or interval, or a level outside (0, 1)."""
    for name in names:
        if name not in ESTIMATORS:
            raise UserError(
                f"there is no estimator {name!r}; choose from {', '.join(ESTIMATORS)}."
                + nearest(name, ESTIMATORS)
            )
    if interval not in INTERVALS:
        raise UserError(
            f"there is no interval {interval!r}; choose from {', '.join(INTERVALS)}."
            + nearest(interval, INTERVALS)
        )
    if not 0 < level < 1:
        raise UserError(f"the interval's level must lie between 0 and 1, but it is {level!r}.")


def _linear_spread(tally: Tally, name: str, value: float, interval: str, level: float) -> Spread:
    pull = intervals.influence(tally.terms[name])
    se = intervals.standard_error(pull)
    if interval == "skew":
        return Spread(*intervals.skew_interval(value, pull, level), se)
    if interval == "student":
        return Spread(*intervals.student_interval(value, se, level, tally.clusters), se)
    return Spread(*intervals.normal_interval(value, se, level), se)


def _bounded_spreads(
    slates: Slates,
    names: Sequence[str],
    tally: Tally,
    interval: str,
    level: float,
    reward_range: tuple[float, float] | None,
    weight_cap: float,
) -> dict[str, Spread]:
    spreads, reward = {}, slates.reward
    if reward_range is None and not np.isin(reward, (0.0, 1.0)).all():
        raise UserError(
            f"interval {interval} needs the range of all possible rewards of a row (reward_range, "
            "such as 0 and 2): the largest reward that the log happens to hold is no bound."
        )
    for name in names:
        propensity = ESTIMATORS[name].propensity
        if name not in BOUNDED_ESTIMATORS or propensity is None:
            raise UserError(
                f"interval {interval} is for plain weighted means ({', '.join(BOUNDED_ESTIMATORS)}"
                f"), which {name} is not; use bootstrap, bca, delta or student."
            )
        low, high = bounded_interval(
            reward,
            slates.weight(propensity),
            slates.clusters,
            reward_range or (0.0, 1.0),
            level,
            BOUNDS[interval],
            weight_cap,
        )
        se = intervals.standard_error(intervals.influence(tally.terms[name]))
        spreads[name] = Spread(low, high, se)
    return spreads


def _numerator(kind: str | None) -> str:
    """What a message calls the target's side of the weights of one kind."""
    stored = kind is not None and kind.startswith("pscore") and "*" not in kind
    return f"column 'eval_{kind}'" if stored else "the weight"


def _reference(names: Sequence[str]) -> str | None:
    return next((name for name in ("SNIPS", "SNSIPS") if name in names), None)


def _against_weights(name: str, tally: Tally) -> list[str]:
    """A model-based estimate beside the weights-only one of the same slates."""
    other = _reference(list(tally.terms))
    if other is None or not ESTIMATORS[name].model:
        return []
    ours, theirs = tally.terms[name], tally.terms[other]
    # Paired: both move with the same slates, so the difference is far surer than either.
    se = intervals.standard_error(intervals.influence(ours) - intervals.influence(theirs))
    return diagnostics.disagreement(name, intervals.point(ours), other, intervals.point(theirs), se)


def _notes(name: str, estimated: bool) -> list[str]:
    caveat = ESTIMATORS[name].caveat
    notes = [caveat] if caveat else []
    if ESTIMATORS[name].model and ESTIMATORS[name].propensity is None:
        notes.append(
            "the interval takes the reward model as given: it counts neither its bias nor what "
            "fitting it on other sessions would change (experiments.ope.refit counts the latter)"
        )
    elif ESTIMATORS[name].model:
        notes.append(
            "the interval takes the reward model as given, which is right to first order where "
            "it is cross-fitted and the propensities are exact"
        )
    if estimated:
        notes.append(
            "the log has no propensities of its own: these are estimates, and an error in them is "
            "not in the interval"
        )
    return notes
