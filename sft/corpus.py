"""Supervised pairs from a catalogue without references: mixed copywriters verbalise its facts.

Reinforcement selects among skills that supervision made possible, so the corpus is imperfect on
purpose: most reasons fit the reader, some are generic, some say nothing, and a few overclaim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from envs.catalogue import Catalogue
from envs.errors import UserError
from envs.settings import Settings
from envs.shoppers import Profiles
from sft.tasks import ItemBrief, clean, item_briefs, reason_prompt, segment_likes
from sft.templates import fill


class CorpusConfig(Settings):
    """The supervised corpus."""

    pairs: int = Field(24_000, ge=10)
    """Prompt and reason pairs to write."""
    held_out: float = Field(0.1, gt=0, lt=0.5)
    """Share of items kept out of training: their pairs measure, they never train."""
    fit: float = Field(0.6, ge=0, le=1)
    """Share of reasons that state what the reader likes."""
    generic: float = Field(0.25, ge=0, le=1)
    """Share of reasons that state any fact of the item."""
    overclaim: float = Field(0.05, ge=0, le=1)
    """Share of reasons that state a fact of another item; what remains states nothing."""
    made_up: float = Field(0.4, ge=0, le=1)
    """Pairs about made-up facts, as a share of `pairs`, added to the base's training only: a shop
    has so few distinct facts that a small model would rather remember than read them."""

    @model_validator(mode="after")
    def _shares(self) -> CorpusConfig:
        if self.fit + self.generic + self.overclaim > 1 + 1e-9:
            raise ValueError("fit + generic + overclaim must not exceed 1")
        return self


@dataclass(frozen=True)
class ReasonPair:
    """One supervised example."""

    prompt: str
    completion: str
    item: int
    segment: int


@dataclass(frozen=True)
class Corpus:
    """Training and held-out pairs; no item is in both."""

    train: list[ReasonPair]
    held: list[ReasonPair]
    #: Pairs about made-up facts, which teach reading; their item is -1.
    made_up: list[ReasonPair]
    #: Held-out item indexes, (H,) int64.
    held_items: NDArray[np.int64]


Writer = Callable[[int, int], list[str]]


def split_items(
    count: int, share: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (training, held-out) item indexes, both sorted and disjoint."""
    order = rng.permutation(count)
    held = max(1, round(share * count))
    return np.sort(order[held:]), np.sort(order[:held])


def fitting_phrases(brief: ItemBrief, likes: list[str], count: int) -> list[str]:
    """Return up to ``count`` phrases of an item, liked aspects first, then the strongest facts."""
    rank = {aspect: place for place, aspect in enumerate(likes)}
    facts = sorted(brief.facts, key=lambda fact: rank.get(fact[0], len(likes)))
    return [phrase for _, phrase in facts[:count]]


def build_corpus(
    catalogue: Catalogue, profiles: Profiles, config: CorpusConfig, rng: np.random.Generator
) -> Corpus:
    """Write the corpus.

    Raises:
        UserError: for a catalogue with too few items that have facts.
    """
    briefs, likes = item_briefs(catalogue), segment_likes(catalogue, profiles)
    usable = np.array([i for i, brief in enumerate(briefs) if brief.facts], dtype=np.int64)
    if len(usable) < 10:
        raise UserError(
            f"catalogue {catalogue.name}, table facts: {len(usable)} items have a fact, but at "
            "least 10 are needed to learn to write reasons; add facts or map more features"
        )
    train_at, held_at = split_items(len(usable), config.held_out, rng)
    writers = _writers(catalogue, briefs, likes, rng)

    def pairs(items: NDArray[np.int64], count: int) -> list[ReasonPair]:
        chosen = rng.choice(items, size=count)
        segments = rng.integers(len(likes), size=count)
        shares = [config.fit, config.generic, config.overclaim]
        kinds = rng.choice(4, size=count, p=[*shares, max(0.0, 1 - sum(shares))])
        return [
            ReasonPair(
                prompt=reason_prompt(briefs[i], likes[s], rng),
                completion=fill(writers[kind](int(i), int(s)), rng),
                item=int(i),
                segment=int(s),
            )
            for i, s, kind in zip(chosen, segments, kinds)
        ]

    held_count = min(max(64, round(config.held_out * config.pairs)), 1024)
    return Corpus(
        train=pairs(usable[train_at], config.pairs),
        held=pairs(usable[held_at], held_count),
        made_up=_made_up(catalogue, briefs, likes, round(config.made_up * config.pairs), rng),
        held_items=usable[held_at],
    )


def _made_up(
    catalogue: Catalogue,
    briefs: list[ItemBrief],
    likes: list[list[str]],
    count: int,
    rng: np.random.Generator,
) -> list[ReasonPair]:
    """Write pairs whose facts are random words under random aspects, with fitting reasons.

    Nothing about such an item can be remembered, so the only way to get its reason right is to
    find the liked aspect in the prompt and copy what stands behind it.
    """
    words = sorted({w for brief in briefs for _, phrase in brief.facts for w in phrase.split()})
    titles = sorted({w for brief in briefs for w in brief.title.split()})

    def some(options: list[str], low: int, high: int) -> str:
        chosen = rng.choice(len(options), size=int(rng.integers(low, high + 1)))
        return " ".join(_renumber(options[int(i)], rng) for i in chosen)

    pairs = []
    for segment in rng.integers(len(likes), size=count):
        size = min(int(rng.integers(3, 8)), len(catalogue.aspects))
        aspects = rng.choice([clean(a) for a in catalogue.aspects], size=size, replace=False)
        facts = tuple((str(aspect), some(words, 1, 4)) for aspect in aspects)
        brief = ItemBrief(some(titles, 2, 5), facts)
        liked = [aspect for aspect in likes[segment] if aspect in aspects]
        stated = fitting_phrases(
            brief, likes[segment], int(rng.integers(1, max(len(liked), 1) + 1))
        )
        prompt = reason_prompt(brief, likes[segment])
        pairs.append(ReasonPair(prompt, fill(stated[:3], rng), -1, int(segment)))
    return pairs


def _renumber(word: str, rng: np.random.Generator) -> str:
    """Replace the digits of a word by random ones."""
    return "".join(str(rng.integers(10)) if c.isdigit() else c for c in word)


def _writers(
    catalogue: Catalogue, briefs: list[ItemBrief], likes: list[list[str]], rng: np.random.Generator
) -> list[Writer]:
    """Return the four copywriters: fit, generic, overclaim, say-nothing."""
    by_class: dict[int, list[int]] = {}
    for item, cls in enumerate(catalogue.class_index):
        if briefs[item].facts:
            by_class.setdefault(int(cls), []).append(item)

    def fit(item: int, segment: int) -> list[str]:
        brief = briefs[item]
        liked = [fact for fact in brief.facts if fact[0] in likes[segment]]
        count = int(rng.integers(1, 3)) if liked else 1
        return fitting_phrases(brief, likes[segment], min(count, max(len(liked), 1)))

    def generic(item: int, segment: int) -> list[str]:
        phrases = [phrase for _, phrase in briefs[item].facts]
        count = min(int(rng.integers(1, 4)), len(phrases))
        return [phrases[i] for i in rng.permutation(len(phrases))[:count]]

    def overclaim(item: int, segment: int) -> list[str]:
        others = by_class[int(catalogue.class_index[item])]
        other = others[int(rng.integers(len(others)))]
        own = {phrase for _, phrase in briefs[item].facts}
        # What both items have would be no overclaim.
        told = fitting_phrases(briefs[other], likes[segment], len(briefs[other].facts))
        return [*fit(item, segment)[:1], *[phrase for phrase in told if phrase not in own][:1]]

    return [fit, generic, overclaim, lambda item, segment: []]
