"""What a shelf is made for: a shopper in a scene, and the items that suit the scene's anchor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from envs.anchor_scores import OneAnchor, scores_of
from envs.item_index import ItemIndex
from envs.similarity import SCENES

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

HOME, SIMILAR, SEARCH = (SCENES.index(name) for name in ("home", "similar", "search"))


@dataclass(frozen=True, eq=False)
class Place:
    """A scene and its anchor; what needs the whole catalogue is computed where it is asked for.

    Threads may share it: at worst two of them compute the same.
    """

    scene: int
    index: ItemIndex
    anchor: OneAnchor
    #: The item that the others stand beside, in the scene `similar`; else -1.
    beside: int = -1

    @cached_property
    def scores(self) -> F32:
        """The six scores of every item, (I, 6) float32."""
        return scores_of(self.index, self.anchor)

    def scores_of(self, items: I64) -> F32:
        """Return the six scores of some items, (N, 6) float32, without those of the others.

        Never taken from ``scores``, whose last bits may differ: an answer must not depend on what
        was asked before.
        """
        return scores_of(self.index, self.anchor, items)

    @cached_property
    def matches(self) -> Bools:
        """True for items whose words or text have something of the query, (I,)."""
        near: Bools = self.index.embedding @ self.anchor.embedding > 0
        return near | (self.anchor.words > 0) if len(self.anchor.words) else near

    @cached_property
    def ordered(self) -> I64:
        """Items by equal-weight mean, best first; in search, only matching ones."""
        order = np.argsort(-self.scores.mean(axis=1), kind="stable")
        if self.scene == SEARCH:
            order = order[self.matches[order]]
        return order[order != self.beside] if self.scene == SIMILAR else order

    @staticmethod
    def most_bytes(index: ItemIndex) -> int:
        """Bytes that one place may come to hold, once everything was asked of it."""
        items, nodes = len(index.quality), index.graph.shape[1]
        return items * (4 * 6 + 4 + 4 + 8 + 1) + 4 * nodes


@dataclass(frozen=True, eq=False)
class Visit:
    """A shopper at a place."""

    #: Row in the profiles; the last one is the average shopper.
    row: int
    place: Place

    @property
    def scene(self) -> int:
        """Index in `SCENES`."""
        return self.place.scene

    @property
    def scores(self) -> F32:
        """The six scores of every item, (I, 6) float32."""
        return self.place.scores
