"""Length and readability."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from sft.metrics.words import words_of

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_VOWELS = re.compile(r"[aeiouy]+")
#: A last e that is not heard: after a consonant, unless that is an l after a consonant ("able").
_SILENT = re.compile(r"(?:[^aeiouyl]|[aeiouy]l)e$")
#: An end mark, or several, before white space or the end: "4.5" ends no sentence.
_END = re.compile(r"[.!?]+(?=[\s\"')\]]|$)")
_CHINESE_END = re.compile(r"[。！？!?；;…]+")


def mean_length(token_lists: Sequence[Sequence[str]]) -> float:
    """Mean number of words (English) or characters (Chinese) of a text."""
    return sum(map(len, token_lists)) / len(token_lists)


@lru_cache(maxsize=2**16)
def syllables(word: str) -> int:
    """Estimate the syllables of a lower-case English word.

    Groups of vowels count, a silent last e does not; at least one.
    """
    return max(len(_VOWELS.findall(word)) - bool(_SILENT.search(word)), 1)


def flesch_reading_ease(texts: Sequence[str]) -> float:
    """Flesch reading ease of all texts together (Flesch 1948); higher reads easier, 60-70 is plain.

    206.835 - 1.015 · words/sentence - 84.6 · syllables/word, with estimated syllables; numbers are
    left out. A text without an end mark is one sentence. 0 where there is no word.
    """
    words = sentences = parts = 0
    for text in texts:
        found = _WORD.findall(text.lower())
        if found:
            words += len(found)
            parts += sum(map(syllables, found))
            sentences += _sentences(text, _END)
    return 206.835 - 1.015 * words / sentences - 84.6 * parts / words if words else 0.0


def characters_per_sentence(texts: Sequence[str]) -> float:
    """Mean characters (and Latin words) of a Chinese sentence; lower reads easier."""
    counts = [(len(words_of(text, "zh")), _sentences(text, _CHINESE_END)) for text in texts]
    sentences = sum(s for c, s in counts if c)
    return sum(c for c, _ in counts) / sentences if sentences else 0.0


def _sentences(text: str, end: re.Pattern[str]) -> int:
    """Pieces between end marks that hold a letter or a number; at least one."""
    return max(sum(any(c.isalnum() for c in piece) for piece in end.split(text)), 1)
