"""How often intervals hold the truth: measured on many logs of worlds whose truth is known.

An interval that says 95 % is a promise about repeated logs, and the only way to know whether it is
kept is to draw the logs. ``shelftalk bench ope --coverage`` prints what this finds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from envs.progress import Progress, silent
from experiments.ope import bootstrap, intervals
from experiments.ope.bounded import BOUNDED_ESTIMATORS, bounded_interval
from experiments.ope.concentration import BOUNDS
from experiments.ope.coverage_worlds import CoverageWorld
from experiments.ope.evaluate import conclude, sampled_spreads
from experiments.ope.registry import ESTIMATORS
from experiments.ope.slates import Slates
from experiments.ope.tally import Tally, tally_slates

LEVELS = (0.90, 0.95)


@dataclass(frozen=True)
class Coverage:
    """What one kind of interval did on the logs of one world."""

    world: str
    estimator: str
    interval: str
    level: float
    covered: float
    """Share of logs whose interval held the truth."""
    low: float
    high: float
    """Wilson's 95 % interval of that share: what the number of logs leaves open."""
    above: float
    """Share of logs whose interval lay above the truth: half of the misses, if it is balanced."""
    width: float
    """Median width of the intervals."""
    conclusive: float
    """Share of logs on which the estimate had no verdict against it."""
    covered_conclusive: float
    """``covered`` among those; NaN without any."""
    logs: int


def study(
    world: CoverageWorld,
    logs: int,
    rng: np.random.Generator,
    *,
    resamples: int = 1000,
    progress: Progress = silent,
) -> list[Coverage]:
    """Evaluate ``logs`` logs of a world with every estimator, interval and level.

    Args:
        world: where logs come from.
        logs: how many; 400 leave +-2 points at 95 %.
        rng: source of logs and resamples.
        resamples: of each bootstrap.
        progress: called after each log.
    """
    spans: dict[tuple[str, str, float], list[tuple[float, float]]] = defaultdict(list)
    sure: dict[str, list[bool]] = defaultdict(list)
    for done, frame in enumerate(world.logs(logs, rng), start=1):
        slates = Slates(frame)
        tally = tally_slates(slates, world.estimators)
        for key, span in _intervals(tally, slates, resamples, rng).items():
            spans[key].append(span)
        for name, verdict in _verdicts(tally, world.estimators, rng).items():
            sure[name].append(verdict)
        progress(done, logs, {})
    return [
        _coverage(world, *key, np.array(found), np.array(sure.get(key[0], [True] * len(found))))
        for key, found in spans.items()
    ]


def as_table(found: Sequence[Coverage]) -> pd.DataFrame:
    """Return the study as a table, one row an interval."""
    return pd.DataFrame([vars(one) for one in found])


def _intervals(
    tally: Tally, slates: Slates, resamples: int, rng: np.random.Generator
) -> dict[tuple[str, str, float], tuple[float, float]]:
    """Every interval of one log by estimator, kind and level; both bootstraps share resamples."""
    drawn = bootstrap.bootstrap_values([*tally.terms.values(), tally.logged], resamples, rng)
    found: dict[tuple[str, str, float], tuple[float, float]] = {}
    for (name, terms), column in zip([*tally.terms.items(), ("logged", tally.logged)], drawn.T):
        value = intervals.point(terms)
        pull = intervals.influence(terms)
        se = intervals.standard_error(pull)
        for level in LEVELS:
            found |= {
                (name, "skew", level): intervals.skew_interval(value, pull, level),
                (name, "bootstrap", level): bootstrap.percentile_interval(column, level),
                (name, "bca", level): bootstrap.bca_interval(column, value, terms, level),
                (name, "delta", level): intervals.normal_interval(value, se, level),
                (name, "student", level): intervals.student_interval(
                    value, se, level, tally.clusters
                ),
            }
    zero_one = bool(np.isin(slates.reward, (0.0, 1.0)).all())
    for level in LEVELS if zero_one else ():
        found |= _guaranteed(tally, slates, level)
    return found


def _guaranteed(
    tally: Tally, slates: Slates, level: float
) -> dict[tuple[str, str, float], tuple[float, float]]:
    """Intervals that need rewards of 0 and 1."""
    found = {}
    for name in tally.terms:
        propensity = ESTIMATORS[name].propensity
        if name not in BOUNDED_ESTIMATORS or propensity is None:
            continue
        weight = slates.weight(propensity)
        for kind, bound in BOUNDS.items():
            found[name, kind, level] = bounded_interval(
                slates.reward, weight, slates.clusters, (0.0, 1.0), level, bound
            )
    if slates.k == 1 and tally.clusters == tally.n:
        clicks = int(slates.reward.sum())
        found["logged", "wilson", level] = intervals.wilson_interval(clicks, tally.n, level)
    return found


def _verdicts(tally: Tally, names: Sequence[str], rng: np.random.Generator) -> dict[str, bool]:
    spreads = sampled_spreads(tally, "delta", 0.95, 0, rng)
    found = conclude(names, tally, spreads, "delta", 0.95, estimated=False)
    return {estimate.estimator: estimate.conclusive for estimate in found}


def _coverage(
    world: CoverageWorld,
    estimator: str,
    interval: str,
    level: float,
    spans: np.ndarray,
    sure: np.ndarray,
) -> Coverage:
    truth = world_truth(world, estimator)
    low, high = spans.T
    # An interval without a number holds nothing.
    inside = (low <= truth) & (truth <= high)
    band = intervals.wilson_interval(int(inside.sum()), len(inside), 0.95)
    return Coverage(
        world=world.name,
        estimator=estimator,
        interval=interval,
        level=level,
        covered=float(inside.mean()),
        low=band[0],
        high=band[1],
        above=float((low > truth).mean()),
        width=float(np.median(high - low)),
        conclusive=float(sure.mean()),
        covered_conclusive=float(inside[sure].mean()) if sure.any() else float("nan"),
        logs=len(inside),
    )


def world_truth(world: CoverageWorld, estimator: str) -> float:
    """Return what an estimator should find: the target's value, or the logging policy's own."""
    return world.logging_truth if estimator == "logged" else world.truth
