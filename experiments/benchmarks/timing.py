"""Rows of measured figures, and the repeated timing of one function."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


def rate(
    name: str, metric: str, unit: str, config: str, work: Callable[[], int], repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:  # fmt: skip
    """Return the row of ``work``'s units (its return value) per second of ``clock``.

    One run before the first is not counted: it pays for caches and imports.
    """
    work()
    rates = []
    for _ in range(repeats):
        started = clock()
        done = work()
        rates.append(done / (clock() - started))
    return row(name, metric, unit, config, rates)


def row(name: str, metric: str, unit: str, config: str, values: list[float]) -> dict[str, Any]:
    """Return the row of repeated measurements of one thing: their median, least and largest."""
    return {
        "name": name, "metric": metric, "unit": unit, "config": config,
        "value": statistics.median(values), "min": min(values), "max": max(values),
    }  # fmt: skip
