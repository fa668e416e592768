"""Words of a text, for metrics: ROUGE's words in English, characters in Chinese."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LATIN = re.compile(r"[a-z0-9]+")
#: The blocks of Han characters; in Chinese each is a word of its own.
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_CHINESE = re.compile(f"[a-z0-9]+|[{_HAN}]")
_HAN_ONLY = re.compile(f"[{_HAN}]")

#: A language takes this share of Han letters to be called Chinese: Chinese copy quotes brands.
_CHINESE_SHARE = 0.3


def words_of(text: str, locale: str) -> list[str]:
    """Return the words of a text, lower-cased, without punctuation.

    English (``en``): runs of a-z and 0-9, which is what the package rouge-score calls words.
    Chinese (``zh``): every Han character, and runs of a-z and 0-9 (full-width ones too); the
    package's own words would be none at all.
    """
    if locale == "zh":
        return _CHINESE.findall(unicodedata.normalize("NFKC", text).lower())
    return _LATIN.findall(text.lower())


def locale_of(texts: Iterable[str]) -> str:
    """Return ``zh`` where Han characters are a third or so of all letters, else ``en``."""
    letters = [c for text in texts for c in text if c.isalpha()]
    han = len(_HAN_ONLY.findall("".join(letters)))
    return "zh" if han > _CHINESE_SHARE * len(letters) else "en"


@dataclass(frozen=True)
class Encoded:
    """n token sequences end to end."""

    #: Token numbers of all sequences, (T,) uint32.
    tokens: NDArray[np.uint32]
    #: Where each sequence starts, and the end of the last, (n + 1,) int64.
    starts: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each sequence, (n,) int64."""
        return np.diff(self.starts)


def _starts(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


class Vocabulary:
    """Numbers the words of texts; a text met before, such as a shuffled one, is not split again."""

    def __init__(self, split: Callable[[str], list[str]]) -> None:
        """Use ``split`` to get the words of a text."""
        self._split = split
        self._numbers: dict[str, int] = {}
        self._known: dict[str, NDArray[np.uint32]] = {}

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Return the word numbers of n texts."""
        parts = [self._encode(text) for text in texts]
        return Encoded(np.concatenate(parts), _starts([len(part) for part in parts]))

    def _encode(self, text: str) -> NDArray[np.uint32]:
        if text not in self._known:
            numbers = self._numbers
            found = [numbers.setdefault(word, len(numbers)) for word in self._split(text)]
            self._known[text] = np.array(found, dtype=np.uint32)
        return self._known[text]


def encode_characters(texts: Sequence[str]) -> Encoded:
    """Return the code points of texts without their white space."""
    bare = ["".join(text.split()) for text in texts]
    # JSON can hold half of a surrogate pair; a strict encoder would stop at it.
    flat = "".join(bare).encode("utf-32-le", "surrogatepass")
    return Encoded(np.frombuffer(flat, dtype=np.uint32), _starts([len(text) for text in bare]))
