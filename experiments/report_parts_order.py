"""What a report shows of why the order is as it is, of the rounds and of looking ahead."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from experiments.report_parts import Figure, Paired, Part


class Factor(Part):
    """How often a group of features lifts an item most, and how often reasons name it."""

    top: float | None = None
    said: float | None = None


class Linked(Part):
    """How often a reason states a fact that the page's starting items share."""

    items: int = 0
    linked: Figure | None = None
    random: Figure | None = None
    over: Figure | None = None


class Naming(Part):
    """How often the reasons of one shelf name what put their item there."""

    items: int = 0
    silent: float | None = None
    named: Figure | None = None
    random: Figure | None = None
    shuffled: Figure | None = None
    over_shuffled: Figure | None = None
    factors: dict[str, Factor] = Field(default_factory=dict)
    links: Linked | None = None


class Order(Part):
    """Whether reasons name what put their items there, by policy."""

    pages: int | None = None
    top: int | None = None
    groups: list[str]
    policies: dict[str, Naming]


class RoundStep(Part):
    """What a round brought over the one before, in return a session."""

    round: int
    gain: Paired
    reasons: Paired
    ranker: Paired
    placement: float | None = None
    """Rank correlation of how both rankers place the items."""


class Rounds(Part):
    """Every round's ranker and reasons on the same sessions."""

    sessions: int | None = None
    steps: list[RoundStep]


class Course(Part):
    """What happens page by page under one ranker, a figure a page; None where nobody is left."""

    there: list[float]
    satiation: list[float | None]
    trust: list[float | None]


class Lead(Part):
    """How far one ranker is ahead of the other by the end of each page."""

    value: list[float]
    low: list[float]
    high: list[float]


class Horizon(Part):
    """A ranker trained for the session beside one trained for the page."""

    pages: list[int]
    variants: dict[str, Course]
    lead: Lead | None = None

    @model_validator(mode="after")
    def _as_long_as_pages(self) -> Horizon:
        lists: list[Any] = [one.there for one in self.variants.values()]
        lists += [one.satiation for one in self.variants.values()]
        lists += [one.trust for one in self.variants.values()]
        lists += [self.lead.value, self.lead.low, self.lead.high] if self.lead else []
        if not self.pages or any(len(one) != len(self.pages) for one in lists):
            raise ValueError("every list must have a figure for each of the pages, one or more")
        return self
