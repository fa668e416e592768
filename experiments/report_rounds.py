"""What the rounds brought, round 1 beside the last one, and what looking ahead does."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from experiments.charts import Bar, Series, forest_plot, line_chart
from experiments.report_data import Run
from experiments.report_parts import Paired
from experiments.report_parts_order import Horizon, Rounds
from experiments.report_words import covers, decimals_for, number, span
from experiments.report_writing import Cell, before_and_after

#: What the parts of a round are called.
PARTS = {"gain": "both", "reasons": "its reasons", "ranker": "its ranker"}
#: What the rankers of the horizon are called.
VARIANTS = {"long": "trained for the session", "myopic_trained": "trained for the page"}
_NOTHING = Cell("–")


def round_chart(rounds: Rounds) -> Markup | None:
    """Draw what each round brought, and whose doing it was."""
    found = [
        (f"Round {step.round} − round {step.round - 1}: {said}", getattr(step, part))
        for step in rounds.steps
        for part, said in PARTS.items()
    ]
    if not found:
        return None
    decimals = decimals_for([pair for _, pair in found])
    bars = [
        Bar(label, pair.diff, pair.low, pair.high, _signed(pair, decimals)) for label, pair in found
    ]
    return forest_plot(
        bars,
        title="What each round brought in return per session, with 95\u00a0% intervals",
        reference=0.0,
        reference_label="no difference",
    )


def _signed(pair: Paired, decimals: int) -> str:
    return f"{number(pair.diff, decimals, signed=True)} ({span(pair, decimals)})"


def round_sentences(rounds: Rounds) -> list[str]:
    """Say of each round whether it helped, and how far its ranker moved the items."""
    found = []
    for step in rounds.steps:
        gain, decimals = step.gain, decimals_for([step.gain])
        if covers(gain.low, gain.high):
            text = f"Round {step.round} is not shown to change anything"
        else:
            text = f"Round {step.round} {'helped' if gain.diff > 0 else 'did harm'}"
        text += f": {_signed(gain, decimals)} over round {step.round - 1}"
        if step.placement is not None:
            text += (
                "; both rankers place the items alike to a rank correlation of "
                f"{number(step.placement, 2)}"
            )
        found.append(f"{text}.")
    return found


def ppo_rows(run: Run) -> list[tuple[str, list[Cell]]]:
    """Return each figure of PPO in round 1 and, where there is one, in the last round.

    A round has three cells: after SFT, after PPO, and the paired change.
    """
    first = _by_name(before_and_after(run.ppo, run.compared)) if run.ppo else {}
    if run.last_ppo is None:
        return list(first.items())
    last = _by_name(before_and_after(run.last_ppo, run.last_compared))
    gap = [_NOTHING] * 3
    return [(name, first.get(name, gap) + last.get(name, gap)) for name in first | last]


def _by_name(rows: Sequence[tuple[str, Cell, Cell, Cell]]) -> dict[str, list[Cell]]:
    return {name: list(cells) for name, *cells in rows}


def horizon_charts(horizon: Horizon) -> list[tuple[str, Markup, list[str]]]:
    """Draw the mechanism: how satiated and trusting shoppers are, how many stay, who is ahead."""
    pages = [float(page) for page in horizon.pages]

    def drawn(title: str, lines: list[Series]) -> tuple[str, Markup, list[str]]:
        return title, line_chart(lines, title=title, x_label="page"), [one.name for one in lines]

    def course(name: str, values: Sequence[float | None]) -> Series:
        met = [(page, value) for page, value in zip(pages, values) if value is not None]
        return Series(name, [page for page, _ in met], [value for _, value in met])

    sides = [(VARIANTS.get(name, name), one) for name, one in horizon.variants.items()]
    found = [
        drawn("Satiation with what is shown", [course(n, o.satiation) for n, o in sides]),
        drawn("Trust of those still there", [course(n, o.trust) for n, o in sides]),
        drawn("Share of sessions still there", [course(n, o.there) for n, o in sides]),
    ]
    if horizon.lead:
        ahead = horizon.lead
        name = "lead of the ranker trained for the session (band: 95\u00a0% interval)"
        line = Series(name, pages, ahead.value, ahead.low, ahead.high)
        found.append(drawn("Return so far, difference", [line]))
    return found
