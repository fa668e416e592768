"""Carrier sentences of reasons: what copywriters put around the facts.

Every word of a template claims nothing in the eyes of `rewards.claims` (a test checks it), so that
only the facts put into it can claim anything.
"""

from __future__ import annotations

from sft.templates_zh import FURTHER_ZH, TEMPLATES_ZH

#: By number of facts; ``{0}``, ``{1}``, ``{2}`` are their phrases.
TEMPLATES: dict[int, tuple[str, ...]] = {
    0: (
        "A sensible choice for every day.",
        "A solid pick that many people like.",
        "Worth a look if you want something simple.",
        "A good choice for your home.",
        "It does its job well.",
    ),
    1: (
        "Pick it for its {0}.",
        "It comes with {0}, and that is what matters to you.",
        "You get {0} here.",
        "With {0}, it suits you well.",
        "If you care about {0}, this is for you.",
        "Its {0} makes it a good match for you.",
        "Recommended for its {0}.",
        "What you get is {0}.",
    ),
    2: (
        "Pick it for its {0} and {1}.",
        "It has {0} and {1}.",
        "With {0} and {1}, it suits what you like.",
        "You get {0} and also {1}.",
        "Its {0} comes with {1}, so it should fit you well.",
        "Recommended for {0} and {1}.",
        "A good match: {0} and {1}.",
        "If you want {0}, take it; {1} comes on top.",
    ),
    3: (
        "Pick it for its {0}, {1} and {2}.",
        "It has {0}, {1} and {2}.",
        "With {0}, {1} and {2}, it suits you well.",
        "You get {0}, {1} and {2}.",
        "A good match for you: {0}, {1} and {2}.",
        "Recommended for {0} and {1}, plus {2}.",
    ),
}


#: Sentences that only the rule-based writer uses: the corpus keeps those it was measured with.
FURTHER: dict[int, tuple[str, ...]] = {
    0: ("A good thing to have around.",),
    1: ("Choose it for the {0}.", "It offers {0}.", "Worth a look for its {0}."),
    2: (
        "Choose it for the {0} and the {1}.",
        "It offers {0} as well as {1}.",
        "Worth a look for its {0} and {1}.",
    ),
    3: ("Choose it for the {0}, the {1} and the {2}.",),
}

#: Sentences of the corpus, and those that the rule-based writer has besides, by locale.
TEMPLATES_OF = {"en": TEMPLATES, "zh": TEMPLATES_ZH}
FURTHER_OF = {"en": FURTHER, "zh": FURTHER_ZH}


def sentences(locale: str, facts: int, *, further: bool = False) -> tuple[str, ...]:
    """Return the sentences for so many facts; ``further`` adds the rule-based writer's own."""
    taught = TEMPLATES_OF[locale][facts]
    return taught + FURTHER_OF[locale][facts] if further else taught
