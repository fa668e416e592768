"""Candidate pools: for each anchor a short list of items with their scores, computed once.

A step of the shop only gathers from them, so it costs the same in a shop of any size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.best_items import best_items
from envs.catalogue import Catalogue
from envs.progress import Progress, silent
from envs.relevance import Relevance
from envs.shoppers import Profiles
from envs.similarity import (
    SCENES,
    Anchors,
    ItemIndex,
    SimilarityConfig,
    item_anchors,
    query_anchors,
    score,
    score_pairs,
    shopper_anchors,
)

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

_CHUNK = 256
#: Anchors at a time where items are scored in blocks, and the numbers (anchors x items) that the
#: preparation of a chunk of queries may hold, which still look at every item at once.
_BLOCKED_CHUNK = 128
_QUERY_CELLS = 2**24
_SIMILAR = SCENES.index("similar")
_SEARCH = SCENES.index("search")


@dataclass(frozen=True)
class Pools:
    """Pools of all anchors: U shoppers first, then K items, then Q queries (U + K + Q rows).

    K is the catalogue size I in a small shop; in a larger one only the most met items have a pool
    and the others borrow one of these: always go through `similar_row`. A borrowed pool, with its
    scores and hidden relevance, is that of its owner, so it may hold the item that borrows it.
    """

    #: Item indexes in shuffled order, (U + K + Q, P) int32.
    items: NDArray[np.int32]
    #: The six scores, (U + K + Q, P, 6) float32.
    scores: F32
    #: Hidden: how relevant an item truly is in the scene, (U + K + Q, P) float32 in [0, 1].
    relevance: F32
    #: Number of anchors of each scene (home, similar, search): U, K, Q, (3,) int64.
    counts: I64
    #: The item that each similar-scene row was computed for, increasing, (K,) int64.
    owners: I64
    #: Place in ``owners`` of the item whose pool an item uses, (I,) int32.
    anchor_of: NDArray[np.int32]

    def first_row(self, scene: int) -> int:
        """Row of a scene's first anchor."""
        return int(self.counts[:scene].sum())

    def similar_row(self, items: NDArray[np.integer]) -> I64:
        """Rows of the similar-scene pools of the given items, own or borrowed, same shape."""
        return self.first_row(_SIMILAR) + self.anchor_of[items].astype(np.int64)


def choose_pool(
    scores: F32,
    popularity: F32,
    config: SimilarityConfig,
    rng: np.random.Generator,
    own: I64 | None = None,
) -> I64:
    """Choose P items for each anchor from all their scores, (n, P) int64, in shuffled order.

    Most are the best by equal-weight mean; the rest is drawn at random, half of it by popularity
    (Gumbel top-k without replacement), so that a learned ranker can find what the mean misses.
    ``own`` (n,) names an item of each anchor that its pool leaves out: an item is no news beside
    itself.
    """
    spare = 0 if own is None else 1
    count = min(config.pool, scores.shape[1] - spare)
    mean = scores.mean(axis=-1)
    if own is not None:
        mean[np.arange(len(mean)), own] = -np.inf
    random = round(config.explore * count)
    order = np.argsort(-mean, axis=1, kind="stable")
    chosen = [order[:, : count - random]]
    rest = order[:, count - random : order.shape[1] - spare]
    for share, weight in ((random // 2, popularity), (random - random // 2, None)):
        noise = rng.gumbel(size=rest.shape)
        if weight is not None:
            noise += np.log(weight[rest])
        drawn = np.argsort(-noise, axis=1, kind="stable")
        chosen.append(np.take_along_axis(rest, drawn[:, :share], axis=1))
        rest = np.take_along_axis(rest, drawn[:, share:], axis=1)
    return _shuffled(np.concatenate(chosen, axis=1), rng)


def choose_pool_in_blocks(
    index: ItemIndex,
    anchors: Anchors,
    popularity: F32,
    config: SimilarityConfig,
    rng: np.random.Generator,
    own: I64 | None = None,
) -> I64:
    """Choose what `choose_pool` chooses, by the same chances, without all scores at once.

    Drawing items by weight and passing over repeats is drawing without replacement by weight, which
    is what Gumbel top-k does too.
    """
    spare = 0 if own is None else 1
    count = min(config.pool, len(popularity) - spare)
    random = round(config.explore * count)
    taken = best_items(index, anchors, count - random, own)
    if own is not None:
        taken = np.concatenate([own[:, None], taken], axis=1)
    upto = np.cumsum(popularity, dtype=np.float64)

    def by_popularity(size: tuple[int, int]) -> I64:
        return np.searchsorted(upto, rng.random(size) * upto[-1], side="right").astype(np.int64)

    def evenly(size: tuple[int, int]) -> I64:
        return rng.integers(len(popularity), size=size)

    taken = _with_others(taken, random // 2, by_popularity)
    taken = _with_others(taken, random - random // 2, evenly)
    return _shuffled(taken[:, spare:], rng)


def _with_others(taken: I64, count: int, draw: Callable[[tuple[int, int]], I64]) -> I64:
    """Add to each row of ``taken`` (n, m) the first ``count`` draws that it does not hold yet."""
    drawn, wanted, size = taken, taken.shape[1] + count, 2 * count + 8
    while True:
        order = np.argsort(drawn, axis=1, kind="stable")
        ranked = np.take_along_axis(drawn, order, axis=1)
        repeat = np.zeros(drawn.shape, dtype=bool)
        np.put_along_axis(repeat, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], axis=1)
        if ((~repeat).sum(axis=1) >= wanted).all():
            # A stable sort by "is a repeat" moves the new items forward in the order of draws.
            first = np.argsort(repeat, axis=1, kind="stable")[:, :wanted]
            return np.take_along_axis(drawn, first, axis=1)
        # Where a few items draw nearly all the weight, the others take many draws to meet.
        drawn = np.concatenate([drawn, draw((len(drawn), size))], axis=1)
        size *= 2


def _shuffled(pool: I64, rng: np.random.Generator) -> I64:
    shuffle = rng.random(pool.shape).argsort(axis=1)
    return np.take_along_axis(pool, shuffle, axis=1)


def item_popularity(profiles: Profiles, items: int) -> F32:
    """Smoothed share of history events, (I,) float32, sums to one."""
    count = np.bincount(profiles.history_items, minlength=items) + 0.5
    return (count / count.sum()).astype(np.float32)


def pool_owners(class_index: I64, popularity: F32, count: int) -> I64:
    """Return the items that get a pool of their own, increasing, (K,) int64.

    They are the most popular item of each class and then the most popular of all, ``count`` in all
    (or as many as there are classes, or items). Of equally popular items the first one counts.
    """
    order = np.argsort(-popularity, kind="stable")
    _, first = np.unique(class_index[order], return_index=True)
    led = np.zeros(len(order), dtype=bool)
    led[first] = True
    owners = np.concatenate([order[led], order[~led]])[: max(count, len(first))]
    return np.sort(owners)


def lenders(index: ItemIndex, owners: I64) -> NDArray[np.int32]:
    """Place in ``owners`` of the pool that each item uses, (I,) int32: its own, or the nearest.

    Nearest is the highest sum of text and price score to an owner of the same class.
    """
    found = np.empty(len(index.quality), dtype=np.int32)
    for of_class in np.unique(index.class_index):
        members = np.flatnonzero(index.class_index == of_class)
        places = np.flatnonzero(index.class_index[owners] == of_class)
        near, level = index.embedding[owners[places]].T, index.price_z[owners[places]]
        step = max(1, _QUERY_CELLS // len(places))
        for start in range(0, len(members), step):
            rows = members[start : start + step]
            likeness = np.clip(index.embedding[rows] @ near, 0, 1)
            likeness += np.exp(-np.abs(index.price_z[rows, None] - level))
            found[rows] = places[likeness.argmax(axis=1)]
    found[owners] = np.arange(len(owners))
    return found


def anchor_count(catalogue: Catalogue, profiles: Profiles, config: SimilarityConfig) -> int:
    """Number of pools that `build_pools` makes and reports progress of."""
    items = min(max(config.item_anchors, len(catalogue.classes)), catalogue.n_items)
    return len(profiles.shopper_ids) + items + len(catalogue.queries)


def build_pools(
    catalogue: Catalogue,
    profiles: Profiles,
    index: ItemIndex,
    config: SimilarityConfig,
    rng: np.random.Generator,
    progress: Progress = silent,
) -> Pools:
    """Score every anchor of the shop against every item and keep a pool of each.

    Time grows with anchors times items (some 10 ns a pair); memory with the items alone.
    """
    queries = catalogue.queries["query"].tolist()
    relevance = Relevance(catalogue, index)
    popularity = item_popularity(profiles, catalogue.n_items)
    owners = pool_owners(catalogue.class_index, popularity, config.item_anchors)
    every: list[I64] = [np.arange(len(profiles.shopper_ids)), owners, np.arange(len(queries))]
    make: list[Callable[[I64], Anchors]] = [
        lambda rows: shopper_anchors(index, profiles, rows),
        lambda rows: item_anchors(index, rows),
        lambda rows: query_anchors(index, [queries[r] for r in rows]),
    ]
    # One width for all scenes: an item's own pool cannot hold the whole catalogue.
    config = config.model_copy(update={"pool": min(config.pool, catalogue.n_items - 1)})
    dense = catalogue.n_items <= config.dense_items
    items, scores, relevant = [], [], []
    counts = np.array([len(rows) for rows in every], dtype=np.int64)
    done = 0
    for scene, anchors_of in enumerate(make):
        for rows in _chunks(every[scene], dense, scene, catalogue.n_items):
            anchors = anchors_of(rows)
            own = rows if scene == _SIMILAR else None
            if dense:
                table = score(index, anchors)
                pool = choose_pool(table, popularity, config, rng, own)
                marks = np.take_along_axis(table, pool[..., None], axis=1)
            else:
                pool = choose_pool_in_blocks(index, anchors, popularity, config, rng, own)
                marks = score_pairs(index, anchors, pool)
            items.append(pool.astype(np.int32))
            scores.append(marks)
            relevant.append(relevance.of(scene, rows, pool, marks))
            done += len(rows)
            progress(done, int(counts.sum()), {})
    return Pools(
        np.concatenate(items), np.concatenate(scores), np.concatenate(relevant), counts,
        owners, lenders(index, owners),
    )  # fmt: skip


def _chunks(rows: I64, dense: bool, scene: int, items: int) -> list[I64]:
    """Cut the anchors of a scene into chunks that fit in memory."""
    size = _CHUNK if dense else _BLOCKED_CHUNK
    if scene == _SEARCH and not dense:
        size = min(size, max(1, _QUERY_CELLS // items))
    return [rows[start : start + size] for start in range(0, len(rows), size)]
