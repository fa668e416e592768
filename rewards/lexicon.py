"""Word lists by language: what claims nothing, what denies, what compares.

They are read from ``rewards/data/lexicon_LOCALE.json``; each list is one string of words, so that
it can be read and edited as text. Nothing in them belongs to one shop.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from envs.files import read_json

DATA = Path(__file__).parent / "data"
#: Relations that a bound states: "at least 30 hours" is ``ge``, "about" is ``near``.
BOUNDS = ("lt", "le", "gt", "ge", "near", "eq")


@dataclass(frozen=True)
class Lexicon:
    """The word lists of one language; multi-word entries are written with ``_``."""

    #: Words that state nothing about an item.
    ordinary: frozenset[str]
    #: Words that turn what follows into its opposite.
    negators: frozenset[str]
    #: Words that hold a negator and deny nothing: 不锈钢, "no-brainer".
    fixed: frozenset[str]
    #: Words after a negator that make it harmless: "not only".
    harmless: frozenset[str]
    #: Words that say a preceding thing is there, so that "not" before them denies it.
    provided: frozenset[str]
    #: Words that stand between the words of a fact: "the seams *are* taped".
    joiners: frozenset[str]
    #: Colours beside those that the catalogue names.
    colours: frozenset[str]
    superlatives: frozenset[str]
    comparatives: frozenset[str]
    #: Words that go with a quantity of a dimension ("weighs" with a mass), by dimension;
    #: ``any`` goes with every quantity.
    measuring: dict[str, frozenset[str]]
    #: Words before (or after) a quantity -> its relation, one of `BOUNDS`.
    bounds: dict[str, str]
    #: Last words of the bounds.
    bound_ends: frozenset[str]


@cache
def lexicon(locale: str) -> Lexicon:
    """Return the word lists of ``locale`` ("en" or "zh")."""
    data = read_json(DATA / f"lexicon_{locale}.json")

    def words(name: str) -> frozenset[str]:
        return frozenset(word.replace("_", " ") for word in " ".join(data[name]).split())

    bounds = {
        word.replace("_", " "): relation
        for relation in BOUNDS
        for word in data["bounds"][relation].split()
    }
    return Lexicon(
        ordinary=words("ordinary"),
        negators=words("negators"),
        fixed=words("fixed"),
        harmless=words("harmless"),
        provided=words("provided"),
        joiners=words("joiners"),
        colours=words("colours"),
        superlatives=words("superlatives"),
        comparatives=words("comparatives"),
        measuring={name: frozenset(text.split()) for name, text in data["measuring"].items()},
        bounds=bounds,
        bound_ends=frozenset(bound.split()[-1] for bound in bounds),
    )
