"""What shoppers put together: pairs that the text encoder is tuned on, and how it is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from envs.catalogue import Catalogue
from envs.shoppers import Profiles

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: Nearest items that are looked at when co-clicks are measured.
NEAREST = 20
_BLOCK = 1_024


@dataclass(frozen=True)
class Pairs:
    """n pairs of a text on the left and an item on the right."""

    #: Row of the left text, an item or a query, (n,) int64.
    left: I64
    #: Row of the item, (n,) int64.
    right: I64

    def __len__(self) -> int:
        """Number of pairs n."""
        return len(self.left)

    def only(self, keep: Mask) -> Pairs:
        """Return the pairs of the mask (n,)."""
        return Pairs(self.left[keep], self.right[keep])


def co_clicks(profiles: Profiles, items: int) -> Pairs:
    """Return each two items that a shopper met both of, once in either order."""
    shape = (len(profiles.shopper_ids), items)
    ones = np.ones(len(profiles.history_rows), dtype=np.float32)
    met = sparse.csr_matrix((ones, (profiles.history_rows, profiles.history_items)), shape=shape)
    together = (met.T @ met).tocoo()
    other = together.row != together.col
    return Pairs(together.row[other].astype(np.int64), together.col[other].astype(np.int64))


def query_clicks(log: pd.DataFrame, catalogue: Catalogue) -> Pairs:
    """Return each query and item of a feedback log that was clicked in answer to it, once.

    Queries and items that the catalogue does not know are passed over.
    """
    clicked = log.loc[(log["click"] > 0) & log["query"].notna(), ["query", "item_id"]]
    clicked = clicked.drop_duplicates()
    rows = {text: row for row, text in enumerate(catalogue.queries["query"])}
    left = np.array([rows.get(text, -1) for text in clicked["query"]], dtype=np.int64)
    right = catalogue.positions(clicked["item_id"])
    return Pairs(left, right).only((left >= 0) & (right >= 0))


def judged_rows(catalogue: Catalogue) -> Mask:
    """Return which queries people judged products for, (Q,) bool."""
    judged = set(catalogue.judgements["query_id"])
    return np.array([query in judged for query in catalogue.queries["query_id"]], dtype=bool)


def held_out(count: int, share: float, rng: np.random.Generator) -> Mask:
    """Return a random ``share`` of ``count`` rows, one at least, (count,) bool."""
    mask = np.zeros(count, dtype=bool)
    mask[rng.permutation(count)[: max(1, round(share * count))]] = True
    return mask


def co_click_recall(embedding: F32, pairs: Pairs, held: Mask, nearest: int = NEAREST) -> float:
    """Share of the possible hits that a held-out item's nearest items are co-clicks of it.

    recall@k = mean over held-out items i of |top_k(i) & partners(i)| / min(k, |partners(i)|), by
    cosine, among all items but i itself; items without a partner do not count.

    Args:
        embedding: unit rows (I, d).
        pairs: all co-clicks, in both orders.
        held: items that training did not see, (I,).
        nearest: k.

    Returns:
        The mean, or 0.0 where no held-out item has a partner.
    """
    items = len(embedding)
    triples = (np.ones(len(pairs), dtype=np.float32), (pairs.left, pairs.right))
    partners = sparse.csr_matrix(triples, shape=(items, items))
    rows = np.flatnonzero(held & (np.diff(partners.indptr) > 0))
    k = min(nearest, items - 1)
    found = []
    for start in range(0, len(rows), _BLOCK):
        some = rows[start : start + _BLOCK]
        near = embedding[some] @ embedding.T
        near[np.arange(len(some)), some] = -np.inf
        top = np.argpartition(-near, k - 1, axis=1)[:, :k]
        known = partners[some].toarray() > 0
        hits = np.take_along_axis(known, top, axis=1).sum(axis=1)
        found.append(hits / np.minimum(k, known.sum(axis=1)))
    return float(np.concatenate(found).mean()) if found else 0.0
