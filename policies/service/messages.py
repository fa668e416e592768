"""The JSON of requests and answers. Requests refuse unknown keys and bound every length."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

#: No control characters: they are no part of any id, and PostgreSQL cannot hold a NUL.
_NO_CONTROLS = r"^[^\x00-\x1f\x7f]+$"
Id = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=_NO_CONTROLS)]
Query = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=_NO_CONTROLS)]
Price = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]

#: Most items that a request may ask for, offer, or leave out.
MOST_SHOWN, MOST_CANDIDATES, MOST_HIDDEN = 100, 1_000, 10_000
MOST_PAGES, MOST_EVENTS = 50, 500
#: Most items of a shelf that explains itself: each takes 256 scorings of the page.
MOST_EXPLAINED = 20


class _Request(BaseModel):
    # Strict: a number is not a string of digits, and true is not 1.
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


class _Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class PageSeen(_Request):
    """One shelf that the shopper saw earlier in this visit."""

    shown: Annotated[list[Id], Field(max_length=MOST_SHOWN)]
    """Item ids, first slot first."""
    clicked: Annotated[list[Id], Field(max_length=MOST_SHOWN)] = []
    bought: Annotated[list[Id], Field(max_length=MOST_SHOWN)] = []


class Visit(_Request):
    """What the shopper did so far in this visit."""

    session_id: Id | None = None
    """The one that the first shelf of the visit was answered with; a new one where left out."""
    pages: Annotated[list[PageSeen], Field(max_length=MOST_PAGES)] = []
    """Oldest first."""


class ShelfRequest(_Request):
    """A shelf to make: beside an item, in answer to a query, or at home."""

    shopper: Id | None = None
    """Unknown shoppers get the average shopper's shelf, with a note."""
    query: Query | None = None
    item: Id | None = None
    """Makes a shelf of items similar to this one."""
    candidates: Annotated[list[Id], Field(min_length=1, max_length=MOST_CANDIDATES)] | None = None
    """Ids of the items to order; the bundle chooses them where left out."""
    k: Annotated[int, Field(ge=1, le=MOST_SHOWN)] | None = None
    """Items to show; the bundle's number where left out."""
    min_price: Price | None = None
    max_price: Price | None = None
    out_of_stock: Annotated[list[Id], Field(max_length=MOST_HIDDEN)] = []
    session: Visit | None = None
    explain: bool = False
    """Whether to say what put each item there; takes much longer, and 20 items at most."""
    ranker: Literal["tuned", "similarity"] = "tuned"
    reasons: Literal["tuned", "before", "none"] = "tuned"
    explore: bool | None = None
    """False shows the best shelf even where the service explores."""


def _is_text(at: Any) -> Any:
    if not isinstance(at, str):
        raise ValueError("must be a string with an ISO time")
    return at


def _plausible(at: datetime) -> datetime:
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if not 2000 <= at.year < 2100:
        raise ValueError("the year must lie between 2000 and 2099")
    return at


#: Strictness would ask for a Python object, which JSON has none of.
Time = Annotated[
    datetime, Field(strict=False), BeforeValidator(_is_text), AfterValidator(_plausible)
]


class Event(_Request):
    """One thing that a shopper did to one item of a shelf."""

    event_id: Id
    """Made by the client; a repeated event is counted once."""
    slate_id: Id
    item_id: Id
    type: Literal["click", "purchase"]
    value: Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)] | None = None
    """Margin that a purchase earned, in the bundle's unit of reward; the item's own where left
    out."""
    at: Time | None = None
    """ISO 8601; UTC where it names no zone, the time of arrival where left out."""


class FeedbackRequest(_Request):
    """Events to store, all of them or none."""

    events: Annotated[list[Event], Field(min_length=1, max_length=MOST_EVENTS)]


class ReloadRequest(_Request):
    """A bundle to change to."""

    path: Annotated[str, StringConstraints(min_length=1, max_length=4096)] | None = None
    """Folder on the server; the present bundle's where left out."""


class BundleName(_Answer):
    """Which bundle answered."""

    name: str
    id: str
    """The first 16 hex digits of the SHA-256 of its manifest."""


class Fact(_Answer):
    """A claim of a reason, and the fact behind it."""

    phrase: str
    start: int
    """Where in the reason the phrase begins, in characters."""
    end: int
    aspect: str
    key: str
    value: str


class ShownItem(_Answer):
    """One item of a shelf, and why it is there."""

    position: int
    item_id: str
    title: str
    brand: str
    price: float
    currency: str
    score: float
    """Comparable within one shelf only."""
    reason: str
    reason_id: str | None
    reason_source: str
    facts: list[Fact]
    similarity: dict[str, float]
    contributions: dict[str, float]
    """Empty unless asked for by `explain`."""


class ShelfAnswer(_Answer):
    """A shelf, which is stored before it is answered."""

    slate_id: str
    """What feedback refers to."""
    session_id: str
    step: int
    shown_at: str
    bundle: BundleName
    scene: str
    shopper: str | None
    """Null where the average shopper stood in."""
    segment: int
    likes: list[str]
    notes: list[str]
    policy: str
    items: list[ShownItem]


class FeedbackAnswer(_Answer):
    """How many events were new, and how many were known already."""

    stored: int
    duplicates: int


class Health(_Answer):
    """Whether the service can answer."""

    status: Literal["ok", "unavailable"]
    bundle: BundleName
    store: Literal["ok", "unavailable"]


class ShopperShown(_Answer):
    """A shopper to try."""

    shopper: str
    likes: list[str]


class ItemShown(_Answer):
    """An item to try."""

    item_id: str
    title: str


class BundleShape(BundleName):
    """Which bundle answers, and how many items it shows."""

    slots: int


class ShopAnswer(_Answer):
    """What the storefront page offers to choose from."""

    name: str
    locale: str
    currency: str
    bundle: BundleShape
    shoppers: list[ShopperShown]
    queries: list[str]
    items: list[ItemShown]
    scenes: list[str]
    reasons: list[str]
    keys_needed: bool


class ReloadAnswer(_Answer):
    """The bundle that answers from now on."""

    bundle: BundleName
    workers: int


class ErrorDetail(_Answer):
    """What went wrong."""

    code: str
    message: str
    where: str | None = None
    """The part of the request that is at fault."""


class ErrorAnswer(_Answer):
    """Every failure."""

    error: ErrorDetail
