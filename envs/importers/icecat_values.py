"""Readers: how one raw Icecat value becomes a phrase a person would say.

Icecat writes values without units, as numbers, "Y"/"N" flags, lists or free text. A *reader* turns
one raw value into a ``Reading``, or into ``None`` where the value is nonsense, absent ("N/A") or
ambiguous: no fact is better than a wrong one. Here are the readers that serve many keys; those of
one quantity are in ``icecat_units``, those of names in ``icecat_names``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

#: Longest value, in characters, that is quoted in a phrase; longer ones are sentences.
LONGEST_VALUE = 30

ABSENT = frozenset(
    {
        *("n/a", "na", "n", "none", "no", "not available", "not supported", "unspecified"),
        *("unknown", "false", "other", "-", ""),
    }
)
PRESENT = frozenset({"true", "y", "yes"})


@dataclass(frozen=True)
class Product:
    """What a reader may look at beside the value itself."""

    #: Product class, as in the file.
    kind: str
    #: Title and description in lower case: they often state the unit that a value lacks.
    text: str
    #: Cleaned features by key.
    features: Mapping[str, str]


@dataclass(frozen=True)
class Reading:
    """One value as phrases (the first is canonical) and, if it can be compared, a number."""

    phrases: tuple[str, ...]
    amount: float | None = None


Reader = Callable[[str, Product], Reading | None]


def plain_number(value: str) -> float | None:
    """Return the number a value consists of, or ``None``."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def tidy(number: float, digits: int = 4) -> str:
    """Write a number as a person would: 3 not 3.0, 2,500 not 2500.0, ``digits`` significant."""
    if number >= 1000:
        return f"{round(number):,}"
    return f"{float(f'{number:.{digits}g}'):g}"


def amount(*templates: str, low: float, high: float, scale: float = 1.0, digits: int = 4) -> Reader:
    """Read a number; ``{n}`` in a template is the number times ``scale`` ("2,500").

    ``{p}`` is the same without the comma, as is usual before MHz and dpi.

    Numbers outside ``[low, high]`` (in the raw unit) are absurd or of another unit: no reading.
    """

    def read(value: str, product: Product) -> Reading | None:
        number = plain_number(value)
        if number is None or not low <= number <= high:
            return None
        n = tidy(number * scale, digits)
        p = n.replace(",", "")
        return Reading(tuple(template.format(n=n, p=p) for template in templates), number)

    return read


def flag(*phrases: str) -> Reader:
    """Read a true boolean; a false one is no fact."""

    def read(value: str, product: Product) -> Reading | None:
        return Reading(phrases) if value.lower() in PRESENT else None

    return read


def choice(known: Mapping[str, str]) -> Reader:
    """Read a value whose lower case starts with a known beginning (first match wins)."""

    def read(value: str, product: Product) -> Reading | None:
        lowered = value.lower()
        for beginning, phrase in known.items():
            if lowered.startswith(beginning):
                return Reading((phrase,))
        return None

    return read


def words(template: str, *, lower: bool = False) -> Reader:
    """Read a short single value as it stands; a list counts as absent unless it has one member."""

    def read(value: str, product: Product) -> Reading | None:
        text = re.sub(r"\s*\([^)]*\)", "", value).strip(" .;-*")
        if text.lower() in ABSENT or text.lower() in PRESENT or len(text) > LONGEST_VALUE:
            return None
        if re.search(r"[,;:|_\n]", text) or not re.search("[A-Za-z]", text):
            return None
        return Reading((template.format(v=text.lower() if lower else text),))

    return read


NUMBER_WORDS = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def counted(one: str, many: str, *, most: int = 96, least: int = 1) -> Reader:
    """Read a whole number of things: "HDMI port", "two HDMI ports", "24 HDMI ports"."""

    def read(value: str, product: Product) -> Reading | None:
        number = plain_number(value)
        if number is None or not least <= number <= most or number != int(number):
            return None
        n = int(number)
        said = NUMBER_WORDS[n] if n < len(NUMBER_WORDS) else f"{n:,}"
        return Reading((one if n == 1 else f"{said} {many}",), float(n))

    return read
