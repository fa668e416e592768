"""What stands behind a supported claim: the row of the catalogue that a reader may be shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from envs.catalogue import Catalogue
from rewards.atoms import Key
from rewards.claims import Claim, ClaimChecker
from rewards.knowledge import Rows, flag_name, is_colour, lexed


@dataclass(frozen=True)
class SupportedFact:
    """A claim of a text that its item supports, and what supports it."""

    #: Words of the text as they stand there, and where: ``text[start:end]``.
    phrase: str
    start: int
    end: int
    #: Name of the aspect; "" for what belongs to none.
    aspect: str
    #: Of the catalogue's fact or feature; "" where only the item's own names say so.
    key: str
    value: str


@dataclass(frozen=True)
class _Row:
    """A fact or feature, and the phrases that a claim about it may use."""

    aspect: str
    key: str
    value: str
    phrases: tuple[str, ...]


class Evidence:
    """Finds the facts behind the claims of texts about one catalogue's items."""

    def __init__(self, catalogue: Catalogue, checker: ClaimChecker) -> None:
        self._checker = checker
        self._aspects = catalogue.aspects
        self._brands = catalogue.items["brand"].tolist()
        self._facts = Rows(catalogue, catalogue.facts, ("aspect", "key", "value", "phrases"))
        self._features = Rows(catalogue, catalogue.features, ("key", "value"))

    def of(self, item: int, text: str) -> tuple[SupportedFact, ...]:
        """Return the supported claims of a text about the item with index ``item``, in order."""
        claims = [claim for claim in self._checker.check(item, text).claims if claim.supported]
        rows = list(self._rows(item)) if claims else []
        return tuple(self._fact(text, claim, rows) for claim in claims)

    def _rows(self, item: int) -> Iterator[_Row]:
        for aspect, key, value, phrases in self._facts.of(item):
            yield _Row(aspect, key, value, (*phrases, value))
        for key, value in self._features.of(item):
            yield _Row("", key, value, (value,) if is_colour(key) else (flag_name(key), value))
        yield _Row("", "brand", self._brands[item], (self._brands[item],))

    def _fact(self, text: str, claim: Claim, rows: list[_Row]) -> SupportedFact:
        aspect = self._aspects[claim.aspect] if claim.aspect >= 0 else ""
        own = [row for row in rows if row.aspect == aspect] if aspect else rows
        said = set(lexed(claim.text)[1].keys)
        best = max(own, key=lambda row: _likeness(said, row), default=None)
        if best is None or not _likeness(said, best):
            best = _Row(aspect, "", "", ())
        start, end = claim.span
        return SupportedFact(text[start:end], start, end, aspect, best.key, best.value)


def _likeness(said: set[Key], row: _Row) -> float:
    """Share of words and numbers that a claim and the best phrase of a row have in common."""
    known = [set(lexed(phrase)[1].keys) for phrase in row.phrases]
    return max(len(said & words) / max(len(said | words), 1) for words in known)
