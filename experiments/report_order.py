"""Why items stand where they stand: bars of the shelves, and whether reasons say so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.report_parts import Card, Figure
from experiments.report_parts_order import Naming, Order
from experiments.report_words import DASH, PERCENT, covers, number, percent, policy_name
from experiments.report_writing import Cell

#: What the groups of features are called, beside the six scores.
GROUPS = {"reason": "its reason", "rest": "other", "variety": "variety"}
#: The shelf that the finding is about: the first that was measured.
_HEADLINES = ("ranker+ppo", "ranker+sft", "similarity+ppo", "similarity+sft")
#: In percent of the track: a shorter bar could not be seen; one shorter yet is rounding.
_SHORTEST, _NOTHING = 1.0, 0.05


@dataclass(frozen=True)
class WhyBar:
    """What one group of features did for an item: a bar from the middle to one side."""

    name: str
    text: str
    #: Where the bar starts and how long it is, in percent of the track.
    start: float
    length: float
    lifts: bool
    #: Whether the reason names the group.
    named: bool
    #: The similarity score behind it, where the group is one.
    score: float | None


def why_bars(cards: Sequence[Card]) -> list[list[WhyBar]]:
    """Return the bars of each card of a shelf, all to one scale: the longest fills its half."""
    sizes = [abs(v) for card in cards for v in card.contributions.values() if math.isfinite(v)]
    scale = max(sizes, default=0.0) or 1.0
    return [[_bar(card, name, scale) for name in card.contributions] for card in cards]


def _bar(card: Card, name: str, scale: float) -> WhyBar:
    value = card.contributions[name]
    length = 50 * abs(value) / scale if math.isfinite(value) else 0.0
    length = max(length, _SHORTEST) if length > _NOTHING else 0.0
    return WhyBar(
        name=GROUPS.get(name, name),
        text=number(value, max(2, 1 - math.floor(math.log10(scale))), signed=True),
        start=50.0 if value > 0 else 50 - length,
        length=length,
        lifts=value > 0,
        named=name in card.named,
        score=card.scores.get(name),
    )


def naming_rows(order: Order) -> list[tuple[str, Naming]]:
    """Return the shelves on which reasons were shown."""
    return [(name, one) for name, one in order.policies.items() if one.items and one.named]


def link_rows(order: Order) -> list[tuple[str, Naming]]:
    """Return the shelves whose reasons state facts."""
    return [row for row in naming_rows(order) if row[1].links and row[1].links.linked]


def factor_rows(order: Order) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return each group, and for each shelf how often it is on top and how often it is said."""
    rows = naming_rows(order)
    return [
        (
            GROUPS.get(group, group),
            [
                (percent(found.top, 0), percent(found.said, 0))
                if (found := one.factors.get(group))
                else (DASH, DASH)
                for _, one in rows
            ],
        )
        for group in order.groups
    ]


def share_of(one: Figure | None) -> Cell:
    """Write a share with its interval."""
    if one is None or one.value is None:
        return Cell(DASH)
    if one.low is None or one.high is None:
        return Cell(percent(one.value))
    return Cell(percent(one.value), f"{number(100 * one.low, 1)} to {percent(one.high)}")


def points(one: Figure | None) -> Cell:
    """Write a difference of shares in percentage points, with its interval."""
    if one is None or one.value is None:
        return Cell(DASH)
    text = f"{number(100 * one.value, 1, signed=True)}\u00a0points"
    if one.low is None or one.high is None:
        return Cell(text)
    low, high = (number(100 * end, 1, signed=True) for end in (one.low, one.high))
    return Cell(text, f"{low} to {high}", covers(one.low, one.high))


def order_sentence(order: Order) -> str:
    """Say what was found of the shelf that the run is about; "" where nothing was."""
    named = dict(naming_rows(order))
    name = next((name for name in _HEADLINES if name in named), next(iter(named), None))
    if name is None:
        return ""
    one, own = named[name], share_of(named[name].named)
    top = f"{order.top} " if order.top else ""
    text = (
        f"On the shelf “{policy_name(name)}”, {own.text} of {number(one.items)} items stand beside "
        f"a reason that names one of the {top}groups that lift them most"
        f"{f' (95{PERCENT} interval {own.range})' if own.range else ''}."
    )
    return " ".join(part for part in (text, _against_chance(one), _against_others(one)) if part)


def _against_chance(one: Naming) -> str:
    chance = one.random.value if one.random else None
    if chance is None or one.named is None or one.named.low is None or one.named.high is None:
        return ""
    text = f"As many groups drawn at random would hold one for {percent(chance)}"
    if one.named.high < chance:
        return f"{text}: reasons here tell what the item is rather than why it stands there."
    return text + ("." if one.named.low > chance else ", which the interval holds.")


def _against_others(one: Naming) -> str:
    own = one.over_shuffled
    if own is None or own.low is None or own.high is None or own.value is None:
        return ""
    against = "than the reason of another item of the page would"
    cell = points(own)
    gap = f"{cell.text} (95{PERCENT} interval {cell.range})"
    if cell.open:
        return f"A reason is not shown to name one more often {against}: {gap}."
    return f"A reason names one {'more' if own.value > 0 else 'less'} often {against}: {gap}."
