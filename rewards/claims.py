"""Which facts a text claims, and which of them the item supports.

A *claim* is found by longest match of every fact phrase that the catalogue knows. What is left over
is checked word by word: a word must be ordinary (`rewards.words.ORDINARY`) or come from the item's
own title, brand, class or facts. A number counts only where it stands: inside its fact, or between
its neighbours in the title ("Aura 300 Watch" does not allow "300 hours"). A foreign word or number
is an unsupported claim without an aspect: an invention persuades nobody in the simulated shop, but
it is a lie all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.catalogue import Catalogue
from rewards.words import ORDINARY, is_number, tokens

Phrase = tuple[str, ...]


@dataclass(frozen=True)
class Claim:
    """One claim of a text."""

    #: Words of the claim, as matched.
    text: str
    #: Index of the aspect it belongs to; -1 for an invented word or number.
    aspect: int
    supported: bool


@dataclass(frozen=True)
class TextClaims:
    """All claims of one text about one item."""

    claims: tuple[Claim, ...]
    words: int

    @property
    def unsupported(self) -> int:
        """Number of claims that the item's facts do not support."""
        return sum(not claim.supported for claim in self.claims)

    @property
    def aspects(self) -> frozenset[int]:
        """Aspects that the text claims something about, truly or not."""
        return frozenset(claim.aspect for claim in self.claims if claim.aspect >= 0)


class ClaimChecker:
    """Finds claims in texts about the items of one catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.n_aspects = len(catalogue.aspects)
        aspect_of = {aspect: index for index, aspect in enumerate(catalogue.aspects)}
        #: Aspect of each known phrase, by its tokens.
        self._phrases: dict[Phrase, int] = {}
        #: The same for the phrases of each item: a phrase may mean another aspect elsewhere.
        self._supported: list[dict[Phrase, int]] = [{} for _ in range(catalogue.n_items)]
        items = catalogue.items
        names = [
            [tokens(name) for name in row]
            for row in zip(items["title"], items["brand"], items["class"])
        ]
        self._own_words = [{w for name in row for w in name if not is_number(w)} for row in names]
        #: Numbers of each item's names, with the words before and after ("" at an end).
        self._named_numbers = [{hit for name in row for hit in _numbers(name)} for row in names]
        facts = catalogue.facts
        for item_id, aspect, phrases in zip(facts["item_id"], facts["aspect"], facts["phrases"]):
            item = catalogue.item_position[item_id]
            for phrase in phrases:
                words = tuple(tokens(phrase))
                self._phrases[words] = aspect_of[aspect]
                self._supported[item].setdefault(words, aspect_of[aspect])
                # Numbers alone prove nothing: "30" of a 30-hour battery must not allow "30 years".
                self._own_words[item].update(w for w in words if not is_number(w))
        self._longest = max((len(words) for words in self._phrases), default=0)

    def check(self, item: int, text: str) -> TextClaims:
        """Return the claims of ``text`` about the item with index ``item``."""
        words = tokens(text)
        claims: list[Claim] = []
        start = 0
        while start < len(words):
            length = self._match(words, start, self._supported[item])
            if length:
                phrase = tuple(words[start : start + length])
                own = self._supported[item]
                aspect = own.get(phrase, self._phrases[phrase])
                claims.append(Claim(" ".join(phrase), aspect, phrase in own))
                start += length
                continue
            if not self._allowed(item, words, start):
                claims.append(Claim(words[start], -1, False))
            start += 1
        return TextClaims(tuple(claims), len(words))

    def _allowed(self, item: int, words: list[str], place: int) -> bool:
        """Whether a word outside any phrase claims nothing that the item does not say."""
        word = words[place]
        if word in ORDINARY or word in self._own_words[item]:
            return True
        around = (words[place - 1] if place else "", *words[place + 1 : place + 2], "")
        return any(
            number == word and before in ("", around[0]) and after in ("", around[1])
            for before, number, after in self._named_numbers[item]
        )

    def _match(self, words: list[str], start: int, own: dict[Phrase, int]) -> int:
        """Length of the longest phrase at ``start``; the item's own phrase wins over a foreign one.

        A one-word phrase of another item that is also an ordinary word is no claim.
        """
        limit = min(self._longest, len(words) - start)
        spans = [(n, tuple(words[start : start + n])) for n in range(limit, 0, -1)]
        longest = next((n for n, phrase in spans if phrase in self._phrases), 0)
        mine = next((n for n, phrase in spans if phrase in own), 0)
        if mine == longest:
            return mine
        if longest == 1 and words[start] in ORDINARY:
            return 0
        return longest


def _numbers(name: list[str]) -> list[tuple[str, str, str]]:
    """Return each number of a name as (word before, number, word after)."""
    padded = ["", *name, ""]
    return [
        (before, word, after)
        for before, word, after in zip(padded, name, padded[2:])
        if is_number(word)
    ]


def claim_matrix(
    checked: Sequence[TextClaims], n_aspects: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return claims (n, A) in {0, 1}, unsupported counts (n,) and word counts (n,), float32."""
    claims = np.zeros((len(checked), n_aspects), dtype=np.float32)
    for row, text in enumerate(checked):
        claims[row, list(text.aspects)] = 1
    unsupported = np.array([text.unsupported for text in checked], dtype=np.float32)
    words = np.array([text.words for text in checked], dtype=np.float32)
    return claims, unsupported, words


def claim_precision(checked: Sequence[TextClaims]) -> float:
    """Share of claims that are supported; 1 where nothing is claimed.

    A claim that a text states twice counts once: saying a truth again is no further truth, and a
    word stammered thirty times is one invention.
    """
    distinct = [set(text.claims) for text in checked]
    total = sum(map(len, distinct))
    wrong = sum(not claim.supported for claims in distinct for claim in claims)
    return 1.0 if not total else 1.0 - wrong / total
