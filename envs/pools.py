"""Candidate pools: for each anchor a short list of items with their scores, computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.catalogue import Catalogue
from envs.progress import Progress, silent
from envs.shoppers import Profiles
from envs.similarity import (
    Anchors,
    ItemIndex,
    SimilarityConfig,
    item_anchors,
    query_anchors,
    score,
    shopper_anchors,
)

F32 = NDArray[np.float32]
_CHUNK = 256


@dataclass(frozen=True)
class Pools:
    """Pools of all anchors: shoppers first, then items, then queries (U + I + Q rows)."""

    #: Item indexes in shuffled order, (U + I + Q, P) int32.
    items: NDArray[np.int32]
    #: The six scores, (U + I + Q, P, 6) float32.
    scores: F32
    #: Hidden: how relevant an item truly is in the scene, (U + I + Q, P) float32 in [0, 1].
    relevance: F32
    #: Number of anchors of each scene (home, similar, search), (3,) int64.
    counts: NDArray[np.int64]

    def first_row(self, scene: int) -> int:
        """Row of a scene's first anchor."""
        return int(self.counts[:scene].sum())


def choose_pool(
    scores: F32,
    popularity: F32,
    config: SimilarityConfig,
    rng: np.random.Generator,
    own: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Choose P items for each anchor, (n, P) int64, in shuffled order.

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
    pool = np.concatenate(chosen, axis=1)
    shuffle = rng.random(pool.shape).argsort(axis=1)
    return np.take_along_axis(pool, shuffle, axis=1)


def item_popularity(profiles: Profiles, items: int) -> F32:
    """Smoothed share of history events, (I,) float32, sums to one."""
    count = np.bincount(profiles.history_items, minlength=items) + 0.5
    return (count / count.sum()).astype(np.float32)


def _judged(catalogue: Catalogue) -> dict[tuple[int, int], float]:
    """Human relevance in [0, 1] by (query row, item index)."""
    rows = {query: row for row, query in enumerate(catalogue.queries["query_id"])}
    table = catalogue.judgements
    return {
        (rows[query], catalogue.item_position[item]): float(rating) / 3.0
        for query, item, rating in zip(table["query_id"], table["item_id"], table["rating"])
    }


def build_pools(
    catalogue: Catalogue,
    profiles: Profiles,
    index: ItemIndex,
    config: SimilarityConfig,
    rng: np.random.Generator,
    progress: Progress = silent,
) -> Pools:
    """Score every anchor of the shop against every item and keep a pool of each.

    Hidden relevance: 0 at home (taste alone decides); beside an item, the mean of same class and
    the cosine of the aspect vectors; in search, the human judgement where there is one, else the
    share of query words that title, class or brand hold.
    """
    queries = catalogue.queries["query"].tolist()
    x = catalogue.aspect_matrix
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)
    judged = _judged(catalogue)
    popularity = item_popularity(profiles, catalogue.n_items)
    counts = np.array([len(profiles.shopper_ids), catalogue.n_items, len(queries)], dtype=np.int64)
    make: list[Callable[[NDArray[np.int64]], Anchors]] = [
        lambda rows: shopper_anchors(index, profiles, rows),
        lambda rows: item_anchors(index, rows),
        lambda rows: query_anchors(index, [queries[r] for r in rows]),
    ]
    # One width for all scenes: an item's own pool cannot hold the whole catalogue.
    config = config.model_copy(update={"pool": min(config.pool, catalogue.n_items - 1)})
    items, scores, relevance = [], [], []
    done = 0
    for scene, anchors_of in enumerate(make):
        for start in range(0, int(counts[scene]), _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, int(counts[scene])))
            anchors = anchors_of(rows)
            table = score(index, anchors)
            pool = choose_pool(table, popularity, config, rng, rows if scene == 1 else None)
            if scene == 0:
                relevant = np.zeros(pool.shape, dtype=np.float32)
            elif scene == 1:
                same = catalogue.class_index[pool] == catalogue.class_index[rows][:, None]
                relevant = 0.5 * same + 0.5 * np.einsum("npa,na->np", unit[pool], unit[rows])
            else:
                relevant = np.take_along_axis(anchors.scene_score, pool, axis=1)
                for row, column in np.ndindex(*pool.shape):
                    key = (int(rows[row]), int(pool[row, column]))
                    relevant[row, column] = judged.get(key, relevant[row, column])
            items.append(pool.astype(np.int32))
            scores.append(np.take_along_axis(table, pool[..., None], axis=1))
            relevance.append(relevant.astype(np.float32))
            done += len(rows)
            progress(done, int(counts.sum()), {})
    return Pools(np.concatenate(items), np.concatenate(scores), np.concatenate(relevance), counts)
