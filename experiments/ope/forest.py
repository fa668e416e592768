"""The forest plot of a comparison: each policy's value, the logging policy as the reference."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from envs.errors import UserError
from envs.files import atomic_path
from experiments.ope.compare import LOGGED, Comparison, Contestant

_SUFFIXES = (".svg", ".png", ".pdf")
#: Colour-blind safe (Okabe and Ito): a policy, and one whose overlap allows no conclusion.
_SURE, _UNSURE = "#0072B2", "#999999"


def check_forest_path(path: Path) -> None:
    """Raise a UserError where ``path`` has no suffix of a picture."""
    if path.suffix.lower() not in _SUFFIXES:
        raise UserError(
            f"{path}: a forest plot is written as {', '.join(_SUFFIXES)}; name the file so."
        )


def write_forest(comparison: Comparison, path: Path) -> None:
    """Draw values with their intervals (thick) and simultaneous intervals (thin) to ``path``.

    Policies without enough overlap are grey. The line is the logging policy's value.

    Raises:
        UserError: ``path`` has no suffix of a picture.
    """
    check_forest_path(path)
    logged = next(one for one in comparison.policies if one.target == LOGGED)
    others = [one for one in comparison.policies if one.target != LOGGED]
    rows = [*sorted(others, key=lambda one: one.estimate.value), logged]
    figure = Figure(figsize=(7, 1.2 + 0.45 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(logged.estimate.value, color="black", linewidth=0.8, linestyle="--", zorder=0)
    for place, one in enumerate(rows):
        colour = _SURE if one.estimate.conclusive else _UNSURE
        axes.plot([one.joint_low, one.joint_high], [place, place], color=colour, linewidth=1)
        inner = [one.estimate.low, one.estimate.high]
        axes.plot(inner, [place, place], color=colour, linewidth=4, alpha=0.6)
        axes.plot(one.estimate.value, place, "o", color=colour, markersize=5)
    axes.set_yticks(range(len(rows)), [_label(one) for one in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(
        f"value per slate, {comparison.estimator}; {comparison.level:.0%} intervals: thick one by "
        "one, thin for all at once"
    )
    axes.spines[["top", "right"]].set_visible(False)
    # A fixed salt and no date: the same comparison is the same file.
    with rc_context({"svg.hashsalt": "shelftalk"}), atomic_path(path) as temporary:
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
        figure.savefig(temporary, metadata=metadata, dpi=150)


def _label(one: Contestant) -> str:
    name = "logging policy" if one.target == LOGGED else one.target
    return name if one.estimate.conclusive else f"{name} (not enough overlap)"
