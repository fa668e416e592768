"""The reason task: an item, a reader and a scene become a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sft.tasks.briefs import TITLE_WORDS, ItemBrief
from sft.tasks.text import clean, line, ordinals, shorten
from sft.templates import sentences

_WORDS = {
    "en": {"likes": "likes", "search": "search", "similar": "beside"},
    "zh": {"likes": "喜欢", "search": "搜索", "similar": "在看"},
}


@dataclass(frozen=True)
class Scene:
    """Where the reason is shown: under a search, or beside another item."""

    kind: Literal["search", "similar"]
    #: What was typed, or the title of the other item.
    text: str


@dataclass(frozen=True)
class ReasonInput:
    """What a reason may draw on; ``scene`` is None on the home page."""

    brief: ItemBrief
    #: Aspects that the reader likes, best first.
    likes: tuple[str, ...]
    scene: Scene | None = None


@dataclass(frozen=True)
class ReasonTold:
    """A reference reason: up to three phrases, and which sentence holds them."""

    phrases: tuple[str, ...]
    #: Place in `sft.templates.sentences`, the rule-based writer's own included.
    form: int
    locale: str = "en"


class ReasonTask:
    """A sentence that says why this item is for this reader.

    The prompt is ``title | ③ aspect: phrase | ... | likes ① aspect: phrase | ... ->``. Facts of
    liked aspects come last, the most liked first: asked about aspects by name at the end of the
    prompt, a small model was seen to invent facts about them.
    """

    name = "reason"

    def prompt(self, given: ReasonInput) -> str:
        """Return the prompt; a scene stands behind the title."""
        words = _WORDS[given.brief.locale]
        rank = {aspect: place for place, aspect in enumerate(given.likes)}
        facts = given.brief.facts
        liked = sorted((f for f in facts if f[0] in rank), key=lambda fact: rank[fact[0]])
        parts = [given.brief.title]
        if given.scene is not None:
            said = shorten(clean(given.scene.text), TITLE_WORDS)
            parts.append(f"{words[given.scene.kind]}: {said}")
        # In the order of telling, which their marks say: a small model asked for a second fact was
        # seen to tell the first one again; the second sentence part looks for the second mark.
        order = [*liked, *(fact for fact in facts if fact[0] not in rank)]
        marked = [f"{mark} {aspect}: {phrase}" for mark, (aspect, phrase) in zip(ordinals(), order)]
        parts += marked[len(liked) :]
        parts += [f"{words['likes']} {part}" for part in marked[: len(liked)]]
        return line(parts)

    def target(self, told: ReasonTold) -> str:
        """Return the sentence."""
        forms = sentences(told.locale, len(told.phrases), further=True)
        return forms[told.form].format(*told.phrases)


def tell(
    phrases: Sequence[str], locale: str, rng: np.random.Generator, *, further: bool = False
) -> ReasonTold:
    """Choose a sentence for up to three phrases at random.

    ``further`` chooses among the sentences that only the rule-based writer uses, too.
    """
    forms = sentences(locale, len(phrases), further=further)
    return ReasonTold(tuple(phrases), int(rng.integers(len(forms))), locale)


def shuffled(brief: ItemBrief, likes: Sequence[str], rng: np.random.Generator) -> ItemBrief:
    """Return the brief with the facts that nobody likes in random order; prompts show them first.

    Facts of liked aspects come in the order of the liking anyway.
    """
    others = [fact for fact in brief.facts if fact[0] not in likes]
    rng.shuffle(others)
    liked = [fact for fact in brief.facts if fact[0] in likes]
    return replace(brief, facts=(*others, *liked), synonyms=())


def reason_prompt(
    brief: ItemBrief, likes: Sequence[str], rng: np.random.Generator | None = None
) -> str:
    """Return the prompt of a reason on the home page; with ``rng``, of the brief `shuffled`."""
    shown = brief if rng is None else shuffled(brief, likes, rng)
    return ReasonTask().prompt(ReasonInput(shown, tuple(likes)))
