"""Off-policy evaluation: seconds by estimator and rows, and the coverage of every interval."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import pandas as pd

from envs.progress import Progress, silent
from experiments.ope.coverage import Coverage, study
from experiments.ope.coverage_shop import shop_world
from experiments.ope.coverage_worlds import CoverageWorld, made_up_worlds
from experiments.ope.evaluate import evaluate

_SLOTS, _RESAMPLES = 5, 100
_ROWS = (100_000, 1_000_000)
_ESTIMATORS = ("SIPS", "IIPS", "RIPS", "SNSIPS", "SNIIPS", "SNRIPS", "DR", "CascadeDR")
#: Sessions of the shop, which are slow to make, and those of one log.
_SHOP_POPULATION, _SHOP_SESSIONS = 60_000, 1_000
#: Logs of the shop, whose studies are slow as well.
_SHOP_LOGS = 400


def measure(repeats: int) -> list[dict[str, Any]]:
    """Seconds from a log in memory to an estimate with its interval and diagnostics."""
    return [_seconds(made_up_log(rows), name, repeats) for rows in _ROWS for name in _ESTIMATORS]


def measure_coverage(logs: int = 1_000, progress: Progress = silent) -> list[dict[str, Any]]:
    """Return actual coverage at nominal 90 and 95 % on made-up worlds and on the shop's logs.

    A row's value is the share of logs whose interval held the truth, min and max are Wilson's 95 %
    interval of that share.
    """
    rng = np.random.default_rng(0)
    shop = shop_world(_SHOP_POPULATION, _SHOP_SESSIONS, progress=progress)
    sizes: list[tuple[CoverageWorld, int]] = [(world, logs) for world in made_up_worlds()]
    return [
        _row(one)
        for world, count in [*sizes, (shop, min(logs, _SHOP_LOGS))]
        for one in study(world, count, rng, progress=progress)
    ]


def made_up_log(rows: int) -> pd.DataFrame:
    """Return slates of 5 in sessions of four, with random cascades of probabilities and a model."""
    rng = np.random.default_rng(0)
    slates = rows // _SLOTS
    stage = rng.uniform(0.05, 0.3, size=(slates, _SLOTS))
    target = stage * rng.uniform(0.7, 1.3, size=stage.shape)
    cascade, wanted = stage.cumprod(axis=1), target.cumprod(axis=1)
    return pd.DataFrame(
        {
            "session_id": np.repeat(np.arange(slates) // 4, _SLOTS),
            "slate_id": np.repeat(np.arange(slates), _SLOTS),
            "position": np.tile(np.arange(_SLOTS), slates),
            "item_id": 0,
            "reward": rng.random(slates * _SLOTS),
            "pscore": np.repeat(cascade[:, -1], _SLOTS),
            "pscore_cascade": cascade.ravel(),
            "pscore_item_position": stage.ravel(),
            "eval_pscore": np.repeat(wanted[:, -1], _SLOTS),
            "eval_pscore_cascade": wanted.ravel(),
            "eval_pscore_item_position": target.ravel(),
            "q_hat": 0.5,
            "v_hat": 0.5,
        }
    )


def _seconds(frame: pd.DataFrame, name: str, repeats: int) -> dict[str, Any]:
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        evaluate(frame, [name], rng=np.random.default_rng(0), resamples=_RESAMPLES)
        found.append(time.perf_counter() - started)
    return {
        "name": name, "metric": "seconds", "unit": "s",
        "config": f"{len(frame):,} rows, {_RESAMPLES} resamples by session",
        "value": statistics.median(found), "min": min(found), "max": max(found),
    }  # fmt: skip


def _row(one: Coverage) -> dict[str, Any]:
    return {
        "name": f"{one.world}: {one.estimator}, {one.interval}", "metric": "coverage",
        "unit": "share of logs", "config": f"nominal {one.level:.0%}, {one.logs} logs",
        "value": one.covered, "min": one.low, "max": one.high, "width": one.width,
        "world": one.world, "estimator": one.estimator, "interval": one.interval,
        "level": one.level,
    }  # fmt: skip
