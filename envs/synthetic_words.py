"""The vocabulary of the made-up shop: what ``envs/data/synthetic_LOCALE.json`` holds, typed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from envs.files import read_json
from envs.settings import Settings

DATA = Path(__file__).parent / "data"

#: Languages that the made-up shop speaks.
Locale = Literal["en", "zh"]


class Attribute(Settings):
    """A graded property that facts state, e.g. ``battery_life_hours``.

    Either ``levels`` lists each value with its phrases, worst first, or ``value`` and ``phrases``
    are templates in which ``{v}`` stands for the number that a class lists. Every phrase is a
    short noun phrase that needs no article, so that any two can be joined by "and" or "和".
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
    """With its article, where the language has one, for descriptions: "a pair of headphones"."""
    types: list[str]
    """How titles name the product. A type promises nothing that a fact could belie."""
    selling: list[str] = Field(default_factory=list)
    """Occasions and audiences that titles add, where shops write so; they state no fact."""
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


class Descriptions(Settings):
    """Templates of the description: {title} {noun} {brand} {series} {model} {type} {first}
    {second}, where first and second are the item's two strongest facts."""

    strong: list[str]
    """For items whose two strongest facts are worth praise."""
    plain: list[str]
    """For the others."""


class ReviewWords(Settings):
    """Sentences of reviews; openers and closers by mood: good, middling, bad."""

    openers: dict[str, list[str]]
    praise: list[str]
    criticism: list[str]
    closers: dict[str, list[str]]


class Words(Settings):
    """All words of the shop in one language."""

    name: str
    currency: str
    price_ending: Literal["cents", "nines"]
    """How prices end: 45.99 (cents) or 59.9, 329, 1299 (nines)."""
    per_euro: float
    """Units of the currency in about one euro: the margin curve is written in euros."""
    type_key: str
    """Feature key of the type."""
    origin_key: str
    """Feature key of the brand's origin."""
    title: str
    """Template: {brand} {series} {model} {type}, and {first} (a strong fact) and {selling}."""
    brand_query: str
    """Template of a query for a brand: {brand} {class_name}."""
    joint: str
    """What stands between two sentences."""
    aspects: list[str]
    brands: dict[str, dict[str, str]]
    """Department -> brand -> where it comes from."""
    series: list[str]
    common: dict[str, list[str]]
    """Features that items of every class have."""
    descriptions: Descriptions
    reviews: ReviewWords
    attributes: dict[str, Attribute]
    classes: dict[str, ShopClass]


@cache
def load_words(locale: Locale) -> Words:
    """Return the vocabulary of ``locale``."""
    return Words.model_validate(read_json(DATA / f"synthetic_{locale}.json"))
