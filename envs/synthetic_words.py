"""The vocabulary of the made-up shop: what ``envs/data/synthetic_LOCALE.json`` holds, typed."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from envs.files import read_json
from envs.settings import Settings

DATA = Path(__file__).parent / "data"


class Attribute(Settings):
    """A graded property that facts state, e.g. ``battery_life_hours``.

    Either ``levels`` lists each value with its phrases, worst first, or ``value`` and ``phrases``
    are templates in which ``{v}`` stands for the number that a class lists. Every phrase is a
    short noun phrase that needs no article, so that any two can be joined by "and".
    """

    aspect: str
    value: str = "{v}"
    phrases: list[str] = Field(default_factory=list)
    levels: dict[str, list[str]] = Field(default_factory=dict)

    def stated(self, level: str) -> tuple[str, list[str]]:
        """Return the value and the phrases of ``level``."""
        if self.levels:
            return level, self.levels[level]
        return self.value.replace("{v}", level), [p.replace("{v}", level) for p in self.phrases]


class ShopClass(Settings):
    """A class of goods: its names, its prices and the attributes its items can have."""

    department: str
    noun: str
    """With its article, for descriptions: "a pair of headphones"."""
    types: list[str]
    """How titles name the product."""
    price: float
    """Median, in the currency of the shop."""
    spread: float
    """Standard deviation of the logarithm of the price."""
    facts: dict[str, list[str]]
    """Attribute -> its levels in this class, worst first; an empty list means all of its levels.
    The attributes of a class have distinct aspects."""
    extras: dict[str, list[str]]
    """Features that no fact states."""
    queries: list[str]


class ReviewWords(Settings):
    """Sentences of reviews."""

    openers: dict[str, list[str]]
    """By mood: good, middling, bad."""
    praise: list[str]
    criticism: list[str]
    closers: list[str]


class Words(Settings):
    """All words of the shop in one language."""

    name: str
    currency: str
    aspects: list[str]
    brands: dict[str, dict[str, str]]
    """Department -> brand -> country."""
    series: list[str]
    colours: list[str]
    years: list[str]
    descriptions: list[str]
    reviews: ReviewWords
    attributes: dict[str, Attribute]
    classes: dict[str, ShopClass]


def load_words(locale: str) -> Words:
    """Return the vocabulary of ``locale``."""
    return Words.model_validate(read_json(DATA / f"synthetic_{locale}.json"))
