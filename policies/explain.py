"""What put an item where it is: the share of each group of features in its score, exactly.

An item's logit is a game of its feature groups (Shapley 1953, "A value for n-person games";
Lundberg and Lee 2017, "A unified approach to interpreting model predictions"). The players are the
six similarity scores, the features of the item's reason and all other features. A coalition S is
worth v(S), the item's logit when it has its own features in the groups of S and those of an average
candidate of its page in the others, while every other candidate stays as it is. With G players,

    phi_g = sum over S without g of |S|! (G - |S| - 1)! / G! · (v(S + g) - v(S)),

so the contributions of an item sum to its logit less that of an average candidate in its place. All
2^G coalitions are scored: nothing is sampled, and a linear score gets its closed form, the sum of
w_f (x_f - mean_f) over the features of each group.

The class of an item, and how much of it was shown lately, is no property that it has more or less
of than an average candidate: it says whom the item has to give way to. So the game is played on the
page as if each candidate were of a class of its own that was never shown, and what the score loses
on the page as it is, is the contribution of `VARIETY`. All of them sum to the score less that of an
average candidate that gives way to nobody.

NumPy only: whatever scores a page will do, so that a bundle explains itself without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import factorial

import numpy as np
from numpy.typing import NDArray

from envs.observation import CROWDING_FEATURES, ITEM_FEATURES, REASON_FEATURES
from envs.similarity import SCORES

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: From context (B, C), items (B, N, F) and mask (B, N) to logits (B, N), float32; rows apart.
Logits = Callable[[dict[str, F32]], F32]
#: Columns of the item features by the name of their group.
Groups = Mapping[str, Sequence[int]]

#: Groups beside the six scores: what the reason says; price, popularity, margin and session; and
#: giving way to others of the same class, the columns of `CROWDING_FEATURES`, in their order.
REASON, REST, VARIETY = "reason", "rest", "variety"
#: Candidates scored in one call: more no longer fit the processor's caches.
_ROWS = 8_192
#: A logit is float32: what is smaller than this is its rounding.
_NOTHING = 1e-6


@dataclass(frozen=True)
class Explanation:
    """Why each of k items a page has its score."""

    #: Names of the G groups.
    groups: tuple[str, ...]
    #: What each group adds to the logit, (B, k, G) float64; below 0 it held the item back.
    contributions: F64
    #: Logit of an average candidate in the item's place, that gives way to nobody, (B, k) float64.
    base: F64

    def named(self, row: int, place: int) -> dict[str, float]:
        """Return the contributions to one item by group."""
        return dict(zip(self.groups, map(float, self.contributions[row, place])))


def feature_groups(features: Sequence[str] = ITEM_FEATURES) -> dict[str, tuple[int, ...]]:
    """Return the groups of named item features: each score, `REASON`, `REST` and `VARIETY`.

    A group without any feature is left out.
    """
    of = {name: name for name in SCORES} | dict.fromkeys(REASON_FEATURES, REASON)
    columns: dict[str, list[int]] = {name: [] for name in (*SCORES, REASON, REST, VARIETY)}
    if set(CROWDING_FEATURES) <= set(features):
        columns[VARIETY] = [features.index(name) for name in CROWDING_FEATURES]
    for column, name in enumerate(features):
        if column not in columns[VARIETY]:
            columns[of.get(name, REST)].append(column)
    return {name: tuple(found) for name, found in columns.items() if found}


def explain(
    logits: Logits, observation: Mapping[str, F32], places: I64, groups: Groups
) -> Explanation:
    """Explain items by their Shapley values, from all 2^G coalitions of their feature groups.

    Args:
        logits: scores pages; it is asked for ``B k 2^G`` pages of N candidates, a few at a time,
            and with `VARIETY` for B more.
        observation: context (B, C), items (B, N, F) and mask (B, N), float32.
        places: the candidates to explain, none of them masked, (B, k) int64.
        groups: disjoint columns by name; a column of no group keeps its value. `VARIETY` is no
            player and comes last.

    Raises:
        ValueError: for a masked candidate, a column in two groups, or logits of another shape.
    """
    players = {name: columns for name, columns in groups.items() if name != VARIETY}
    alone = _alone(observation, groups[VARIETY]) if VARIETY in groups else observation
    values = _coalitions(logits, alone, places, players)
    found = values @ shapley_weights(len(players))
    if VARIETY not in groups:
        return Explanation(tuple(players), found, values[..., 0])
    score = np.take_along_axis(logits(dict(observation)), places, axis=1)
    lost = score - values[..., -1]
    return Explanation(
        (*players, VARIETY), np.concatenate([found, lost[..., None]], axis=2), values[..., 0]
    )


def _alone(observation: Mapping[str, F32], columns: Sequence[int]) -> Mapping[str, F32]:
    """Return pages on which each candidate is of a class of its own that was never shown."""
    items = observation["items"].copy()
    code, exposure = columns
    items[..., code] = np.arange(items.shape[1])
    items[..., exposure] = 0
    return {**observation, "items": items}


def _coalitions(
    logits: Logits, observation: Mapping[str, F32], places: I64, players: Groups
) -> F64:
    """Return the worth of each coalition for each item, (B, k, 2^G)."""
    average = _average(observation, places)
    hidden = _hidden(players, observation["items"].shape[2])
    rows, slots = places.shape
    pages = np.repeat(np.arange(rows), slots * len(hidden))
    which = np.repeat(places.ravel(), len(hidden))
    worth = np.empty(len(pages))
    step = max(1, _ROWS // observation["items"].shape[1])
    for start in range(0, len(pages), step):
        page, place = pages[start : start + step], which[start : start + step]
        masked = hidden[np.arange(start, start + len(page)) % len(hidden)]
        items = observation["items"][page]
        each = np.arange(len(page))
        items[each, place] = np.where(masked, average[page], items[each, place])
        asked = {"context": observation["context"][page], "mask": observation["mask"][page]}
        found = logits(asked | {"items": items})
        if found.shape != asked["mask"].shape:
            raise ValueError(f"logits of {found.shape} for pages of {asked['mask'].shape}")
        worth[start : start + step] = found[each, place]
    return worth.reshape(rows, slots, len(hidden))


@cache
def shapley_weights(players: int) -> F64:
    """Return W, (2^G, G): a game v (2^G,) gives each player ``v @ W``.

    Bit g of a coalition's number says whether player g is in it.
    """
    numbers = np.arange(1 << players)
    member = (numbers[:, None] >> np.arange(players)) & 1 == 1
    size = member.sum(axis=1)
    total = factorial(players)
    joins = [factorial(s) * factorial(players - s - 1) / total for s in range(players)]
    # A coalition with the player weighs as the one it joined, one without it against.
    joined = np.array([0.0, *joins])[size]
    missed = np.array([*joins, 0.0])[size]
    return np.where(member, joined[:, None], -missed[:, None])


def top_groups(contributions: F64, most: int) -> NDArray[np.bool_]:
    """Say which groups are among the ``most`` that lift an item highest, (..., G) bool.

    A group that lifts nothing is never among them; of equal ones the first counts.
    """
    order = np.argsort(-contributions, axis=-1, kind="stable")
    rank = np.argsort(order, axis=-1, kind="stable")
    return (rank < most) & (contributions > _NOTHING)


def _average(observation: Mapping[str, F32], places: I64) -> F32:
    """Return the mean features of each page's available candidates, (B, F)."""
    mask = observation["mask"] > 0
    if not np.take_along_axis(mask, places, axis=1).all():
        raise ValueError("a masked candidate has no score to explain")
    # Masked candidates may hold anything, also what is no number.
    items = np.where(mask[..., None], observation["items"], 0)
    mean = items.sum(axis=1, dtype=np.float64) / mask.sum(axis=1)[:, None]
    return mean.astype(np.float32)


def _hidden(groups: Groups, features: int) -> NDArray[np.bool_]:
    """Return which columns each coalition does not know, (2^G, F) bool."""
    columns = np.concatenate([np.asarray(own, dtype=np.int64) for own in groups.values()])
    if any(a == b for a, b in pairwise(np.sort(columns))):
        raise ValueError(f"groups must not share a column, but are {dict(groups)}")
    numbers = np.arange(1 << len(groups))
    out = np.zeros((len(numbers), features), dtype=bool)
    for player, own in enumerate(groups.values()):
        out[:, list(own)] = ((numbers >> player) & 1 == 0)[:, None]
    return out
