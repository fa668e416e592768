"""The reasons of a bundle: the book's text for an item and a segment, and what it rests on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.catalogue import Catalogue
from envs.observation import ItemFacts
from envs.shoppers import Profiles
from policies.reasoner.book import ReasonBook, Writer, prompts_for
from rewards.claims import ClaimChecker
from rewards.evidence import Evidence, SupportedFact
from rewards.guards import veto

I64 = NDArray[np.int64]


@dataclass(frozen=True)
class ShownReason:
    """A reason beside an item."""

    text: str
    #: `model`, `fallback`, `live` or `none`.
    source: str
    #: ITEM/SEGMENT/first 8 hex digits of the text's SHA-256; "" without a text.
    reason_id: str
    claims: tuple[str, ...]
    facts: tuple[SupportedFact, ...]


NO_REASON = ShownReason("", "none", "", (), ())


def reason_id(item_id: str, segment: int, text: str) -> str:
    """Return a name of a reason that stays the same as long as its text does."""
    return f"{item_id}/{segment}/{hashlib.sha256(text.encode()).hexdigest()[:8]}"


class Reasons:
    """The reasons of one book, and the features that the ranker sees of them."""

    def __init__(self, book: ReasonBook, facts: ItemFacts, evidence: Evidence) -> None:
        #: Observable features of all items and of these reasons.
        self.facts = facts
        table = book.table
        columns = [table[name].tolist() for name in ("item_id", "segment", "text", "source")]
        self._rows = list(zip(*columns, map(tuple, table["claims"])))
        self._place = {(row[0], int(row[1])): at for at, row in enumerate(self._rows)}
        self._evidence = evidence
        # Filled as reasons are shown; two threads that meet here do the same work twice.
        self._shown: dict[int, ShownReason] = {}

    def of(self, item: int, item_id: str, segment: int) -> ShownReason:
        """Return the reason beside an item for a segment; `NO_REASON` where the book has none."""
        at = self._place.get((item_id, segment))
        if at is None:
            return NO_REASON
        found = self._shown.get(at)
        if found is None:
            _, _, text, source, claims = self._rows[at]
            facts = self._evidence.of(item, text)
            found = ShownReason(text, source, reason_id(item_id, segment, text), claims, facts)
            self._shown[at] = found
        return found


@dataclass(frozen=True)
class LiveReasons:
    """The language model at work, and the guard of what it writes."""

    write: Writer
    checker: ClaimChecker
    evidence: Evidence
    catalogue: Catalogue
    profiles: Profiles

    def of(self, items: Sequence[int], segment: int) -> list[ShownReason | None]:
        """Write a reason beside each item; None where the guard does not let it be shown."""
        ids = self.catalogue.items["item_id"].to_numpy()
        which = np.asarray(items, dtype=np.int64)
        segments = np.full(len(which), segment)
        texts = self.write(prompts_for(self.catalogue, self.profiles, which, segments))
        return [self._guarded(item, ids[item], segment, text) for item, text in zip(which, texts)]

    def _guarded(self, item: int, item_id: str, segment: int, text: str) -> ShownReason | None:
        text = text.strip()
        found = self.checker.check(int(item), text)
        if veto(text, found) is not None:
            return None
        claims = tuple(claim.text for claim in found.claims)
        facts = self.evidence.of(int(item), text)
        return ShownReason(text, "live", reason_id(item_id, segment, text), claims, facts)
