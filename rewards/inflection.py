"""Light English morphology: forms of one word meet in one stem.

Plural and third person -s, past -ed, participle -ing, adverbs in -ly, nouns in -ation, and a final
-e are taken off. Comparatives and superlatives are *not*: "lighter" and "lightest" claim something
that "light" does not. Prefixes and the suffixes -less, -free, -proof stay, since they decide what
is claimed. A stem need not be a word ("nois"); only equality matters.
"""

from __future__ import annotations

import re
from functools import lru_cache

_VOWEL = re.compile("[aeiouy]")
_SIBILANT = ("ches", "shes", "sses", "xes", "zes")
#: Shortest stem that an ending may leave behind.
SHORTEST = 3


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Return the stem of a lower-case English word; other words come back unchanged."""
    if len(word) <= SHORTEST or not word.isascii() or not word.isalpha():
        return word
    word = _without_plural(word)
    for ending in ("ation", "ing", "ed"):
        if word.endswith(ending):
            bare = word.removesuffix(ending)
            if len(bare) >= SHORTEST and _VOWEL.search(bare):
                return _bared(bare)
    if word.endswith("ly") and len(word) > 5:
        bare = word.removesuffix("ly").removesuffix("al")
        return bare[:-1] + "y" if bare.endswith("i") else bare
    return _without_e(word)


def _without_plural(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(_SIBILANT):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _bared(bare: str) -> str:
    """Mend what an ending did to its stem: "padd-ed", "insulat-ed", "dri-ed"."""
    if bare[-1] == bare[-2] and bare[-1] not in "aeiousz":
        return bare[:-1]
    if bare.endswith("at") and len(bare) > 5:
        return bare[:-2]
    return bare[:-1] + "y" if bare.endswith("i") else _without_e(bare)


def _without_e(word: str) -> str:
    return word[:-1] if word.endswith("e") and len(word) > SHORTEST else word
