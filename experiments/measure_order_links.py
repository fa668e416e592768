"""Whether the fact that a reason states is shared by what its page starts from.

A page starts from items: a shopper's history (home), the item whose page it is (similar), or the
items whose text fits the query best (search); see `envs.similarity`. A fact of the shown item links
it to them where one of them has the same key and value. A reason that says why the item is there
states such a fact; the floor is a fact of the same item drawn at random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from envs.assemble import Shop
from envs.sessions import SessionState
from envs.similarity import SCENES, item_anchors, query_anchors, shopper_anchors
from envs.world import World
from rewards.claims import TextClaims
from sft.metrics.figures import clustered_mean

if TYPE_CHECKING:
    from experiments.measure_order import Shown

F64 = NDArray[np.float64]


def links(shop: Shop, world: World, state: SessionState, shown: Shown) -> dict[str, Any]:
    """Return how often reasons state a fact that links their item to where the page starts.

    Returns:
        ``items`` whose reason states a fact of theirs that they support; ``linked``, the mean share
        of these facts that link; ``random``, that of all facts of the same items; and ``over``, the
        difference, with intervals by page.
    """
    linked, every, kept = [], [], []
    met = linking_facts(shop, world, state)
    for place, (page, item, claims) in enumerate(zip(shown.page, shown.item, shown.claims)):
        facts = met.facts_of(int(page), int(item))
        stated = [link for aspect, link in facts if aspect in stated_aspects(claims)]
        if stated:
            linked.append(np.mean(stated))
            every.append(np.mean([link for _, link in facts]))
            kept.append(place)
    if not kept:
        return {"items": 0}
    own, floor, page = np.array(linked), np.array(every), shown.page[kept]
    return {
        "items": len(kept),
        "linked": clustered_mean(own, page).as_dict(),
        "random": {"value": float(floor.mean())},
        "over": clustered_mean(own - floor, page).as_dict(),
    }


def stated_aspects(claims: TextClaims) -> frozenset[int]:
    """Return the aspects whose facts the text states truly."""
    return frozenset(
        claim.aspect
        for claim in claims.claims
        if claim.supported and claim.aspect >= 0 and claim.kind != "denial"
    )


class Links:
    """The facts of items, and which of them each page's starting items share."""

    def __init__(self, mix: sparse.csr_matrix, node: NDArray[np.int64], aspect: NDArray[np.int64],
                 item: NDArray[np.int64]) -> None:  # fmt: skip
        """Take the starting items (pages, I) and node (key and value), aspect, item of facts."""
        ones = np.ones(len(node), dtype=np.float32)
        has = sparse.csr_matrix((ones, (item, node)), shape=(mix.shape[1], node.max(initial=0) + 1))
        self._met = sparse.csr_matrix(mix @ has)
        self._node, self._aspect = node, aspect
        order = np.argsort(item, kind="stable")
        self._rows, self._items = order, item[order]

    def facts_of(self, page: int, item: int) -> list[tuple[int, bool]]:
        """Return the aspect of each fact of an item, and whether it links it to the page."""
        start, end = np.searchsorted(self._items, [item, item + 1])
        return [
            (int(self._aspect[fact]), bool(self._met[page, self._node[fact]] > 0))
            for fact in self._rows[start:end]
        ]


def linking_facts(shop: Shop, world: World, state: SessionState) -> Links:
    """Return the facts of the shop and what the pages of ``state`` start from."""
    catalogue = shop.visitors.catalogue
    facts = catalogue.facts
    node, _ = pd.factorize(facts["key"] + "=" + facts["value"])
    aspect = pd.Categorical(facts["aspect"], categories=catalogue.aspects).codes
    return Links(
        starting_mix(shop, world, state), node.astype(np.int64), aspect.astype(np.int64),
        catalogue.positions(facts["item_id"]),
    )  # fmt: skip


def starting_mix(shop: Shop, world: World, state: SessionState) -> sparse.csr_matrix:
    """Return the items that each page starts from, by weight, sparse (pages, I)."""
    index, visitors = shop.index, shop.visitors
    parts, order = [], []
    for number, scene in enumerate(SCENES):
        rows = np.flatnonzero(state.scene == number)
        if not len(rows):
            continue
        place = state.anchor[rows] - world.pools.first_row(number)
        if scene == "home":
            found = shopper_anchors(index, visitors.profiles, state.shopper[rows])
        elif scene == "similar":  # a large shop keeps pools of some items only
            found = item_anchors(index, world.pools.owners[place])
        else:
            queries = visitors.catalogue.queries["query"].to_numpy()[place]
            found = query_anchors(index, queries.tolist())
        parts.append(found.mix)
        order.append(rows)
    back = np.argsort(np.concatenate(order), kind="stable")
    return sparse.csr_matrix(sparse.vstack(parts, format="csr")[back])
