"""A bootstrap that fits the reward model again on each resample of sessions.

An interval from fixed predictions leaves out that another log would have given another model: for
DM that is nearly all of its error, and its usual interval is many times too narrow. Here each
resample draws sessions with replacement, the caller's function fits and predicts anew, and the
estimate is made from that. The model's *bias* stays uncounted: no resampling of one log can see it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from envs.progress import Progress, silent
from experiments.ope.bootstrap import bootstrap_error, percentile_interval
from experiments.ope.evaluate import Estimate, evaluate
from experiments.ope.intervals import point
from experiments.ope.registry import ESTIMATORS
from experiments.ope.slates import Slates

#: Adds the model columns to a log. Copies of a session share their ``session_id``: a fold must
#: hold all of them, or the model is tested on what it was trained on.
Refit = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


def evaluate_refitting(
    frame: pd.DataFrame,
    estimators: Sequence[str],
    refit: Refit,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 50,
    progress: Progress = silent,
) -> list[Estimate]:
    """Estimate with percentile intervals that count the fitting of the reward model.

    Args:
        frame: a feedback log with ``session_id``, without model columns.
        estimators: names from ``ESTIMATORS``.
        refit: returns its log with ``q_hat`` and ``v_hat``, cross-fitted by session.
        rng: source of the draws and of the fits.
        level: the intervals' level, in (0, 1).
        resamples: number of fits, one each.
        progress: called after each fit.

    Returns:
        The estimates on the log itself, with intervals and errors of the resamples.
    """
    found = evaluate(refit(frame, rng), estimators, rng=rng, interval="delta", level=level)
    drawn = np.empty((resamples, len(estimators)))
    for resample in range(resamples):
        slates = Slates(refit(resample_sessions(frame, rng), rng))
        drawn[resample] = [point(ESTIMATORS[name].terms(slates)) for name in estimators]
        progress(resample + 1, resamples, {})
    return [
        replace(
            estimate,
            low=percentile_interval(column, level)[0],
            high=percentile_interval(column, level)[1],
            se=bootstrap_error(column),
            interval="bootstrap with refitting",
            notes=["the reward model was fitted again on each resample; its bias is not counted"],
        )
        for estimate, column in zip(found, drawn.T, strict=True)
    ]


def resample_sessions(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Draw as many sessions as there are, with replacement; copies get slates of their own."""
    codes, _ = pd.factorize(frame["session_id"])
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(codes.max() + 2))
    drawn = rng.integers(0, codes.max() + 1, size=codes.max() + 1)
    rows = np.concatenate([order[starts[one] : starts[one + 1]] for one in drawn])
    copies = np.repeat(np.arange(len(drawn)), np.diff(starts)[drawn])
    chosen = frame.iloc[rows].reset_index(drop=True)
    slate, _ = pd.factorize(chosen["slate_id"])
    return chosen.assign(slate_id=copies * (slate.max() + 1) + slate)
