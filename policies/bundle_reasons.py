"""The reasons of a bundle: the book's text for an item and a segment, and what it rests on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pyarrow as pa

from envs.observation import ItemFacts
from rewards.evidence import SupportedFact


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

    def __init__(self, table: pa.Table, facts: ItemFacts) -> None:
        #: Observable features of all items and of these reasons.
        self.facts = facts
        self._table = table
        names, segments = table["item_id"].to_pylist(), table["segment"].to_pylist()
        self._place = {pair: at for at, pair in enumerate(zip(names, segments))}
        # Filled as reasons are shown; two threads that meet here do the same work twice.
        self._shown: dict[int, ShownReason] = {}

    @property
    def items(self) -> int:
        """How many items have a reason for somebody."""
        return len({item for item, _ in self._place})

    def of(self, item_id: str, segment: int) -> ShownReason:
        """Return the reason beside an item for a segment; `NO_REASON` where the book has none."""
        at = self._place.get((item_id, segment))
        if at is None:
            return NO_REASON
        found = self._shown.get(at)
        if found is None:
            (row,) = self._table.slice(at, 1).to_pylist()
            found = self._shown[at] = ShownReason(
                row["text"],
                row["source"],
                reason_id(item_id, segment, row["text"]),
                tuple(row["claims"]),
                tuple(SupportedFact(**fact) for fact in row["facts"]),
            )
        return found
