"""Variety: a reason worded like all the others is worn out.

The policy that earns most clicks tells every shopper in the same sentence. Let ``s_b`` be the share
of the *other* texts of a batch whose form (`rewards.form`) holds the word pair b, averaged with the
share that earlier batches had (`MEMORY`). A text's wear is the mean of s_b over its distinct pairs,
in [0, 1]: 0 if nobody else says any of it, 1 if all say all of it. Since it counts forms, telling
other facts in the same sentence helps nothing, and two facts are no more worn than one.

A pair that no reference uses counts as wholly worn: else the cheapest way to be rare would be to
scramble words. What is rewarded is therefore to use the whole range of the references evenly. The
gradient is that of a "crowding" penalty, known from fitness sharing (Goldberg, Richardson 1987).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewards.form import word_pairs

F32 = NDArray[np.float32]
Pair = tuple[str, str]

#: Weight of earlier batches in the shares, once there are any.
MEMORY = 0.5


class VarietyReward:
    """How worn the wording of each text of a batch is."""

    def __init__(self, references: Sequence[str]) -> None:
        """Learn from the forms of references which word pairs exist; without any, all do."""
        self._known = frozenset(pair for shape in references for pair in word_pairs(shape))
        #: Running share of earlier batches by pair; None before the first.
        self._shares: dict[Pair, float] | None = None

    def wear(self, shapes: Sequence[str]) -> F32:
        """Return the wear of n forms in one batch, (n,) float32 in [0, 1]."""
        pairs = [set(word_pairs(shape)) for shape in shapes]
        counts = Counter(pair for own in pairs for pair in own)
        others = max(len(shapes) - 1, 1)
        worn = {pair: self._mixed(pair, (count - 1) / others) for pair, count in counts.items()}
        return np.array(
            [sum(worn[pair] for pair in own) / len(own) for own in pairs], dtype=np.float32
        )

    def learn(self, shapes: Sequence[str]) -> None:
        """Take note of a batch that the policy wrote."""
        counts = Counter(pair for shape in shapes for pair in set(word_pairs(shape)))
        new = {pair: count / max(len(shapes), 1) for pair, count in counts.items()}
        old = self._shares
        if old is not None:
            new = {
                pair: (1 - MEMORY) * new.get(pair, 0.0) + MEMORY * old.get(pair, 0.0)
                for pair in sorted(old.keys() | new.keys())
            }
        self._shares = {pair: share for pair, share in new.items() if share > 1e-6}

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that changes as arrays that `numpy.savez` writes without pickling."""
        shares = self._shares or {}
        return {
            "begun": np.array(self._shares is not None),
            "pairs": np.array([" ".join(pair) for pair in shares], dtype=np.str_),
            "shares": np.array(list(shares.values()), dtype=np.float64),
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        pairs = [(first, second) for first, second in map(str.split, state["pairs"].tolist())]
        shares = dict(zip(pairs, state["shares"].tolist()))
        self._shares = shares if state["begun"] else None

    def _mixed(self, pair: Pair, share: float) -> float:
        if self._known and pair not in self._known:
            return 1.0
        if self._shares is None:
            return share
        return (1 - MEMORY) * share + MEMORY * self._shares.get(pair, 0.0)
