"""Speed of off-policy evaluation on a made-up log."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from experiments.benchmarks.timing import rate
from experiments.ope.evaluate import evaluate

_SLATES, _SLOTS = 200_000, 5


def measure(repeats: int) -> list[dict[str, Any]]:
    """A million rows: random cascades of probabilities, sessions of four slates."""
    rng = np.random.default_rng(0)
    stage, target = (rng.uniform(0.05, 0.3, size=(_SLATES, _SLOTS)) for _ in range(2))
    cascade, wanted = stage.cumprod(axis=1), target.cumprod(axis=1)
    frame = pd.DataFrame(
        {
            "session_id": np.repeat(np.arange(_SLATES) // 4, _SLOTS),
            "slate_id": np.repeat(np.arange(_SLATES), _SLOTS),
            "position": np.tile(np.arange(_SLOTS), _SLATES),
            "item_id": 0,
            "reward": rng.random(_SLATES * _SLOTS),
            "pscore": np.repeat(cascade[:, -1], _SLOTS),
            "pscore_cascade": cascade.ravel(),
            "pscore_item_position": stage.ravel(),
            "eval_pscore": np.repeat(wanted[:, -1], _SLOTS),
            "eval_pscore_cascade": wanted.ravel(),
            "eval_pscore_item_position": target.ravel(),
        }
    )

    def estimate(name: str) -> dict[str, Any]:
        def work() -> int:
            evaluate(frame, [name], rng=np.random.default_rng(0), resamples=100)
            return len(frame)

        what = f"{len(frame):,} rows, 100 resamples"
        return rate(name, "rows_per_second", "rows/s", what, work, repeats)

    return [estimate(name) for name in ("SIPS", "RIPS", "SNRIPS")]
