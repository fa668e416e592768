"""The rule-based writer: what is shown wherever a model's text is vetoed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from policies.reasoner.articles import is_plural, with_article
from sft.corpus import fitting_phrases
from sft.tasks import ItemBrief
from sft.tasks.reason import ReasonTask, ReasonTold, tell
from sft.templates import sentences

#: Facts that a fallback states, at most.
STATED = 2
#: A phrase's place in a sentence, with what stands between it and the place before.
_PLACE = re.compile(r"([^{}]*)\{(\d)\}")
#: What a phrase may follow without an article of its own; a list joins what it follows.
_READY, _JOINED = re.compile(r"(?:\b(?:its|the)|:) $", re.IGNORECASE), (" and ", ", ", ", and ")
#: A verb that agrees with the phrase right before it.
_SINGULAR_VERB = re.compile(r"\{(\d)\} (?:comes|makes|is|has|suits)\b")


def fallback_reason(brief: ItemBrief, likes: Sequence[str], rng: np.random.Generator) -> str:
    """Write a true sentence from the item's two facts that fit the reader best.

    The sentence is one of those that the corpus teaches, or of a few more, in the brief's language.
    In English it is one whose grammar suits the phrases, which get an article where they want one.
    """
    phrases = fitting_phrases(brief, likes, STATED)
    told = tell(phrases, brief.locale, rng, further=True)
    return ReasonTask().target(told if brief.locale != "en" else _in_english(phrases, rng))


def _in_english(phrases: Sequence[str], rng: np.random.Generator) -> ReasonTold:
    """Choose among the sentences that the phrases fit into, and give the phrases their articles."""
    forms = sentences("en", len(phrases), further=True)
    fitting = [told for form in range(len(forms)) if (told := _fitted(form, forms[form], phrases))]
    # No sentence may fit where templates are few; then any says the truth, if not smoothly.
    fitting = fitting or [ReasonTold(tuple(phrases), form) for form in range(len(forms))]
    return fitting[int(rng.integers(len(fitting)))]


def _fitted(number: int, form: str, phrases: Sequence[str]) -> ReasonTold | None:
    """Return the phrases as they stand in a sentence, or None where the grammar would suffer."""
    if any(is_plural(phrases[int(place)]) for place in _SINGULAR_VERB.findall(form)):
        return None
    bare = _bare(form)
    said = [
        with_article(phrase) if place in bare else phrase for place, phrase in enumerate(phrases)
    ]
    if any(phrase is None for phrase in said):
        return None
    return ReasonTold(tuple(str(phrase) for phrase in said), number)


def _bare(form: str) -> set[int]:
    """Return the places of a sentence that want an article: behind no "its", "the" or colon."""
    bare: set[int] = set()
    ready = False
    for before, place in _PLACE.findall(form):
        ready = _READY.search(before) is not None or (ready and before in _JOINED)
        if not ready:
            bare.add(int(place))
    return bare


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
