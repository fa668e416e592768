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
_DELIMITERS = re.compile(r"[|\n\r\t]+|->|[:<>]")


@dataclass(frozen=True)
class ItemBrief:
    """What a reason may draw on: a title and (aspect, phrase) facts, strongest first."""

    title: str
    facts: tuple[tuple[str, str], ...]


def clean(text: str) -> str:
    """Return outside text without the prompt's delimiters, so that it cannot pose as one."""
    return " ".join(_DELIMITERS.sub(" ", text).split())


def item_briefs(catalogue: Catalogue) -> list[ItemBrief]:
    """Return the brief of every item, in item order; facts beyond `FACTS` are left out whole."""
    facts: list[list[tuple[float, str, str]]] = [[] for _ in range(catalogue.n_items)]
    table = catalogue.facts
    for item_id, aspect, phrases, strength in zip(
        table["item_id"], table["aspect"], table["phrases"], table["strength"]
    ):
        facts[catalogue.item_position[item_id]].append((-strength, aspect, clean(phrases[0])))
    return [
        ItemBrief(clean(title), tuple((a, p) for _, a, p in sorted(rows)[:FACTS]))
        for title, rows in zip(catalogue.items["title"], facts)
    ]


def segment_likes(catalogue: Catalogue, profiles: Profiles) -> list[list[str]]:
    """Return the names of the aspects that each segment likes most, best first."""
    return [
        [catalogue.aspects[a] for a in profiles.liked(s, LIKES)] for s in range(profiles.n_segments)
    ]


def reason_prompt(
    brief: ItemBrief, likes: list[str], rng: np.random.Generator | None = None
) -> str:
    """Return ``title | aspect: phrase | ... | likes: aspect, aspect ->``.

    Each fact is keyed by its aspect, so that copying the right one is easy. With ``rng`` the facts
    come in random order (augmentation of the training corpus).
    """
    facts = list(brief.facts)
    if rng is not None:
        rng.shuffle(facts)
    parts = [brief.title, *(f"{aspect}: {phrase}" for aspect, phrase in facts)]
    return " | ".join([*parts, f"likes: {', '.join(likes)} ->"])
