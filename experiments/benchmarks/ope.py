"""Off-policy evaluation: seconds by estimator and rows, and the coverage of every interval."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import numpy as np
import pandas as pd

from envs.assemble import default_world
from envs.progress import Progress, silent
from experiments.benchmarks import timing
from experiments.config import OpeConfig
from experiments.ope.coverage import Coverage, study
from experiments.ope.coverage_shop import ShopWorld
from experiments.ope.coverage_worlds import CoverageWorld, made_up_worlds
from experiments.ope.evaluate import evaluate

_SLOTS, _RESAMPLES = 5, 100
_ROWS = (100_000, 1_000_000, 10_000_000)
_ESTIMATORS = ("SIPS", "IIPS", "RIPS", "SNSIPS", "SNIIPS", "SNRIPS", "DR", "CascadeDR")
#: Above so many rows these two are asked, once.
_MANY, _FEW = 1_000_000, ("RIPS", "CascadeDR")
#: A process that evaluates a log of so many rows, and says what it held at most, in KiB.
_HOLDER = """
import resource, sys
from experiments.benchmarks.ope import evaluated, made_up_log
frame = made_up_log(int(sys.argv[1]))
for name in sys.argv[2:]:
    evaluated(frame, name)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
#: Sessions of a log of the shop: those of the pipeline's own log, and a sixth of them.
_SHOP_SESSIONS = (1_000, OpeConfig().sessions)
#: Logs of the shop, which are slow to make.
_SHOP_LOGS = 400


def measure(repeats: int) -> list[dict[str, Any]]:
    """Seconds from a log in memory to an estimate with its interval, and the memory of the most.

    ``seconds`` are those of a clock, ``cpu_seconds`` those of all cores together.
    """
    found = []
    for rows in _ROWS:
        frame = made_up_log(rows)
        for name in _FEW if rows > _MANY else _ESTIMATORS:
            found += _seconds(frame, name, 1 if rows > _MANY else repeats)
    return [*found, _memory(_ROWS[-1])]


def measure_coverage(logs: int = 1_000, progress: Progress = silent) -> list[dict[str, Any]]:
    """Return actual coverage at nominal 90 and 95 % on made-up worlds and on the shop's logs.

    A row's value is the share of logs whose interval held the truth, min and max are Wilson's 95 %
    interval of that share.
    """
    return [
        row
        for number, (world, most) in enumerate(coverage_worlds())
        for row in coverage_rows(number, world, min(logs, most), progress)
    ]


def coverage_worlds() -> list[tuple[CoverageWorld, int]]:
    """Return the worlds of the study, with the most logs of each that it draws."""
    shop = default_world()
    made_up: list[tuple[CoverageWorld, int]] = [(world, sys.maxsize) for world in made_up_worlds()]
    return [*made_up, *((ShopWorld(shop, sessions), _SHOP_LOGS) for sessions in _SHOP_SESSIONS)]


def coverage_rows(
    number: int, world: CoverageWorld, logs: int, progress: Progress = silent
) -> list[dict[str, Any]]:
    """Return the rows of one world; ``number`` seeds it, so it can be studied by itself."""
    rng = np.random.default_rng((0, number))
    return [_row(one) for one in study(world, logs, rng, progress=progress)]


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


def evaluated(frame: pd.DataFrame, name: str) -> None:
    """Estimate with an interval, as it is measured here."""
    rng = np.random.default_rng(0)
    evaluate(frame, [name], rng=rng, interval="bootstrap", resamples=_RESAMPLES)


def _seconds(frame: pd.DataFrame, name: str, repeats: int) -> list[dict[str, Any]]:
    clocks = {"seconds": time.perf_counter, "cpu_seconds": time.process_time}
    found: dict[str, list[float]] = {metric: [] for metric in clocks}
    for _ in range(repeats):
        started = {metric: clock() for metric, clock in clocks.items()}
        evaluated(frame, name)
        for metric, clock in clocks.items():
            found[metric].append(clock() - started[metric])
    config = _config(len(frame))
    return [timing.row(name, metric, "s", config, values) for metric, values in found.items()]


def _memory(rows: int) -> dict[str, Any]:
    """The most memory of a process that makes a log of ``rows`` and asks `_FEW` of it."""
    command = [sys.executable, "-c", _HOLDER, str(rows), *_FEW]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    peak = int(done.stdout) / 1024
    return timing.row(" and ".join(_FEW), "peak_memory", "MiB", _config(rows), [peak])


def _config(rows: int) -> str:
    return f"{rows:,} rows, {_RESAMPLES} resamples by session"


def _row(one: Coverage) -> dict[str, Any]:
    return {
        "name": f"{one.world}: {one.estimator}, {one.interval}", "metric": "coverage",
        "unit": "share of logs", "config": f"nominal {one.level:.0%}, {one.logs} logs",
        "value": one.covered, "min": one.low, "max": one.high, "width": one.width,
        "world": one.world, "estimator": one.estimator, "interval": one.interval,
        "level": one.level, "above": one.above, "conclusive": one.conclusive,
        "covered_conclusive": one.covered_conclusive if one.conclusive > 0 else None,
    }  # fmt: skip
