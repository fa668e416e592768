"""The training curve: one row of figures for each cycle, out of a trainer's log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from policies.reasoner.reward import PART

Row = dict[str, float]

#: Log key of TRL -> name in the curve.
FIGURES = {
    "reward": "reward",
    "reward_std": "reward_std",
    "reward_range": "reward_range",
    "vetoed": "vetoed",
    "distinct2": "distinct2",
    "unique_share": "unique_share",
    "kl": "kl",
    "kl_sequence": "kl_sequence",
    "kl_coefficient": "kl_coefficient",
    "entropy": "entropy",
    "vf_loss": "vf_loss",
    "explained_variance": "explained_variance",
    "clip_ratio/region_mean": "clip_fraction",
    "completions/mean_length": "length",
    "grad_norm": "grad_norm",
    "held_reward": "held_reward",
    "held_reward_se": "held_reward_se",
    "held_vetoed": "held_vetoed",
    "seconds/generate": "seconds_generate",
    "seconds/reward": "seconds_reward",
    "seconds/logprobs": "seconds_logprobs",
    "seconds/reference": "seconds_reference",
    "seconds/critic": "seconds_critic",
}


def _figures(line: dict[str, Any], updates: int) -> Row:
    """Return what the curve shows of one line of the log."""
    names = FIGURES | {key: key.replace(PART, "part_", 1) for key in line if key.startswith(PART)}
    row = {
        ours: float(line[key])
        for key, ours in names.items()
        if line.get(key) is not None and np.isfinite(line[key])
    }
    if "reward" in line:
        row["seconds"] = line["step_time"] * updates
    return row


def curve_rows(history: Sequence[dict[str, Any]], updates: int) -> list[Row]:
    """Return a row for each cycle of a log, ``cycle`` counting from 1, in their order.

    Row 0, where there is one, is the policy before training, on held-out prompts.
    """
    rows: dict[int, Row] = {}
    for line in history:
        figures = _figures(line, updates)
        if "reward" in figures or "held_reward" in figures:
            cycle = line["step"] // updates
            rows[cycle] = {"cycle": float(cycle), **rows.get(cycle, {}), **figures}
    return [rows[cycle] for cycle in sorted(rows)]


def summary(curve: Sequence[Row], seconds: float) -> dict[str, Any]:
    """Return the figures of a training (rows from cycle 1) that are worth a glance."""
    last = curve[-1]
    parts = {
        key.removeprefix("seconds_"): float(np.mean([row.get(key, 0.0) for row in curve]))
        for key in last
        if key.startswith("seconds_")
    }
    total = float(np.mean([row["seconds"] for row in curve]))
    glance = ("kl", "kl_sequence", "kl_coefficient", "entropy", "length", "vetoed", "distinct2")
    return {
        "cycles": len(curve),
        "seconds": seconds,
        "reward_first": curve[0]["reward"],
        "reward_last": float(np.mean([row["reward"] for row in curve[-3:]])),
        **{name: last.get(name) for name in glance},
        "seconds_per_cycle": {"total": total, **parts, "update": total - sum(parts.values())},
    }
