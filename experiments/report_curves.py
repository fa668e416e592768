"""Learning curves of a run as charts, whatever columns they hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from experiments.charts import Series, line_chart
from experiments.report_data import Run

#: The x axis of a curve, by the column that counts its progress.
PROGRESS = {
    "step": "updates",
    "env_steps": "steps in the shop",
    "cycle": "cycles",
    "iteration": "iterations",
}
#: Curves that are shown first: stage, title, the columns that share the chart and their names.
MAIN_CURVES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("sft", "SFT loss", {"loss": "training", "held_loss": "held out"}),
    ("ppo", "PPO reward", {"reward": "reward", "held_reward": "on held-out prompts"}),
    ("ppo", "PPO distance from SFT (KL, nats a token)", {"kl": "KL"}),
    (
        "rank",
        "Ranker return",
        {
            "return_sampled": "sampled in training",
            "return_explored": "sampled, same sessions",
            "return_topk": "top-k",
        },
    ),
)


def curves(run: Run) -> tuple[list[tuple[str, Markup, list[str]]], list[Any]]:
    """Return the main learning curves and then all others: title, chart, names of the lines."""
    main, more = [], []
    for first, title, columns in MAIN_CURVES:
        for stage in (stage for stage in run.curves if _parts(stage)[0] == first):
            for phase, rows in run.curves[stage].items():
                name = f"{title}{_parts(stage)[1]}{phase and f', {phase}'}"
                main.append(_curve(name, rows, columns))
    shown = {column for _, _, columns in MAIN_CURVES for column in columns} | PROGRESS.keys()
    for stage, phases in run.curves.items():
        for phase, rows in phases.items():
            for column in dict.fromkeys(key for row in rows for key in row):
                hidden = column in shown or column.startswith("seconds")
                hidden = hidden or column in ("reward_std", "held_reward_se")
                if not hidden:
                    first, later = _parts(stage)
                    who = {"rank": "Ranker"}.get(first, first.upper())
                    title = f"{who} {column.replace('_', ' ')}{later}{phase and f', {phase}'}"
                    more.append(_curve(title, rows, {column: column}))
    return [one for one in main if one], [one for one in more if one]


def _parts(stage: str) -> tuple[str, str]:
    """Return a stage's name in round 1, and which other round it is of: ``", round 2"``."""
    name = stage.rstrip("0123456789")
    return name, f", round {stage[len(name) :]}" if name != stage else ""


def _curve(
    title: str, rows: Sequence[dict[str, Any]], columns: dict[str, str]
) -> tuple[str, Markup, list[str]] | None:
    axis = next((name for name in PROGRESS if any(name in row for row in rows)), None)
    lines = []
    for column, name in columns.items():
        points = [
            (_finite(row.get(axis)) if axis else float(index), _finite(row.get(column)), row)
            for index, row in enumerate(rows)
        ]
        kept = [(x, y, row) for x, y, row in points if x is not None and y is not None]
        if not kept:
            continue
        spreads = [_finite(row.get(f"{column}_std")) for _, _, row in kept]
        band = [one for one in spreads if one is not None]
        x, y = [point[0] for point in kept], [point[1] for point in kept]
        if len(band) == len(y):
            low = [mean - spread for mean, spread in zip(y, band)]
            high = [mean + spread for mean, spread in zip(y, band)]
            lines.append(Series(f"{name} (band: ± 1 standard deviation)", x, y, low, high))
        else:
            lines.append(Series(name, x, y))
    if not lines:
        return None
    chart = line_chart(lines, title=title, x_label=PROGRESS[axis] if axis else "rows")
    return title, chart, [line.name for line in lines]


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def held_out_losses(run: Run) -> list[tuple[str, Markup, list[str]]]:
    """Return a chart of the held-out loss of each phase of the supervised training."""
    found = [
        _curve(f"Held-out loss, nats a token{phase and f': {phase}'}", rows, {"held_loss": "loss"})
        for phase, rows in run.curves.get("sft", {}).items()
    ]
    return [one for one in found if one]
