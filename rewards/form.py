"""The form of a reason: its words with what it says of the item taken out.

Naturalness and variety are about how a reason is worded. They must not learn which facts pay: so
every claim becomes one mark, and so does every number that is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rewards.claims import TextClaims
from rewards.words import is_number, tokens

#: Stands for a claim, for a number, and for either end of the text.
FACT, NUMBER, END = "\u00a4", "0", "\u00b6"
#: Claims that are a matter of wording: a word that nobody knows, praise, a comparison.
_WORDED = frozenset({"unknown", "superlative", "comparison"})


def form(text: str, claims: TextClaims) -> str:
    """Return the words of a text, parted by spaces, with marks for claims and numbers.

    "Pick it for its two-day battery." becomes "¶ pick it for its ¤ ¶"; Chinese characters are words
    of their own.
    """
    words = [END]
    place = 0
    for start, end in sorted(c.span for c in claims.claims if c.kind not in _WORDED):
        if start >= place:
            words += [*_plain(text[place:start]), FACT]
            place = end
    return " ".join([*words, *_plain(text[place:]), END])


def forms(texts: Sequence[str], checked: Sequence[TextClaims]) -> list[str]:
    """Return the form of each text."""
    return [form(text, claims) for text, claims in zip(texts, checked, strict=True)]


def word_pairs(shape: str) -> list[tuple[str, str]]:
    """Return the neighbouring words of a form, its ends included, in order."""
    return list(pairwise(shape.split(" ")))


def _plain(text: str) -> list[str]:
    return [NUMBER if is_number(word) else word for word in tokens(text)]
