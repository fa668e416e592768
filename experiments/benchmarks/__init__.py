"""Measured figures, one file a subject; `shelftalk bench SUBJECT`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

#: Each is a module here with ``measure(repeats) -> list of rows``.
SUBJECTS = (
    "simulator", "rewards", "reasoner", "adapters", "metrics", "ope", "ranker", "serve", "install",
)  # fmt: skip


def run_subject(subject: str, repeats: int) -> list[dict[str, Any]]:
    """Return rows ``{name, metric, value, unit, config, min, max}``; value is the median."""
    rows: list[dict[str, Any]] = import_module(f"experiments.benchmarks.{subject}").measure(repeats)
    return rows
