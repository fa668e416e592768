"""Supervised pairs from a catalogue without references: mixed copywriters verbalise its facts.

Reinforcement selects among skills that supervision made possible, so the corpus is imperfect on
purpose: most reasons fit the reader, some are generic, some say nothing, and a few overclaim.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from envs.catalogue import Catalogue
from envs.errors import UserError
from envs.shoppers import Profiles
from rewards.words import CJK
from sft.augment import augmented
from sft.corpus_config import CorpusConfig as CorpusConfig
from sft.corpus_more import more_pairs
from sft.own_data import TaskCorpus
from sft.scenes import Scenes
from sft.tasks import ItemBrief, clean, item_briefs, segment_likes
from sft.tasks.reason import ReasonInput, ReasonTask, shuffled, tell

#: Most phrases that one reason tells.
MOST_TOLD = 3
#: What a Chinese phrase is taken apart into: a number, a Latin word, or up to two characters.
_PIECES = re.compile(rf"\d[\d.]*|[A-Za-z]+|[{CJK}]{{1,2}}")
_TASK = ReasonTask()
#: Share of made-up phrases that say a word twice, and of made-up digits that repeat the one before,
#: where the catalogue says words twice.
_TWICE, _RUN = 0.125, 0.3


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
    #: Pairs of the other tasks; none unless the config asks for them.
    more: TaskCorpus = field(default_factory=TaskCorpus)


#: Brief, item index and liked aspects -> the phrases that a copywriter tells.
Writer = Callable[[ItemBrief, int, list[str]], list[str]]


def split_items(
    count: int, share: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (training, held-out) item indexes, both sorted and disjoint."""
    order = rng.permutation(count)
    held = max(1, round(share * count))
    return np.sort(order[held:]), np.sort(order[:held])


def _without_twins(
    held: NDArray[np.int64], train: NDArray[np.int64], briefs: Sequence[ItemBrief]
) -> NDArray[np.int64]:
    """Return the held-out places whose prompts no training item shares (colours of one product)."""
    known = {(briefs[place].title, briefs[place].facts) for place in train}
    kept = [place for place in held if (briefs[place].title, briefs[place].facts) not in known]
    return np.array(kept, dtype=np.int64)


def fitting_phrases(brief: ItemBrief, likes: Sequence[str], count: int) -> list[str]:
    """Return up to ``count`` phrases of an item, liked aspects first, then the strongest facts."""
    rank = {aspect: place for place, aspect in enumerate(likes)}
    facts = sorted(brief.facts, key=lambda fact: rank.get(fact[0], len(likes)))
    return [phrase for _, phrase in facts[:count]]


def build_corpus(
    catalogue: Catalogue, profiles: Profiles, config: CorpusConfig, rng: np.random.Generator
) -> Corpus:
    """Write the corpus.

    Reasons are split by item: they are for segments, which both sides know, not for shoppers. The
    other tasks are split by item and by shopper.

    Raises:
        UserError: for a catalogue with too few items that have facts, or other sources that do not
            fit (see `sft.corpus_more`).
    """
    briefs, likes = item_briefs(catalogue), segment_likes(catalogue, profiles)
    usable = np.array([i for i, brief in enumerate(briefs) if brief.facts], dtype=np.int64)
    if len(usable) < 10:
        raise UserError(
            f"catalogue {catalogue.name}, table facts: {len(usable)} items have a fact, but at "
            "least 10 are needed to learn to write reasons; add facts or map more features"
        )
    train_at, held_at = split_items(len(usable), config.held_out, rng)
    held_at = _without_twins(held_at, train_at, [briefs[item] for item in usable])
    if not len(held_at):
        raise UserError(
            f"catalogue {catalogue.name}: every item drawn to be held out has the title and the "
            "facts of a training item, so that nothing could be measured; drop such doubles"
        )
    writers = _writers(catalogue, briefs, rng)
    scenes = Scenes(catalogue) if config.scenes else None

    def pair(item: int, segment: int, write: Writer) -> ReasonPair:
        brief = augmented(briefs[item], config.synonyms, config.drop_facts, rng)
        wanted, scene = likes[segment], None
        if scenes is not None and rng.random() < config.scenes:
            scene = scenes.draw(item, rng)
            wanted = list(dict.fromkeys([*scenes.asked(scene), *wanted]))
        shown = shuffled(brief, wanted, rng) if config.shuffle_facts else brief
        prompt = _TASK.prompt(ReasonInput(shown, tuple(wanted), scene))
        told = tell(write(shown, item, wanted), catalogue.locale, rng)
        return ReasonPair(prompt, _TASK.target(told), item, segment)

    def pairs(items: NDArray[np.int64], count: int) -> list[ReasonPair]:
        chosen = rng.choice(items, size=count)
        segments = rng.integers(len(likes), size=count)
        shares = [config.fit, config.generic, config.overclaim]
        kinds = rng.choice(4, size=count, p=[*shares, max(0.0, 1 - sum(shares))])
        return [pair(int(i), int(s), writers[k]) for i, s, k in zip(chosen, segments, kinds)]

    held_count = min(max(64, round(config.held_out * config.pairs)), 1024)
    return Corpus(
        train=pairs(usable[train_at], config.pairs),
        held=pairs(usable[held_at], held_count),
        made_up=_made_up(catalogue, briefs, likes, round(config.made_up * config.pairs), rng),
        held_items=usable[held_at],
        more=more_pairs(catalogue, briefs, usable[held_at], config, rng),
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
    find the liked aspect in the prompt and copy what stands behind it. Where phrases of the
    catalogue say a word twice ("9-pin D-sub to 25-pin D-sub"), some made-up ones do: who copies
    must then know at which of the two it is, and the few real ones are too rare to teach that.
    """
    locale = catalogue.locale
    words = sorted({w for b in briefs for _, phrase in b.facts for w in _pieces(phrase, locale)})
    titles = sorted({word for brief in briefs for word in brief.title.split()})
    stammers = any(_says_twice(phrase, locale) for b in briefs for _, phrase in b.facts)
    runs = _RUN if stammers else 0.0

    def some(options: list[str], low: int, high: int, joint: str = " ") -> str:
        chosen = rng.choice(len(options), size=int(rng.integers(low, high + 1)))
        return joint.join(_renumber(options[int(i)], rng, runs) for i in chosen)

    def phrase() -> str:
        if not stammers or rng.random() >= _TWICE:
            return some(words, 1, 4, phrase_joint)
        first, last = (some(words, 0, 1, phrase_joint) for _ in range(2))
        twice, between = some(words, 1, 1), some(words, 1, 2, phrase_joint)
        return phrase_joint.join(part for part in (first, twice, between, twice, last) if part)

    phrase_joint = "" if locale == "zh" else " "
    pairs = []
    for segment in rng.integers(len(likes), size=count):
        size = min(int(rng.integers(3, 8)), len(catalogue.aspects))
        aspects = rng.choice([clean(a) for a in catalogue.aspects], size=size, replace=False)
        facts = tuple((str(aspect), phrase()) for aspect in aspects)
        brief = ItemBrief(some(titles, 2, 5), facts, locale)
        stated = fitting_phrases(brief, likes[segment], int(rng.integers(1, MOST_TOLD + 1)))
        prompt = _TASK.prompt(ReasonInput(brief, tuple(likes[segment])))
        told = tell(stated, locale, rng)
        pairs.append(ReasonPair(prompt, _TASK.target(told), -1, int(segment)))
    return pairs


def _pieces(phrase: str, locale: str) -> list[str]:
    """Return what a phrase is made of: its words, or short runs of a Chinese one."""
    return _PIECES.findall(phrase) if locale == "zh" else phrase.split()


def _says_twice(phrase: str, locale: str) -> bool:
    """Return whether a word of a phrase, or a part of a hyphened one, stands in it again."""
    parts = [part for piece in _pieces(phrase, locale) for part in piece.split("-")]
    return len(set(parts)) < len(parts)


def _renumber(word: str, rng: np.random.Generator, runs: float) -> str:
    """Replace the digits of a word by random ones; by chance ``runs`` by the digit before."""
    made = ""
    for c in word:
        if not c.isdigit():
            made += c
        elif runs and made[-1:].isdigit() and rng.random() < runs:
            made += made[-1]
        else:
            made += str(rng.integers(10))
    return made


def _writers(
    catalogue: Catalogue, briefs: list[ItemBrief], rng: np.random.Generator
) -> list[Writer]:
    """Return the four copywriters: fit, generic, overclaim, say-nothing."""
    by_class: dict[int, list[int]] = {}
    for item, cls in enumerate(catalogue.class_index):
        if briefs[item].facts:
            by_class.setdefault(int(cls), []).append(item)

    def fit(brief: ItemBrief, item: int, likes: list[str]) -> list[str]:
        liked = [fact for fact in brief.facts if fact[0] in likes]
        count = int(rng.integers(1, 3)) if liked else 1
        return fitting_phrases(brief, likes, min(count, max(len(liked), 1)))

    def generic(brief: ItemBrief, item: int, likes: list[str]) -> list[str]:
        phrases = fitting_phrases(brief, likes, len(brief.facts))
        count = min(int(rng.integers(1, 4)), len(phrases))
        return [phrases[i] for i in sorted(rng.permutation(len(phrases))[:count])]

    def overclaim(brief: ItemBrief, item: int, likes: list[str]) -> list[str]:
        others = by_class[int(catalogue.class_index[item])]
        other = others[int(rng.integers(len(others)))]
        own = {phrase for _, phrase in briefs[item].facts}
        # What both items have would be no overclaim.
        told = fitting_phrases(briefs[other], likes, len(briefs[other].facts))
        return [
            *fit(brief, item, likes)[:1], *[phrase for phrase in told if phrase not in own][:1]
        ]  # fmt: skip

    return [fit, generic, overclaim, lambda brief, item, likes: []]
