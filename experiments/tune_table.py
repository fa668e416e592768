"""What a search came to: every trial against the config as it is, on the same sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.simulate import interval
from experiments.tune_trial import Trial


def make_table(trials: Sequence[Trial]) -> dict[str, Any]:
    """Return ``{"sessions", "search_sessions", "trials": [row, ...]}``, the best search first.

    A row has ``trial`` (0 is the config as it is), ``settings`` (what differs from it), ``search``
    (mean return on the search sessions, by which the best is chosen), ``return`` and ``difference``
    (mean with 95 % interval over the evaluation sessions; the difference is paired with trial 0),
    ``iterations``, ``seconds`` of training, and ``best``; one that diverged has ``failed`` in place
    of figures. Because the choice is made on other sessions, the best row's interval is not widened
    by choosing (no winner's curse); comparing all rows at once would need wider ones.
    """
    base = trials[0]
    unchanged = None if "failed" in base.result() else base.sessions()
    rows = []
    for trial in trials:
        found = trial.result()
        row = {"trial": trial.number, **found, "best": False}
        if "failed" not in found:
            served = trial.sessions()
            row["return"] = interval(served)
            if trial.number and unchanged is not None:
                row["difference"] = interval(served - unchanged)
        rows.append(row)
    rows.sort(key=lambda row: -row.get("search", float("-inf")))
    rows[0]["best"] = "failed" not in rows[0]
    settings = base.config.simulate
    return {
        "sessions": settings.sessions, "search_sessions": settings.search_sessions, "trials": rows,
    }  # fmt: skip


def as_text(table: dict[str, Any]) -> str:
    """Return the table as lines for a terminal, the best first."""
    head = ("trial", "search", "return (95 %)", "minus the config (95 %)", "seconds", "settings")
    lines = [head, *(_cells(row) for row in table["trials"])]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines
    )
    return (
        f"{text}\nsearch: mean return of {table['search_sessions']:,} training sessions, by which "
        f"the best is chosen; return: {table['sessions']:,} evaluation sessions, differences "
        "paired.\n"
    )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    settings = " ".join(f"{name.removeprefix('rank.')}={v}" for name, v in row["settings"].items())
    name = f"{row['trial']}{' *' if row['best'] else ''}"
    if "failed" in row:
        return (name, "diverged", "", "", "", settings)
    return (
        name, f"{row['search']:.4f}", _figure(row["return"]),
        _figure(row["difference"], "+") if "difference" in row else "-",
        f"{row['seconds']:.0f}", settings or "as in the config",
    )  # fmt: skip


def _figure(value: dict[str, float], sign: str = "") -> str:
    mean, low, high = (format(value[name], f"{sign}.4f") for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"
