"""What a prompt knows of an item and of a reader, cut to what fits."""

from __future__ import annotations

from dataclasses import dataclass

from envs.catalogue import Catalogue
from envs.shoppers import Profiles
from rewards.words import is_chinese
from sft.tasks.text import clean, length, shorten

#: Aspects that a prompt says the reader likes.
LIKES = 4
#: Facts that fit into a prompt; the strongest come first.
FACTS = 7
#: Words of all facts together; a fact beyond them is left out whole.
FACT_WORDS = 48
#: Words of a title that fit into a prompt: data-sheet titles repeat half of the facts.
TITLE_WORDS = 8

#: Aspect and phrase of a fact.
Fact = tuple[str, str]


@dataclass(frozen=True)
class ItemBrief:
    """What a text about an item may draw on: a title and facts, strongest first."""

    title: str
    facts: tuple[Fact, ...]
    locale: str = "en"
    #: Other phrases of each fact, in the order of ``facts``; may be left empty.
    synonyms: tuple[tuple[str, ...], ...] = ()


def short_title(title: str) -> str:
    """Return the first `TITLE_WORDS` words of a cleaned title.

    A Chinese title is cut between its space-parted pieces, or, if it has none, where it is full.
    """
    words = clean(title).split()
    if not is_chinese(title):
        return " ".join(words[:TITLE_WORDS])
    kept = 0
    while kept < len(words) and length(" ".join(words[: kept + 1])) <= TITLE_WORDS:
        kept += 1
    return " ".join(words[:kept]) if kept else shorten(" ".join(words), TITLE_WORDS)


def item_briefs(catalogue: Catalogue) -> list[ItemBrief]:
    """Return the brief of every item, in item order.

    Facts beyond `FACTS`, or beyond `FACT_WORDS`, are left out whole.
    """
    facts: list[list[tuple[float, str, str, tuple[str, ...]]]] = [
        [] for _ in range(catalogue.n_items)
    ]
    table = catalogue.facts
    for item_id, aspect, phrases, strength in zip(
        table["item_id"], table["aspect"], table["phrases"], table["strength"]
    ):
        said = tuple(clean(phrase) for phrase in phrases)
        facts[catalogue.item_position[item_id]].append(
            (-strength, clean(aspect), said[0], said[1:])
        )
    return [
        _brief(short_title(title), [row[1:] for row in sorted(rows)], catalogue.locale)
        for title, rows in zip(catalogue.items["title"], facts)
    ]


def _brief(title: str, rows: list[tuple[str, str, tuple[str, ...]]], locale: str) -> ItemBrief:
    kept: list[tuple[str, str, tuple[str, ...]]] = []
    room = FACT_WORDS
    for aspect, phrase, others in rows:
        size = length(f"{aspect} {phrase}")
        if len(kept) < FACTS and size <= room:
            kept.append((aspect, phrase, others))
            room -= size
    facts = tuple((aspect, phrase) for aspect, phrase, _ in kept)
    return ItemBrief(title, facts, locale, tuple(others for *_, others in kept))


def segment_likes(catalogue: Catalogue, profiles: Profiles) -> list[list[str]]:
    """Return the names of the aspects that each segment likes most, best first."""
    return [
        [clean(catalogue.aspects[a]) for a in profiles.liked(s, LIKES)]
        for s in range(profiles.n_segments)
    ]
