"""The reason task: how an item and a reader become a prompt."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from envs.catalogue import Catalogue
from envs.shoppers import Profiles

#: Aspects that a prompt says the reader likes.
LIKES = 4
#: Facts that fit into a prompt; the strongest come first.
FACTS = 7
#: Words of a title that fit into a prompt: data-sheet titles repeat half of the facts.
TITLE_WORDS = 8
_DELIMITERS = re.compile(r"[|\n\r\t]+|->|[:<>]")


@dataclass(frozen=True)
class ItemBrief:
    """What a reason may draw on: a title and (aspect, phrase) facts, strongest first."""

    title: str
    facts: tuple[tuple[str, str], ...]


def clean(text: str) -> str:
    """Return outside text without the prompt's delimiters, so that it cannot pose as one."""
    return " ".join(_DELIMITERS.sub(" ", text).split())


def short_title(title: str) -> str:
    """Return the first `TITLE_WORDS` words of a cleaned title."""
    return " ".join(clean(title).split()[:TITLE_WORDS])


def item_briefs(catalogue: Catalogue) -> list[ItemBrief]:
    """Return the brief of every item, in item order; facts beyond `FACTS` are left out whole."""
    facts: list[list[tuple[float, str, str]]] = [[] for _ in range(catalogue.n_items)]
    table = catalogue.facts
    for item_id, aspect, phrases, strength in zip(
        table["item_id"], table["aspect"], table["phrases"], table["strength"]
    ):
        facts[catalogue.item_position[item_id]].append(
            (-strength, clean(aspect), clean(phrases[0]))
        )
    return [
        ItemBrief(short_title(title), tuple((a, p) for _, a, p in sorted(rows)[:FACTS]))
        for title, rows in zip(catalogue.items["title"], facts)
    ]


def segment_likes(catalogue: Catalogue, profiles: Profiles) -> list[list[str]]:
    """Return the names of the aspects that each segment likes most, best first."""
    return [
        [clean(catalogue.aspects[a]) for a in profiles.liked(s, LIKES)]
        for s in range(profiles.n_segments)
    ]


def reason_prompt(
    brief: ItemBrief, likes: list[str], rng: np.random.Generator | None = None
) -> str:
    """Return ``title | aspect: phrase | ... | likes aspect: phrase | ... ->``.

    Facts of liked aspects come last, marked, the most liked first: asked about aspects by name at
    the end of the prompt, a small model was seen to invent facts about them. With ``rng`` the
    other facts come in random order (augmentation of the training corpus).
    """
    rank = {aspect: place for place, aspect in enumerate(likes)}
    others = [fact for fact in brief.facts if fact[0] not in rank]
    if rng is not None:
        rng.shuffle(others)
    liked = sorted((f for f in brief.facts if f[0] in rank), key=lambda fact: rank[fact[0]])
    parts = [brief.title, *(f"{aspect}: {phrase}" for aspect, phrase in others)]
    parts += [f"likes {aspect}: {phrase}" for aspect, phrase in liked]
    return " | ".join(parts) + " ->"
