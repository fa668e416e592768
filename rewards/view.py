"""One text beside one item: its words, its atoms, and what of them the item or the shop knows."""

from __future__ import annotations

import re
from typing import NamedTuple

from rewards.atoms import atoms
from rewards.inflection import stem
from rewards.knowledge import ItemKnowledge, Phrase, ShopKnowledge
from rewards.lexicon import Lexicon
from rewards.words import is_chinese, normalise, token_places

_BREAK = re.compile(r"[.,;:!?()|\u2013\u2014。，、；：！？]")
#: Rule of a claim that states a fact less exactly than the item does.
PART = "part of a fact"
#: Longest Chinese word of the lists and names that is looked for.
LONGEST_WORD = 8
#: "More", before what it raises: 更方便.
RAISING = "更"


class Finding(NamedTuple):
    """A claim in terms of atoms, ``start`` to ``end`` (excluded)."""

    start: int
    end: int
    kind: str
    aspect: int
    supported: bool
    rule: str


class View:
    """A text and an item, with the questions that the rules of claims ask about them."""

    def __init__(self, text: str, item: ItemKnowledge, shop: ShopKnowledge, words: Lexicon) -> None:
        self.item, self.shop, self.lexicon = item, shop, words
        self.folded = normalise(text)
        self.places = token_places(self.folded)
        self.words = [self.folded[start:end] for start, end in self.places]
        form = atoms(self.words)
        self.keys, self.first, self.last = form.keys, form.first, form.last
        self.quantities = form.quantities
        self.size = len(form.keys)
        self.chinese = not self.folded.isascii() and is_chinese(self.folded)
        #: The Chinese character of each atom, a blank for others; empty for a text without any.
        self.characters = ""
        if self.chinese:
            self.characters = "".join(
                key if isinstance(key, str) and is_chinese(key) else " " for key in form.keys
            )

    def word(self, at: int) -> str:
        """Return the token that atom ``at`` begins with; "" beyond the text."""
        return self.words[self.first[at]] if 0 <= at < self.size else ""

    def after_word(self, at: int) -> int:
        """Return the first atom after the token that atom ``at`` is in."""
        token = self.first[at]
        while at < self.size and self.first[at] == token:
            at += 1
        return at

    def broken(self, at: int) -> bool:
        """Whether punctuation parts atom ``at`` from the one before it."""
        if at <= 0 or at >= self.size:
            return True
        token = self.first[at]
        gap = self.folded[self.places[token - 1][1] : self.places[token][0]] if token else " "
        return gap not in ("", " ") and _BREAK.search(gap) is not None

    def match(self, at: int) -> Finding | None:
        """Return the longest phrase at ``at``; the item's own wins over a foreign one.

        A one-word phrase of another item that is also an ordinary word is no claim, and neither is
        a colour, brand or feature that the item's own names hold.
        """
        keys, shop, item = self.keys, self.shop, self.item
        longest = own = 0
        left = self.size - at
        for length in shop.lengths.get(keys[at], ()):
            if length > left:
                continue
            phrase = tuple(keys[at : at + length])
            if phrase in shop.phrases:
                longest = longest or length
                if phrase in item.facts or phrase in item.colours or item.flags.get(phrase):
                    own = length
                    break
        end = 0
        for length in item.end_lengths.get(keys[at], ()):
            if own < length <= left and tuple(keys[at : at + length]) in item.ends:
                end = length
                break
        if max(own, end) and max(own, end) >= longest:
            return self._own(at, own, end)
        if not longest:
            return None
        return self._foreign(at, longest)

    def _own(self, at: int, own: int, end: int) -> Finding:
        if end > own:
            aspect = self.item.ends[tuple(self.keys[at : at + end])]
            return Finding(at, at + end, "fact", aspect, True, PART)
        phrase = tuple(self.keys[at : at + own])
        if phrase in self.item.facts:
            aspect = self.item.facts[phrase]
            return Finding(at, at + own, "fact", aspect, True, "states a fact")
        kind = "colour" if phrase in self.item.colours else "feature"
        # Another item's fact may say the same as this item's feature: then its aspect is known.
        _, aspect = self.shop.phrases[phrase]
        return Finding(at, at + own, kind, aspect, True, "states a feature")

    def _foreign(self, at: int, length: int) -> Finding | None:
        phrase = tuple(self.keys[at : at + length])
        kind, aspect = self.shop.phrases[phrase]
        if length == 1 and self.word(at) in self.lexicon.ordinary:
            return None
        if kind != "fact" and phrase not in self.item.flags and self._named(phrase):
            return None
        rule = {
            "fact": "fact of another item",
            "feature": "feature that the item lacks",
            "colour": "another colour",
            "brand": "another brand",
        }[kind]
        return Finding(at, at + length, kind, aspect, False, rule)

    def _named(self, phrase: Phrase) -> bool:
        """Whether the item's own names and facts hold the words of a phrase."""
        characters = [key for key in phrase if isinstance(key, str) and is_chinese(key)]
        if len(characters) == len(phrase):
            return "".join(characters) in self.item.runs
        return all(key in self.item.words for key in phrase)

    def named(self, key: object) -> bool:
        """Whether a word stands in the item's title, brand or class (not only in its facts)."""
        return key in self.item.names

    def plain(self, at: int) -> int:
        """Return the end of an ordinary or own word at ``at``, or ``at`` if there is none."""
        if self.characters[at : at + 1].strip():
            return at + self._chinese(at)
        word = self.word(at)
        # A phrase may have ended inside a hyphenated word: then its rest is looked at.
        whole = at == 0 or self.first[at - 1] != self.first[at]
        lexicon, own = self.lexicon.ordinary, self.item.words
        if whole and (word in lexicon or word in own or stem(word) in own):
            return self.after_word(at)
        key = self.keys[at]
        if (not whole or "-" in word) and isinstance(key, str) and (key in lexicon or key in own):
            return at + 1
        return at

    def _chinese(self, at: int) -> int:
        """Return the length of the longest ordinary or own Chinese word at ``at``."""
        run = self.characters[at : at + LONGEST_WORD]
        raised = run.startswith(RAISING)
        for length in range(len(run), 0, -1):
            # What claims nothing (方便, 安心) claims nothing when it is raised either.
            if raised and length > 2 and run[1:length] in self.lexicon.ordinary:
                return length
            if run[:length] in self.lexicon.ordinary or run[:length] in self.item.runs:
                return length
        return 0

    def listed(self, at: int, words: frozenset[str]) -> int:
        """Return the end of the longest entry of a word list at ``at``, or ``at``."""
        run = self.characters[at : at + LONGEST_WORD]
        if not run[:1].strip():
            return self.after_word(at) if self.word(at) in words else at
        for length in range(len(run), 0, -1):
            if run[:length] in words:
                return at + length
        return at
