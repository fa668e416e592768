"""Estimates and comparisons as tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from experiments.ope.compare import Comparison
from experiments.ope.diagnostics import NO_VERDICT
from experiments.ope.evaluate import Estimate


def print_estimates(found: Sequence[Estimate], title: str) -> None:
    """Print a row an estimator, then what speaks against each, then the verdict."""
    table = Table(
        title=f"{title}: value per slate, {found[0].level:.0%} intervals ({found[0].interval})"
    )
    for column in ("estimator", "value", "low", "high", "ESS", "largest weight", "n"):
        table.add_column(column, justify="left" if column == "estimator" else "right")
    for e in found:
        per_session = " (per session)" if e.unit == "session" else ""
        table.add_row(
            e.estimator + per_session, f"{e.value:.5f}", f"{e.low:.5f}", f"{e.high:.5f}",
            f"{e.ess:.0f}", f"{e.max_weight:.1f}", str(e.n),
        )  # fmt: skip
    Console().print(table)
    said: dict[str, list[str]] = {}
    for e in found:
        for line in dict.fromkeys((*e.warnings, *e.notes)):
            said.setdefault(line, []).append(e.estimator)
    for line, estimators in said.items():
        print(f"{', '.join(estimators)}: {line}")
    against = [e.estimator for e in found if not e.conclusive]
    verdict = f"{NO_VERDICT} by {', '.join(against)}" if against else "this log can answer"
    print(f"verdict: {verdict}")


def print_comparison(found: Comparison, title: str) -> None:
    """Print a row a policy, then each pair with its verdict."""
    table = Table(title=f"{title}: {found.estimator}, {found.level:.0%} intervals")
    for column in ("policy", "value", "low", "high", "low of all", "high of all", "ESS"):
        table.add_column(column, justify="left" if column == "policy" else "right")
    for one in found.policies:
        e = one.estimate
        table.add_row(
            one.target, f"{e.value:.5f}", f"{e.low:.5f}", f"{e.high:.5f}",
            f"{one.joint_low:.5f}", f"{one.joint_high:.5f}", f"{e.ess:.0f}",
        )  # fmt: skip
    Console().print(table)
    for pair in found.pairs:
        print(
            f"{pair.a} - {pair.b}: {pair.value:+.5f} ({pair.low:+.5f} to {pair.high:+.5f}); "
            f"of all pairs at once ({pair.joint_low:+.5f} to {pair.joint_high:+.5f}): "
            f"{pair.verdict}"
        )
