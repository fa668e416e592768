"""A text as atoms: what phrases are compared by.

An atom is a stemmed word, a Chinese character, a bare number ``("#", 2.0)`` or a whole quantity
``("mass", 90.0)``. Phrases that differ in inflection, hyphens, number format or unit ("30 hour
batteries", "90 g" and "0.09 kg") have the same atoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rewards.inflection import stem
from rewards.quantities import (
    CHINESE_NUMERALS,
    LONGEST_CHINESE,
    NUMBER_WORDS,
    TWO_WORD_UNITS,
    UNITS,
    Quantity,
    quantity,
    read_chinese,
    read_number,
    split_number,
)

Key = str | tuple[str, float]

_ARTICLES = ("a", "an")
#: Most tokens that one number with its unit takes (百分之三十五, 1200个小时).
_LONGEST_JOIN = 10

#: Words between a Chinese number and what it counts.
_CLASSIFIERS = [[c] for c in "个只条块台种层支枚"]


@dataclass(frozen=True)
class Atoms:
    """The atoms of a text; all lists but ``quantities`` have one entry an atom."""

    keys: list[Key]
    #: Index of the first token of each atom, and one past its last.
    first: list[int]
    last: list[int]
    #: The quantity of an atom, by its index.
    quantities: dict[int, Quantity]


@dataclass(frozen=True)
class _Token:
    """What a token is by itself."""

    #: Its parts between hyphens, a number and its unit apart.
    parts: tuple[str, ...]
    #: Its atoms, and the quantities among them by place; None if it may join the next token.
    keys: tuple[Key, ...] | None
    quantities: tuple[tuple[int, Quantity], ...] = ()


@lru_cache(maxsize=65_536)
def _token(token: str) -> _Token:
    parts = _parts(token)
    if len(parts) == 1 and not _may_count(parts[0]):
        return _Token(parts, (stem(parts[0]),))
    keys: list[Key] = []
    quantities: list[tuple[int, Quantity]] = []
    at = 0
    while at < len(parts):
        key, found, end = _read(parts, at)
        # What ends in a number without a unit may find it in the next token.
        if end == len(parts) and found is None and _may_count(parts[-1]):
            return _Token(parts, None)
        if found is not None:
            quantities.append((len(keys), found))
        keys.append(key)
        at = end
    return _Token(parts, tuple(keys), tuple(quantities))


def _parts(token: str) -> tuple[str, ...]:
    if token in UNITS:
        return (token,)
    found: list[str] = []
    for part in token.replace("/", "-").split("-"):
        number = split_number(part)
        if number is not None and number[1] in UNITS:
            found += number
        elif part:
            found.append(part)
    return tuple(found)


def _may_count(part: str) -> bool:
    """Whether a part may be (the end of) a number."""
    return part[0].isdigit() or part in NUMBER_WORDS or part in CHINESE_NUMERALS


def atoms(words: Sequence[str]) -> Atoms:
    """Return the atoms of a tokenised text."""
    keys: list[Key] = []
    first: list[int] = []
    last: list[int] = []
    quantities: dict[int, Quantity] = {}
    place = 0
    while place < len(words):
        word = words[place]
        token = _token(word)
        counted = word in _ARTICLES and place + 1 < len(words) and words[place + 1] in UNITS
        if token.keys is None or counted:
            place = _joined(words, place, keys, first, last, quantities)
            continue
        for at, quantity_ in token.quantities:
            quantities[len(keys) + at] = quantity_
        keys += token.keys
        first += [place] * len(token.keys)
        place += 1
        last += [place] * len(token.keys)
    return Atoms(keys, first, last, quantities)


def _joined(
    words: Sequence[str], place: int, keys: list[Key], first: list[int], last: list[int],
    quantities: dict[int, Quantity],
) -> int:  # fmt: skip
    """Append the atoms of a token that may join those after it; return the token to go on with."""
    parts: list[str] = []
    places: list[int] = []
    for index in range(place, min(place + _LONGEST_JOIN, len(words))):
        split = _token(words[index]).parts
        parts += split
        places += [index] * len(split)
    at = 0
    while at < len(parts) and places[at] == place:
        key, found, end = _read(parts, at)
        if found is not None:
            quantities[len(keys)] = found
        keys.append(key)
        first.append(places[at])
        last.append(places[end - 1] + 1)
        at = end
    # A number may have taken the beginning of a token ("30 hour-long"): its rest is read, too.
    while at < len(parts) and at and places[at] == places[at - 1]:
        keys.append(stem(parts[at]))
        first.append(places[at])
        last.append(places[at] + 1)
        at += 1
    return places[at - 1] + 1


def _read(parts: Sequence[str], at: int) -> tuple[Key, Quantity | None, int]:
    """Read one atom at ``at``: its key, its quantity if it is one, and where it ends."""
    word: tuple[Key, None, int] = (stem(parts[at]), None, at + 1)
    if list(parts[at : at + 3]) == ["百", "分", "之"]:
        share, _, end = _number(parts, at + 3)
        if share is None:
            return word
        found = quantity(share, "%")
        return found.key, found, end
    value, written, after = _number(parts, at)
    if value is None:
        return word
    unit, end = _unit(parts, after)
    if unit:
        found = quantity(value, unit, written)
        return found.key, found, end
    if parts[at] in _ARTICLES:
        return word
    # 一款, 四麦: a Chinese numeral that counts nothing is a character like others.
    if parts[at] in CHINESE_NUMERALS and list(parts[after : after + 1]) not in _CLASSIFIERS:
        return word
    return ("#", value), None, after


def _number(parts: Sequence[str], at: int) -> tuple[float | None, str, int]:
    """Read a number at ``at``: its value, its digits as written, and where it ends."""
    part = parts[at] if at < len(parts) else ""
    if part[:1].isdigit():
        return read_number(part), part, at + 1
    if part in _ARTICLES:
        return 1.0, "", at + 1
    if part in NUMBER_WORDS:
        value = NUMBER_WORDS[part]
        following = NUMBER_WORDS.get(parts[at + 1], 0.0) if at + 1 < len(parts) else 0.0
        if value >= 20 and 0 < following < 10:
            return value + following, "", at + 2
        return value, "", at + 1
    end = at
    while end < len(parts) and parts[end] in CHINESE_NUMERALS:
        # 2千克: the unit begins with a numeral.
        if end > at and _unit(parts, end)[0]:
            break
        end += 1
    return read_chinese("".join(parts[at:end])), "", end


def _unit(parts: Sequence[str], at: int) -> tuple[str, int]:
    """Read a unit at ``at``: its name ("" if there is none) and where it ends."""
    if at >= len(parts):
        return "", at
    pair = (parts[at], parts[at + 1] if at + 1 < len(parts) else "")
    if pair in TWO_WORD_UNITS:
        return TWO_WORD_UNITS[pair], at + 2
    if parts[at] in UNITS and parts[at].isascii():
        return parts[at], at + 1
    # 30个小时: a classifier may stand before the unit.
    for start in (at, at + 1) if parts[at] == "个" else (at,):
        for length in range(min(LONGEST_CHINESE, len(parts) - start), 0, -1):
            name = "".join(parts[start : start + length])
            if name in UNITS and not name.isascii():
                return name, start + length
    return "", at
