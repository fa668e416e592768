"""Maximal marginal relevance: relevant first, but not the same thing again.

Carbonell, Goldstein 1998, "The use of MMR, diversity-based reranking for reordering documents and
producing summaries": slot by slot the item with the largest

    trade_off * relevance(i) - (1 - trade_off) * max over items j shown above of likeness(i, j).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs.assemble import Shop
from envs.similarity import SCORES
from policies.baselines import Page, SlatePolicy

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class ItemLikeness:
    """How alike two items are by what any shop knows of them."""

    #: Class and brand of each item as numbers, (I,) int64.
    kind: I64
    brand: I64
    #: Unit embedding of its text, (I, d) float32.
    embedding: F32

    @classmethod
    def of(cls, shop: Shop) -> ItemLikeness:
        """Read the catalogue and the text index of a shop."""
        catalogue = shop.visitors.catalogue
        brand, _ = pd.factorize(catalogue.items["brand"])
        return cls(catalogue.class_index, brand.astype(np.int64), shop.index.embedding)

    def among(self, items: I64) -> F32:
        """Likeness of the items (B, N) of a page to each other, (B, N, N) float32 in [0, 1].

        The mean of same class, same brand and the cosine of the texts, negative values cut to 0.
        """
        alike = np.matmul(self.embedding[items], self.embedding[items].transpose(0, 2, 1))
        np.clip(alike, 0, 1, out=alike)
        for label in (self.kind[items], self.brand[items]):
            alike += label[:, :, None] == label[:, None, :]
        return (alike / 3).astype(np.float32)


def mmr_policy(likeness: ItemLikeness, trade_off: float) -> SlatePolicy:
    """Return MMR over the equal-weight similarity; ``trade_off`` 1 is the similarity itself."""

    def score(page: Page) -> F32:
        relevance = page.observation["items"][..., : len(SCORES)].mean(axis=-1)
        mask, slots = page.observation["mask"], page.world.config.slots
        return mmr_scores(relevance, likeness.among(page.items), mask, slots, trade_off)

    return SlatePolicy("mmr", score)


def mmr_scores(relevance: F32, alike: F32, mask: F32, slots: int, trade_off: float) -> F32:
    """Return each candidate's marginal relevance when it was taken, (B, N) float32.

    Marginal relevance can only fall as the slate grows, so these scores fall along the greedy
    slate, and what is never taken lies below its last item: their order is that of MMR.

    Args:
        relevance: (B, N).
        alike: likeness of candidates, (B, N, N).
        mask: 1 where a candidate may be shown, (B, N).
        slots: slate length k.
        trade_off: weight of relevance, in [0, 1].
    """
    rows = np.arange(len(relevance))
    gain = (trade_off * relevance).astype(np.float32)
    taken = np.zeros(gain.shape, dtype=bool)
    nearest = np.zeros_like(gain)
    for _ in range(slots):
        open_ = (mask > 0) & ~taken
        best = np.where(open_, gain, -np.inf).argmax(axis=1)
        # Where nothing is left to take, nothing changes.
        some = open_[rows, best]
        taken[rows[some], best[some]] = True
        np.maximum(nearest, np.where(some[:, None], alike[rows, best], 0), out=nearest)
        below = trade_off * relevance - (1 - trade_off) * nearest
        gain = np.where(taken, gain, below).astype(np.float32)
    return gain
