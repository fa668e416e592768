"""Tables of the texts: what SFT wrote beside its floors, what PPO changed, and samples to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.report_parts import (
    Compared,
    Figure,
    Figures,
    HeldOutShop,
    Interval,
    Mark,
    Ppo,
    Reason,
    TaskFigure,
    Writing,
)
from experiments.report_words import DASH, decimals_for, number, percent, span

#: Figures of reasons: what they are called, and how many decimals; a share is in percent.
REASON_FIGURES: dict[str, tuple[str, int, bool]] = {
    "claim_precision": ("Claims that the item supports", 1, True),
    "hallucination_rate": ("Texts with an unsupported claim", 1, True),
    "veto_rate": ("Texts that must not be shown", 1, True),
    "profile_match": ("Texts that state what their reader likes", 1, True),
    "profile_match_control": ("… when asked for another reader", 1, True),
    "profile_match_lift": ("… the difference, paired", 1, True),
    "liked_recall": ("Liked aspects of the item that are stated", 1, True),
    "shopper_swap": ("Right claims change with the reader (−1 to 1)", 2, False),
    "item_swap": ("Claims belong to their item (−1 to 1)", 2, False),
    "claims": ("Claims in a text", 2, False),
    "words": ("Words in a text", 1, False),
    "distinct1": ("Distinct words", 1, True),
    "distinct2": ("Distinct word pairs", 1, True),
    "unique_share": ("Different texts", 1, True),
}
#: What the floors are called, in the order of their columns.
FLOORS = {
    "fixed": "One fixed sentence",
    "shuffled": "Another's text",
    "fallback": "Rule-based text",
    "rules": "Rule-based text",
}


@dataclass(frozen=True)
class Cell:
    """A figure as it is written, and its interval as it is written, "" without one."""

    text: str
    range: str = ""
    #: Whether the interval of a difference covers 0.
    open: bool = False


def written(name: str, figure: Figure | None, signed: bool = False) -> Cell:
    """Write a figure of a reason; differences of shares are in percentage points."""
    _, decimals, share = REASON_FIGURES[name]
    if figure is None or figure.value is None:
        return Cell(DASH)
    unit = "points" if signed or name == "profile_match_lift" else "%"
    scale, tail = (100, f"\u00a0{unit}") if share else (1, "")

    def one(value: float) -> str:
        return number(scale * value, decimals, signed)

    if figure.low is None or figure.high is None:
        return Cell(one(figure.value) + tail)
    ends = f"{one(figure.low)} to {one(figure.high)}{tail}"
    return Cell(one(figure.value) + tail, ends, figure.low <= 0 <= figure.high)


def writing_rows(writing: Writing) -> list[tuple[str, Cell, list[Cell]]]:
    """Return name, figure of the texts and figures of the floors, for those that are known."""
    return [
        (
            REASON_FIGURES[name][0],
            written(name, writing.figures[name]),
            [Cell(written(name, writing.floors[floor].get(name)).text) for floor in _kept(writing)],
        )
        for name in REASON_FIGURES
        if name in writing.figures
    ]


def writing_floors(writing: Writing) -> list[str]:
    """Return the headings of the floors' columns."""
    return [FLOORS[floor] for floor in _kept(writing)]


def _kept(writing: Writing) -> list[str]:
    return [floor for floor in FLOORS if floor in writing.floors]


def task_floors(task: Mapping[str, TaskFigure]) -> list[str]:
    """Return the floors that any figure of a task has."""
    return [floor for floor in FLOORS if any(floor in figure.floors for figure in task.values())]


def before_and_after(ppo: Ppo, compared: Compared | None) -> list[tuple[str, Cell, Cell, Cell]]:
    """Return the figures of PPO that are known: name, after SFT, after PPO, paired change."""
    found = compared or Compared()
    decimals = decimals_for([ppo.gain]) if ppo.gain else None
    kept = "" if ppo.distinct2_kept is None else f"{percent(ppo.distinct2_kept, 0)} kept"
    plain = {
        "claim_precision": (ppo.claim_precision_before, ppo.claim_precision_after),
        "veto_rate": (ppo.veto_rate_before, ppo.veto_rate_after),
        "claims": (ppo.claims_before, ppo.claims_after),
        "words": (ppo.words_before, ppo.words_after),
        "distinct2": (ppo.distinct2_before, ppo.distinct2_after),
        "unique_share": (ppo.unique_share_before, ppo.unique_share_after),
    }
    gain = Cell(DASH)
    if ppo.gain and ppo.gain.mean is not None:
        gain = _gain(ppo.gain, decimals)
    worth = [Cell(number(value, decimals)) for value in (ppo.reward_before, ppo.reward_after)]
    rows = [("Worth of a reason", worth[0], worth[1], gain)]
    for name, (label, *_) in REASON_FIGURES.items():
        before, after = plain.get(name, (None, None))
        sides = [
            written(name, side.get(name) or Figure(value=value))
            for side, value in ((found.sft, before), (found.ppo, after))
        ]
        change = written(name, found.paired.get(name), signed=True)
        if name == "distinct2" and kept:
            change = Cell(kept)
        rows.append((label, sides[0], sides[1], change))
    return [row for row in rows if {row[1].text, row[2].text} != {DASH}]


def _gain(gain: Interval, decimals: int | None) -> Cell:
    text = number(gain.mean, decimals, signed=True)
    if gain.low is None or gain.high is None:
        return Cell(text)
    return Cell(text, span(gain, decimals or 0), gain.low <= 0 <= gain.high)


def held_out_rows(shop: HeldOutShop) -> tuple[int, list[tuple[str, Figure | None, Figure | None]]]:
    """Return the decimals of the gains, and where, gain and share of the gain at home kept."""
    rows: list[tuple[str, Figure | None, Figure | None]] = [("The training shop", shop.home, None)]
    rows += [
        (f"Another shop: {name.replace('_', ' ')}", each.gain, each.kept)
        for name, each in shop.shops.items()
    ]
    rows.append(("Mean of the other shops", shop.held_out, shop.kept))
    if shop.other_words:
        rows.append(("… with the facts in other words", shop.other_words.held_out,
                     shop.other_words.kept))  # fmt: skip
    found = [row for row in rows if row[1] is not None]
    ends = [Interval(low=gain.low, high=gain.high) for _, gain, _ in found if gain]
    return decimals_for(ends), found


def verdict(reason: Reason) -> str:
    """Say in words what the checker makes of a text."""
    if reason.veto:
        return f"Vetoed: {reason.veto}"
    if not reason.claims:
        return "Claims nothing"
    if reason.match is None:
        return "True; the item has nothing that the reader likes"
    return "True, and what the reader likes" if reason.match else "True, but not what they like"


def marked_claims(text: str, marks: Sequence[Mark]) -> list[tuple[str, str]]:
    """Cut a text at its claims: pieces, each ``""``, ``"good"`` or ``"bad"``.

    A mark that does not lie in the text, or lies in one before it, is left out.
    """
    found, at = [], 0
    for mark in sorted(marks, key=lambda mark: mark.start):
        if not at <= mark.start < mark.end <= len(text):
            continue
        found.append((text[at : mark.start], ""))
        found.append((text[mark.start : mark.end], "good" if mark.supported else "bad"))
        at = mark.end
    found.append((text[at:], ""))
    return [(piece, kind) for piece, kind in found if piece]


def writing_sentence(writing: Writing | None) -> str:
    """Say what supervised training alone came to; "" where it was not measured."""
    figures: Figures = writing.figures if writing else {}
    precision, match = figures.get("claim_precision"), figures.get("profile_match")
    if precision is None or precision.value is None:
        return ""
    cell = written("claim_precision", precision)
    text = f"After supervised training alone, {cell.text} of the claims about unseen items are true"
    text += f" (95\u00a0% interval {cell.range})" if cell.range else ""
    control, lift = figures.get("profile_match_control"), figures.get("profile_match_lift")
    if match is None or control is None or lift is None:
        return text + "."
    own, other = (written("profile_match", one) for one in (match, control))
    difference = written("profile_match_lift", lift, signed=True)
    said = f"; {own.text} of the texts state what their reader likes, against {other.text} when"
    said += f" asked for another reader (difference {difference.range or difference.text})"
    return f"{text}{said}."
