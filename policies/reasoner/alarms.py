"""Alarms: what a training that goes wrong looks like in its curve.

Each alarm is a pure function of the rows of the curve so far, so that a resumed training raises
the same ones as a whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from envs.settings import Settings

Row = dict[str, float]

#: Cycles at the start, and at the present end, whose mean an alarm compares.
WINDOW = 3


class Limit(Settings):
    """How far a figure may go, and what happens beyond."""

    limit: float
    """The figure at which the alarm is raised."""
    action: Literal["warn", "stop"] = "warn"
    """`warn` trains on and tells; `stop` ends the training at this cycle."""


class AlarmsConfig(Settings):
    """What raises an alarm in a training; null switches one off."""

    distinct2: Limit | None = Limit(limit=0.6)
    """Share of the first cycles' distinct-2 (different word pairs of all) that must be left."""
    unique_share: Limit | None = Limit(limit=0.5)
    """Share of the first cycles' share of different completions that must be left."""
    entropy: Limit | None = Limit(limit=0.3)
    """Share of the first cycles' entropy per token that must be left."""
    kl: Limit | None = Limit(limit=12.0)
    """Most nats per completion that the policy may be away from SFT (ppo only)."""
    vetoed: Limit | None = Limit(limit=0.1)
    """How much the share of vetoed completions may rise over that of the first cycles."""
    held_reward: Limit | None = Limit(limit=3.0)
    """How many standard errors the held-out reward may fall below its best while the reward of
    the training prompts is above what it was then (with held-out prompts only)."""
    constant_cycles: int | None = Field(5, ge=1)
    """Cycles in a row in which every completion got the same reward, after which training ends in
    an error: nothing can be learned from such a reward."""


@dataclass(frozen=True)
class Alarm:
    """One limit crossed: ``value`` met ``limit`` in ``cycle``."""

    cycle: int
    name: str
    value: float
    limit: float
    action: str


def _window(rows: Sequence[Row], name: str, where: slice) -> float | None:
    """Mean of a figure over some rows; None where one of them lacks it."""
    values = [row.get(name) for row in rows[where]]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _ends(rows: Sequence[Row], name: str) -> tuple[float, float] | None:
    """Means of a figure over the first and the last cycles, once the two do not overlap."""
    if len(rows) < 2 * WINDOW:
        return None
    first = _window(rows, name, slice(WINDOW))
    last = _window(rows, name, slice(-WINDOW, None))
    return None if first is None or last is None else (first, last)


def left_of(rows: Sequence[Row], name: str) -> float | None:
    """Return the last cycles' mean of a figure as a share of the first cycles'."""
    ends = _ends(rows, name)
    return None if ends is None or ends[0] <= 0 else ends[1] / ends[0]


def risen(rows: Sequence[Row], name: str) -> float | None:
    """Return the last cycles' mean of a figure less the first cycles'."""
    ends = _ends(rows, name)
    return None if ends is None else ends[1] - ends[0]


def held_out_fall(rows: Sequence[Row]) -> float | None:
    """Return how far the held-out reward is below its best, in standard errors of the difference.

    None unless this cycle measured it, and 0 unless the training reward is above what it was at
    that best: only then do the two disagree. The errors are those of independent samples, which
    is more than the truth, because every measurement draws the same random numbers.
    """
    measured = [i for i, row in enumerate(rows) if "held_reward" in row]
    if len(measured) < 2 or measured[-1] != len(rows) - 1:
        return None
    best = max(measured, key=lambda i: rows[i]["held_reward"])
    then = _window(rows, "reward", slice(max(0, best - WINDOW + 1), best + 1))
    now = _window(rows, "reward", slice(-WINDOW, None))
    if then is None or now is None or now <= then:
        return 0.0
    fall = rows[best]["held_reward"] - rows[-1]["held_reward"]
    error = float(np.hypot(rows[best]["held_reward_se"], rows[-1]["held_reward_se"]))
    return fall / max(error, 1e-12)


def last_kl(rows: Sequence[Row]) -> float | None:
    """Return the mean nats per completion of the last cycles."""
    return _window(rows, "kl_sequence", slice(-WINDOW, None))


#: Name -> value of the rows so far, and whether low values are the bad ones.
_WATCHED: dict[str, tuple[Callable[[Sequence[Row]], float | None], bool]] = {
    "distinct2": (lambda rows: left_of(rows, "distinct2"), True),
    "unique_share": (lambda rows: left_of(rows, "unique_share"), True),
    "entropy": (lambda rows: left_of(rows, "entropy"), True),
    "kl": (last_kl, False),
    "vetoed": (lambda rows: risen(rows, "vetoed"), False),
    "held_reward": (held_out_fall, False),
}


def _beyond(rows: Sequence[Row], config: AlarmsConfig) -> dict[str, Alarm]:
    """Return every limit that the last row is beyond, by name."""
    found = {}
    for name, (measure, low_is_bad) in _WATCHED.items():
        allowed: Limit | None = getattr(config, name)
        value = measure(rows) if allowed is not None and rows else None
        if allowed is None or value is None:
            continue
        if value < allowed.limit if low_is_bad else value > allowed.limit:
            cycle = round(rows[-1]["cycle"])
            found[name] = Alarm(cycle, name, value, allowed.limit, allowed.action)
    return found


def new_alarms(rows: Sequence[Row], config: AlarmsConfig) -> list[Alarm]:
    """Return the alarms that the last row raises and the row before it did not."""
    before = _beyond(rows[:-1], config)
    return [alarm for name, alarm in _beyond(rows, config).items() if name not in before]


def all_alarms(rows: Sequence[Row], config: AlarmsConfig) -> list[dict[str, Any]]:
    """Return every alarm of a curve in its order, ``{cycle, name, value, limit, action}`` each."""
    ends = range(1, len(rows) + 1)
    return [asdict(alarm) for end in ends for alarm in new_alarms(rows[:end], config)]


def constant_for(rows: Sequence[Row]) -> int:
    """Return for how many cycles, up to the last, all completions got one and the same reward."""
    count = 0
    for row in reversed(rows):
        if row.get("reward_range") != 0:
            break
        count += 1
    return count
