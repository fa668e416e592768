"""A bundle's shelf under rules: what a request may filter, what is shown, and what to say of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.catalogue import Catalogue
from envs.errors import UserError
from policies.constraints import ConstraintsConfig, ShelfRules, price_band, upside_down
from policies.constraints_page import PageRules, best_slates, page_rules

I64 = NDArray[np.int64]

#: Unknown items that a note names.
_NAMED = 3


@dataclass(frozen=True)
class Filters:
    """What one request leaves out."""

    #: In the catalogue's currency; None leaves that side open.
    min_price: float | None = None
    max_price: float | None = None
    #: Ids of items that cannot be had now; those the bundle does not know are passed over.
    out_of_stock: Collection[str] = ()

    def __post_init__(self) -> None:
        """Check the band.

        Raises:
            UserError: it is upside down.
        """
        if why := upside_down(self.min_price, self.max_price):
            raise UserError(f"recommend: {why}")

    @property
    def idle(self) -> bool:
        """Whether nothing is left out."""
        return self.min_price is None and self.max_price is None and not self.out_of_stock


def filtered(rules: ShelfRules | None, filters: Filters, catalogue: Catalogue) -> ShelfRules | None:
    """Return the rules of one request: the bundle's own, and what the request leaves out."""
    if filters.idle:
        return rules
    prices = catalogue.items["price"].to_numpy(dtype=np.float64)
    hidden = price_band(prices, filters.min_price, filters.max_price)
    position = catalogue.item_position
    hidden[[position[item] for item in filters.out_of_stock if item in position]] = True
    return (rules or ShelfRules.of_nothing(catalogue.n_items)).without(hidden)


def with_pins(rules: ShelfRules, ordered: I64, pool: int) -> I64:
    """Return the first ``pool`` of the items that may be shown, and the pinned ones after them."""
    ordered = ordered[rules.showable[ordered]]
    return np.concatenate([ordered[:pool], ordered[pool:][np.isin(ordered[pool:], rules.pinned)]])


def decode(rules: ShelfRules, items: I64, scores: NDArray[Any], k: int) -> tuple[I64, PageRules]:
    """Return the places of the k best items (N,) that keep the rules, and the page's rules."""
    page = page_of(rules, items, k)
    return best_slates(scores[None], page)[0], page


def page_of(rules: ShelfRules, items: I64, k: int) -> PageRules:
    """Return the rules on one page of candidates (N,), all of which may be shown."""
    return page_rules(rules, items[None], np.ones((1, len(items))), k)


def showable(given: I64, rules: ShelfRules | None, notes: list[str]) -> I64:
    """Return those of the given candidates that no filter leaves out, and note how many go."""
    if rules is None or rules.showable[given].all():
        return given
    kept = given[rules.showable[given]]
    notes.append(
        f"{len(given) - len(kept)} of the candidates are out of stock or outside the price band."
    )
    return kept


def not_known(ids: Sequence[str], where: str) -> str:
    """Return the note on items that the bundle does not know."""
    named = ", ".join(map(repr, ids[:_NAMED])) + (", ..." if len(ids) > _NAMED else "")
    return f"{len(ids)} items {where} are not in this bundle and were left out: {named}."


def notes_on(
    page: PageRules, shown: I64, free: I64, rules: ShelfRules, asked: ConstraintsConfig,
    catalogue: Catalogue,
) -> list[str]:  # fmt: skip
    """Say where the rules changed a shelf, and what they ask that could not be met.

    Args:
        page: the rules as the candidates could keep them.
        shown: places of the items shown, (k,).
        free: places of those shown without rules, (k,).
        rules: the request's.
        asked: the bundle's settings.
        catalogue: names the items.
    """
    notes = []
    other = len(set(shown.tolist()) - set(free.tolist()))
    if other:
        notes.append(f"The shelf's rules put {other} of {len(shown)} items there.")
    elif not np.array_equal(shown, free):
        notes.append("The shelf's rules changed the order.")
    ids = catalogue.items["item_id"].to_numpy()
    for slot in np.flatnonzero(page.unpinned[0]):
        notes.append(
            f"Item {ids[rules.pinned[slot]]!r} is pinned to slot {slot + 1}, but is not among the "
            "candidates."
        )
    kind = asked.diversity
    if page.fewer_new[0]:
        notes.append(f"Fewer than {rules.min_new} new items: the candidates hold no more.")
    if page.fewer_groups[0]:
        notes.append(
            f"Fewer than {rules.min_groups} different values of {kind}: the candidates hold no "
            "more."
        )
    if page.limit_raised[0]:
        notes.append(
            f"More than {rules.max_per_group} items of one {kind}: there are not enough others to "
            "fill the shelf."
        )
    return notes
