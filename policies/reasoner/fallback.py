"""The rule-based writer: what is shown wherever a model's text is vetoed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from sft.corpus import fitting_phrases
from sft.tasks import ItemBrief
from sft.tasks.reason import ReasonTask, tell

#: Facts that a fallback states, at most.
STATED = 2


def fallback_reason(brief: ItemBrief, likes: Sequence[str], rng: np.random.Generator) -> str:
    """Write a true sentence from the item's two facts that fit the reader best.

    The sentence is one of those that the corpus teaches, or of a few more, in the brief's language.
    """
    phrases = fitting_phrases(brief, likes, STATED)
    return ReasonTask().target(tell(phrases, brief.locale, rng, further=True))


def permitted_reason(
    brief: ItemBrief,
    likes: Sequence[str],
    rng: np.random.Generator,
    permitted: Callable[[str], bool],
) -> str:
    """Write a fallback that may be shown.

    A catalogue's own phrase may be one that must not (a phone number, a banned word). Then only the
    facts that may be told on their own are told, and if none may, the sentence states nothing.
    """
    text = fallback_reason(brief, likes, rng)
    if permitted(text):
        return text
    alone = [replace(brief, facts=(fact,), synonyms=()) for fact in brief.facts]
    facts = tuple(
        one.facts[0] for one in alone if permitted(fallback_reason(one, likes, rng))
    )  # fmt: skip
    text = fallback_reason(replace(brief, facts=facts, synonyms=()), likes, rng)
    # Two facts may say together what neither says alone.
    bare = replace(brief, facts=(), synonyms=())
    return text if permitted(text) else fallback_reason(bare, likes, rng)
