"""Text as words: one normal form, tokens with their places, and what counts as a number."""

from __future__ import annotations

import re
import unicodedata

from rewards.lexicon import lexicon

#: Chinese characters: each is a token of its own, because Chinese writes no spaces.
CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
#: A Chinese character; or a word or number, joined inside by . , ' / + or -, with a unit sign.
_TOKEN = re.compile(rf"[{CJK}]|[^\W_{CJK}]+(?:[.,'/+\-][^\W_{CJK}]+)*[%°+\"]?|%")
_CJK = re.compile(f"[{CJK}]")
_INVISIBLE = {"Cf", "Cc"}
#: Characters that keep their own form: a full-width comma parts words that a plain one may join.
_KEPT = {"\u2019": "'", "，": "，"}

#: English words that state nothing about an item; everything else must come from the item.
ORDINARY = lexicon("en").ordinary
_NUMBER_WORDS_TEXT = """
    one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty
    seventy eighty ninety hundred thousand million half double dual triple
"""
_NUMBER_WORDS = frozenset(_NUMBER_WORDS_TEXT.split())


class _Folds(dict[int, str]):
    """Normal form of each character, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if char.isspace():
            # A line break or tab is a control character too, but it parts words.
            folded = " "
        elif char in _KEPT:
            folded = _KEPT[char]
        else:
            wide = unicodedata.normalize("NFKC", char)
            folded = "".join(
                " " if c.isspace() else c for c in wide if unicodedata.category(c) not in _INVISIBLE
            ).lower()
        self[code] = folded
        return folded


_FOLDS = _Folds()


def normalise(text: str) -> str:
    """NFKC, lower case, without invisible characters: look-alikes of a word become that word."""
    if text.isascii() and text.isprintable():
        return text.lower()
    return unicodedata.normalize("NFC", text).translate(_FOLDS)


def origins(text: str) -> list[int] | None:
    """Return, for each character of ``normalise(text)``, its place in ``text``.

    None means that both run in step. The list has one more entry, the end of the text.
    """
    if text.isascii() and text.isprintable():
        return None
    if all(len(_FOLDS[ord(char)]) == 1 for char in text) and len(normalise(text)) == len(text):
        return None
    places: list[int] = []
    start = 0
    for end in range(1, len(text) + 1):
        # Combining marks join the character before them, so they are folded with it.
        if end == len(text) or not unicodedata.combining(text[end]):
            places += [start] * len(normalise(text[start:end]))
            start = end
    return [*places, len(text)]


def tokens(text: str) -> list[str]:
    """Return the words and numbers of a text, normalised; a Chinese character is a word."""
    return _TOKEN.findall(normalise(text))


def token_places(folded: str) -> list[tuple[int, int]]:
    """Return start and end of each token in a text that `normalise` has folded."""
    return [match.span() for match in _TOKEN.finditer(folded)]


def is_chinese(text: str) -> bool:
    """True if a text holds a Chinese character."""
    return _CJK.search(text) is not None


def word_count(words: list[str]) -> int:
    """Length of a tokenised text in words; two Chinese characters make about one word."""
    chinese = sum(len(word) == 1 and word > "\u33ff" for word in words)
    return len(words) - chinese + (chinese + 1) // 2


def is_number(word: str) -> bool:
    """True for a token that starts with a number, in digits or spelled: "30-hour", "two-year"."""
    return word[0].isdigit() or word.split("-")[0] in _NUMBER_WORDS
