"""Where the present ranker puts items, and what a page makes of one of them being more attractive.

A page of k items, read by a click model, brings ``sum_j P(click_j) worth_j``. Item i in one of its
slots, with attraction a and worth w of a click, splits this into

    E(a) · a · w  +  O(a)

with E(a) how likely i is examined and O(a) what the clicks on the page's other items bring. O is
the externality: under the cascade, DCM, DBN, CCM and MNL a click on i takes clicks from others
(under UBM it may bring them some); under the position-based model O is the same for every a. Both
are averaged over all pages on which the ranker shows i, so i's slots and neighbours come in as
often as they are.

E and O are found by asking the click model itself at the Chebyshev nodes of a in [0, 1] and kept as
Chebyshev coefficients, as many as it takes. That is exact (to rounding) for every model but MNL:
E is a constant and O has degree 0 (position), 1 (cascade, DCM, DBN, SDBN, UBM) or 2 (CCM). For MNL
both are smooth: with neighbours whose odds of attraction sum to C, the relative error of `NODES`
nodes is about (1 + 2/C + 2 sqrt((1 + C) / C²)) ** -NODES, 1e-9 at C = 1 (Trefethen 2013,
"Approximation theory and approximation practice", theorem 8.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial.chebyshev import chebval, chebvander
from numpy.typing import NDArray

from envs.behaviour import next_trust
from envs.clicks import ClickModel
from envs.world import World

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Attractions at which the click model is asked.
NODES = 16
#: Coefficients below this share of the largest are rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Pages:
    """P shown pages of k items."""

    #: Item indexes from the top, (P, k) int64.
    items: I64
    #: Probability of a click once examined, (P, k).
    attraction: NDArray[np.floating[Any]]
    #: What a click on each is expected to bring, in median margins, (P, k): see `click_worth`.
    worth: NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Placement:
    """E and O of each of I items as Chebyshev coefficients over a in [0, 1], lowest first."""

    #: Mean probability of being examined, (I, D) float32.
    examination: F32
    #: Mean expected value of the other items' clicks, in median margins, (I, D') float32.
    others: F32
    #: Impressions behind each row, (I,) int64; an item without any has the mean of all.
    shown: I64

    def value(self, items: I64, attraction: F32, worth: F32) -> F32:
        """Expected value of the page that shows an item, in median margins, (n, M).

        Args:
            items: item indexes, (n,).
            attraction: attraction of the item to M shoppers, (n, M).
            worth: what a click on it brings, (n, M).
        """
        place = 2 * attraction - np.float32(1)
        examined, others = (
            chebval(place, table[items].T[..., None], tensor=False)
            for table in (self.examination, self.others)
        )
        found: F32 = examined * attraction * worth + others
        return found


def fixed_placement(examination: NDArray[np.floating[Any]]) -> Placement:
    """Return the placement of items that are examined by chance (I,) whatever attracts."""
    table = np.asarray(examination, dtype=np.float32)[:, None]
    return Placement(table, np.zeros_like(table), np.zeros(len(table), dtype=np.int64))


def placement_on(model: ClickModel, pages: Pages, items: int) -> Placement:
    """Average E and O of each of ``items`` items over the pages that show it.

    Raises:
        ValueError: for pages whose arrays are no (P, k) of one shape, or none at all.
    """
    shape = pages.items.shape
    if len(shape) != 2 or not pages.items.size:
        raise ValueError(f"pages.items must be (P, k) with P > 0, but has shape {shape}")
    for name in ("attraction", "worth"):
        if getattr(pages, name).shape != shape:
            raise ValueError(f"pages.{name} must have the shape of items, {shape}")
    shown = np.bincount(pages.items.ravel(), minlength=items)
    place = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    examination, others = np.zeros((items, NODES)), np.zeros((items, NODES))
    for slot in range(shape[1]):
        for node, attraction in enumerate((place + 1) / 2):
            seen, rest = _one_slot(model, pages, slot, float(attraction))
            column = pages.items[:, slot]
            examination[:, node] += np.bincount(column, seen, items)
            others[:, node] += np.bincount(column, rest, items)
    to_coefficients = np.linalg.inv(chebvander(place, NODES - 1)).T
    return Placement(
        _trimmed(_means(examination, shown) @ to_coefficients),
        _trimmed(_means(others, shown) @ to_coefficients),
        shown,
    )


def _one_slot(model: ClickModel, pages: Pages, slot: int, attraction: float) -> tuple[F64, F64]:
    """Return E and O, (P,) each, of the items in one slot, were their attraction this."""
    attracts = pages.attraction.astype(np.float64)
    attracts[:, slot] = attraction
    examined = model.examination_probability(attracts)
    worth = pages.worth.astype(np.float64)
    worth[:, slot] = 0
    return examined[:, slot], (examined * attracts * worth).sum(axis=1)


def _means(sums: F64, shown: I64) -> F64:
    """Divide sums (I, D) by counts; an item without any has the mean of all impressions."""
    every = sums.sum(axis=0) / shown.sum()
    return np.where(shown[:, None] > 0, sums / np.maximum(shown, 1)[:, None], every)


def _trimmed(coefficients: F64) -> F32:
    """Leave out the highest coefficients, (I, D), as far as they are rounding for all items."""
    size = np.abs(coefficients).max(axis=0)
    needed = np.flatnonzero(size > _ROUNDING * size.max())
    return coefficients[:, : needed[-1] + 1 if needed.size else 1].astype(np.float32)


def click_worth(
    world: World,
    items: I64,
    trust: F32,
    purchase: F32,
    unsupported: F32,
    claimed: NDArray[np.bool_],
    trust_value: float,
) -> F32:
    """What a click on each shown item is expected to bring, in median margins, (P, k) float32.

    The terms are those of `rewards.clicks`: the click itself, the margin of a purchase, and the
    change of trust that the reason beside the item brings.

    Args:
        world: the shop.
        items: item indexes, (P, k).
        trust: of each page's shopper, (P,).
        purchase: probability of a purchase once clicked, (P, k).
        unsupported: unsupported claims of the reason shown, (P, k).
        claimed: whether that reason claims anything, (P, k).
        trust_value: worth of one unit of trust (`ClickRewardConfig.trust_value`).
    """
    shop = world.config
    lied = (unsupported > 0).astype(np.float32)
    kept = (1 - lied) * claimed
    now = trust[:, None]
    change = np.where(lied + kept > 0, next_trust(shop, now, lied, kept) - now, 0)
    worth = shop.w_click + shop.w_buy * world.margin[items] * purchase + trust_value * change
    return worth.astype(np.float32)
