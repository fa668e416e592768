"""Text from outside: without the prompt's marks, and cut to a budget between whole parts.

Lengths are in words; two Chinese characters count as one, since Chinese writes no spaces.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat

from rewards.words import CJK, tokens, word_count

#: Marks of facts in the order of telling; no catalogue writes them, and `clean` makes sure of it.
ORDINALS = "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳"
_DELIMITERS = re.compile(rf"[|\n\r\t{ORDINALS}]+|->|[:<>]")
#: Where a text may be cut: after a sentence, after a clause, between words or Chinese characters.
_BORDERS = (
    re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；…])"),
    re.compile(r"(?<=,)\s+|(?<=[，、])"),
    re.compile(rf"\s+|(?<=[{CJK}])(?=[{CJK}])"),
)
#: Ends of sentences, for texts as a list of them.
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])\s*|[\n\r]+")


def clean(text: str) -> str:
    """Return outside text without the prompt's delimiters, so that it cannot pose as one."""
    return " ".join(_DELIMITERS.sub(" ", text).split())


def ordinals() -> Iterator[str]:
    """Return the marks ①, ②, ... of facts; those beyond the twentieth share the last one."""
    return chain(ORDINALS, repeat(ORDINALS[-1]))


def length(text: str) -> int:
    """Return the length of a text in words; two Chinese characters make one."""
    return word_count(tokens(text))


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, each with its end mark, none empty."""
    return [part.strip() for part in _SENTENCE.split(text) if part.strip()]


def shorten(text: str, budget: int) -> str:
    """Return the longest beginning of at most ``budget`` words that ends where a sentence does.

    Where the first sentence is too long already, the cut comes after a clause, and only in a clause
    that is too long between two words.
    """
    text = text.strip()
    if length(text) <= budget:
        return text
    for border in _BORDERS:
        ends = [match.start() for match in border.finditer(text)]
        # The length grows with the end, so the last end that fits is found by halving.
        fitting = bisect_right(ends, budget, key=lambda end: length(text[:end]))
        if fitting and ends[fitting - 1] > 0:
            return text[: ends[fitting - 1]].rstrip(" ,，、")
    return ""


def leading(parts: Iterable[str], budget: int) -> list[str]:
    """Return the parts that fit into ``budget`` words, the first ones first, each whole.

    A part that does not fit is left out; a shorter one after it may still find room.
    """
    kept = []
    for part in parts:
        size = length(part)
        if size <= budget:
            kept.append(part)
            budget -= size
    return kept


def line(parts: Sequence[str], task: Mapping[str, str] | None = None, locale: str = "en") -> str:
    """Return the prompt of these fields: ``field | field | task ->``."""
    shown = [part for part in parts if part]
    return " | ".join([*shown, task[locale]] if task else shown) + " ->"
