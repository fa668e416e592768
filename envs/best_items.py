"""The items with the highest mean score, found block by block: what dense scoring finds, in small.

`envs.similarity.score` holds six scores of every anchor and item, 24 bytes a pair: 24 MB an anchor
in a shop of a million items. Here only the sum of the six is formed, for a block of items at a
time, and only what can still enter the best is kept. Nothing is approximated.

Two identities make the sum cheap. A price score needs no exponential of a pair,
exp(-|z - l|) = min(exp(z) exp(-l), exp(-z) exp(l)); and the graph needs only the nodes that one of
the anchors touches, so that rare nodes cost nothing to the others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from envs.similarity import Anchors, ItemIndex

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

#: Items scored at a time: with 128 anchors a block of sums takes 4 MB, which stays in cache.
_BLOCK = 8_192


def best_items(index: ItemIndex, anchors: Anchors, count: int, left_out: I64 | None = None) -> I64:
    """Return the ``count`` items of highest equal-weight mean score, (n, count) int64, best first.

    Of equal sums the lower index comes first (items that are equal may still differ in the last
    bit, since a matrix product rounds by the place of a row). ``left_out`` (n,) names an item of
    each anchor that is not considered. ``count`` must not exceed what is then left of the
    catalogue.
    """
    n, n_items = anchors.mix.shape
    best = np.full((n, count), -np.inf, dtype=np.float32)
    items = np.zeros((n, count), dtype=np.int64)
    if not count:
        return items
    sums = _Sums(index, anchors)
    for start in range(0, n_items, _BLOCK):
        block = sums.of(start, min(start + _BLOCK, n_items))
        if left_out is not None:
            here = np.flatnonzero((left_out >= start) & (left_out < start + len(block)))
            block[left_out[here] - start, here] = -np.inf
        floor = best[:, -1]
        if start == 0 and len(block) > count:
            # Nothing is known yet: all but the block's own best would be merged in vain.
            last = np.partition(block, len(block) - count, axis=0)[len(block) - count]
            floor = np.nextafter(last, np.float32(-np.inf))
        item, anchor = np.divmod(np.flatnonzero(block > floor), n)
        if len(item):
            best, items = _merge(best, items, anchor, item + start, block[item, anchor])
    return items


def _merge(best: F32, items: I64, anchor: I64, item: I64, value: F32) -> tuple[F32, I64]:
    """Return the best (n, k) values and their items after some more of them are met."""
    n, k = best.shape
    anchors = np.concatenate([np.repeat(np.arange(n), k), anchor])
    values, every = np.concatenate([best.ravel(), value]), np.concatenate([items.ravel(), item])
    order = np.lexsort((every, -values, anchors))
    first = np.searchsorted(anchors[order], np.arange(n))
    kept = order[first[:, None] + np.arange(k)]
    return values[kept], every[kept]


class _Sums:
    """Sums of the six scores of n anchors, for any range of items."""

    def __init__(self, index: ItemIndex, anchors: Anchors) -> None:
        self.index = index
        self.text = np.ascontiguousarray(anchors.embedding.T)
        nodes = sparse.csr_matrix(anchors.mix @ index.graph)
        touched = np.unique(nodes.indices)
        self.graph = index.graph[:, touched]
        self.nodes = np.ascontiguousarray(nodes[:, touched].toarray().T)
        self.scene = np.ascontiguousarray(anchors.class_score.T)
        self.price = np.exp(anchors.price_level), np.exp(-anchors.price_level)
        ties = sparse.csr_matrix(anchors.mix @ index.behaviour, dtype=np.float32)
        ties.data = np.minimum(ties.data / index.behaviour_scale, 1)
        self.sparse = sparse.csr_matrix((ties + anchors.word_score).T)

    def of(self, start: int, end: int) -> F32:
        """Sums of the items from ``start`` to ``end``, (items, n) float32."""
        index = self.index
        total = np.asarray(self.graph[start:end] @ self.nodes)
        np.clip(total, 0, 1, out=total)
        part = index.embedding[start:end] @ self.text
        total += np.clip(part, 0, 1, out=part)
        up, down = np.exp(index.price_z[start:end, None]), np.exp(-index.price_z[start:end, None])
        total += np.minimum(
            np.multiply(up, self.price[1], out=part), down * self.price[0], out=part
        )
        total += self.scene[index.class_index[start:end]]
        total += index.quality[start:end, None]
        few = self.sparse[start:end].tocoo()
        total[few.row, few.col] += few.data
        return total
