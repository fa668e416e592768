"""What stands behind a supported claim: the row of the catalogue that a reader may be shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from envs.catalogue import Catalogue
from rewards.atoms import Key
from rewards.claims import Claim, TextClaims
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

    def __init__(self, catalogue: Catalogue) -> None:
        self._aspects = catalogue.aspects
        self._brands = catalogue.items["brand"].tolist()
        self._facts = Rows(catalogue, catalogue.facts, ("aspect", "key", "value", "phrases"))
        self._features = Rows(catalogue, catalogue.features, ("key", "value"))

    def behind(self, item: int, text: str, found: TextClaims) -> list[SupportedFact]:
        """Return what supports the claims of a text, in its order.

        Args:
            item: index of the item that the text is about.
            text: as it was checked.
            found: what `rewards.claims.ClaimChecker` found in it.
        """
        return [self._fact(item, text, claim) for claim in found.claims if claim.supported]

    def _rows(self, item: int, aspect: str) -> Iterator[_Row]:
        """Return what may stand behind a claim about an aspect, or about none."""
        if aspect:
            for own, key, value, phrases in self._facts.of(item):
                if own == aspect:
                    yield _Row(aspect, key, value, (*phrases, value))
        for key, value in self._features.of(item):
            yield _Row(
                "", key, value, (value,) if is_colour(key, value) else (flag_name(key), value)
            )
        yield _Row("", "brand", self._brands[item], (self._brands[item],))

    def _fact(self, item: int, text: str, claim: Claim) -> SupportedFact:
        aspect = self._aspects[claim.aspect] if claim.aspect >= 0 else ""
        said = set(lexed(claim.text)[1].keys)
        best, most = _Row(aspect, "", "", ()), 0.0
        for row in self._rows(item, aspect):
            likeness = _likeness(said, row)
            if likeness > most:
                best, most = row, likeness
            if most == 1 or (row.aspect != aspect and best.aspect == aspect and most):
                break  # nothing can be closer, or the aspect's own facts are through
        start, end = claim.span
        return SupportedFact(text[start:end], start, end, aspect, best.key, best.value)


def _likeness(said: set[Key], row: _Row) -> float:
    """Share of words and numbers that a claim and the best phrase of a row have in common."""
    known = [set(lexed(phrase)[1].keys) for phrase in row.phrases]
    return max(len(said & words) / max(len(said | words), 1) for words in known)
