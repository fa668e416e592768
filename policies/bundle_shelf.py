"""What a bundle answers with: a shelf, its items, and how likely each was to stand there."""

from __future__ import annotations

from dataclasses import dataclass

from envs.catalogue import Catalogue
from rewards.evidence import SupportedFact


@dataclass(frozen=True)
class ShelfItem:
    """One item on a shelf, and why it is there."""

    #: 0 is the top.
    position: int
    item_id: str
    title: str
    brand: str
    #: In the catalogue's currency.
    price: float
    #: The ranker's logit: comparable within one shelf only.
    score: float
    reason: str
    #: ITEM/SEGMENT/first 8 hex digits of the text's SHA-256; "" without a reason.
    reason_id: str
    #: `model`, `fallback`, `live` (written for this shelf) or `none`.
    reason_source: str
    #: Phrases of the reason that the item's facts support.
    claims: list[str]
    #: Where each of them stands in the reason, and the fact behind it.
    facts: list[SupportedFact]
    #: The six scores in [0, 1] by name.
    similarity: dict[str, float]
    #: What each group of features added to the score over that of an average candidate in the
    #: item's place, by name (`policies.explain`); empty unless asked for.
    contributions: dict[str, float]
    #: How likely the shelf's policy was to show this slate, the items up to here, and this item
    #: here; 1 where the best slate is shown (`policies.logging_policies`).
    pscore: float
    pscore_cascade: float
    pscore_item_position: float


@dataclass(frozen=True)
class Shelf:
    """Items, best first, and what they were chosen for."""

    items: list[ShelfItem]
    #: What the reader should know of this shelf, in plain words.
    notes: list[str]
    #: `home`, `similar` or `search`.
    scene: str
    #: The shopper it was made for; None where the average shopper stood in.
    shopper: str | None
    segment: int
    #: Aspects that the segment likes most, best first.
    likes: list[str]
    #: Name of the rule that made a slate of the scores; `top_k` shows the best one.
    policy: str
    #: Ids of all items that could have been shown, as the ranker met them.
    candidates: list[str]


@dataclass(frozen=True)
class Labels:
    """What a shelf prints of each item, by item index: plain lists, quick to read one by one."""

    ids: list[str]
    titles: list[str]
    brands: list[str]
    prices: list[float]

    @classmethod
    def of(cls, catalogue: Catalogue) -> Labels:
        """Take the labels from a catalogue's table."""
        ids, titles, brands = (
            catalogue.items[name].tolist() for name in ("item_id", "title", "brand")
        )
        return cls(ids, titles, brands, [float(price) for price in catalogue.items["price"]])
