"""Progress as a plain callback, so that no room knows how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping

#: Called as ``report(done, total, figures)``; ``figures`` are numbers worth a glance, by name.
Progress = Callable[[int, int, Mapping[str, float]], None]


def silent(done: int, total: int, figures: Mapping[str, float]) -> None:
    """Show nothing."""
