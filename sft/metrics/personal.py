"""Personal or not: profile match with a control, and the swap tests.

A text that would be the same for everybody cannot pass: each contrast here is exactly 0 for one
fixed sentence, whatever it says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sft.metrics.figures import Figure, clustered_mean

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: How much of a text's claims an item supports, in [0, 1]: called with (item index, text).
Support = Callable[[int, str], float]


def profile_match(
    stated: Bools, held: Bools, likes: Bools, other: I64, items: I64
) -> dict[str, Figure]:
    """Share of texts that truly state an aspect their shopper likes, and a shuffled control.

    The control asks the same of the same text with the likes of row ``other``. Rows count where the
    item has a fact of either one's liking, so that both questions could be answered with yes.
    Intervals take rows of one item as one cluster.

    Args:
        stated: true claims of each text, (n, A) bool.
        held: aspects that the row's item has facts of, (n, A) bool.
        likes: aspects that the row's shopper likes, (n, A) bool.
        other: another row for each row, (n,).
        items: item of each row, (n,).

    Returns:
        ``profile_match``, ``profile_match_control`` and ``profile_match_lift`` (the paired
        difference); nothing where no row counts.
    """
    theirs = likes[other]
    counts = (held & likes).any(axis=1) & (held & theirs).any(axis=1)
    if not counts.any():
        return {}
    own, control = (
        np.asarray((stated[counts] & wanted[counts]).any(axis=1), dtype=np.float64)
        for wanted in (likes, theirs)
    )
    return {
        name: clustered_mean(values, items[counts])
        for name, values in (
            ("profile_match", own),
            ("profile_match_control", control),
            ("profile_match_lift", own - control),
        )
    }


def liked_stated(stated: Bools, held: Bools, likes: Bools) -> F64:
    """Does each text truly state an aspect that its reader likes? 1 or 0, (n,) float64.

    NaN where the item has no fact of the reader's liking: no text could be right there. Asked of
    texts that were written for another reader, it is the strict control of a profile match: what a
    writer says of the item to anybody is then taken off.

    Args:
        stated, held, likes: as in `profile_match`.
    """
    found = (stated & likes).any(axis=1).astype(np.float64)
    return np.where((held & likes).any(axis=1), found, np.nan)


def shopper_swap(
    stated: Bools, held: Bools, likes: Bools, pairs: I64, items: I64
) -> dict[str, Figure]:
    """Same item, other shopper: do the right claims change?

    With C the true claims of a text, A = likes ∩ held the right ones for a reader of the item, and
    f(C, A) = |C ∩ A| / max(|C|, 1), a pair (i, j) earns

        ½ · [f(C_i, A_i) - f(C_i, A_j) + f(C_j, A_j) - f(C_j, A_i)]  in [-1, 1]:

    how much better the two texts fit the readers they were written for than each other's. It is 0
    for equal claims and negative for swapped ones. Pairs with A_i = A_j do not count.

    Args:
        stated, held, likes: as in `profile_match`.
        pairs: rows of the same item, (P, 2).
        items: item of each row, (n,).

    Returns:
        ``shopper_swap`` (mean earning) and ``shopper_swap_changed`` (share of pairs whose claims
        differ at all); nothing where no pair counts.
    """
    right = likes & held
    one, two = pairs.T
    earned = swap_gains(stated[one], stated[two], right[one], right[two])
    counts = np.isfinite(earned)
    if not counts.any():
        return {}
    one, two, earned = one[counts], two[counts], earned[counts]
    changed = (stated[one] != stated[two]).any(axis=1).astype(np.float64)
    return {
        "shopper_swap": clustered_mean(earned, items[one]),
        "shopper_swap_changed": clustered_mean(changed, items[one]),
    }


def swap_gains(stated_one: Bools, stated_two: Bools, one: Bools, two: Bools) -> F64:
    """Return what each pair of texts about one item earns in the `shopper_swap`, (P,) float64.

    Args:
        stated_one, stated_two: true claims of the two texts, (P, A) bool.
        one, two: the right claims for their two readers, (P, A) bool; NaN where they are the same.
    """
    # Summed by text, so that equal claims cancel to the last bit.
    first = _fit(stated_one, one) - _fit(stated_one, two)
    second = _fit(stated_two, two) - _fit(stated_two, one)
    return np.where((one != two).any(axis=1), (first + second) / 2, np.nan)


def _fit(stated: Bools, right: Bools) -> F64:
    return (stated & right).sum(axis=1) / np.maximum(stated.sum(axis=1), 1)


def item_swap(
    texts: Sequence[str], items: I64, pairs: I64, clusters: I64, support: Support
) -> dict[str, Figure]:
    """Other item, same shopper where one is known: do the claims belong to their item?

    A pair earns ½ · [s(T_i, i) - s(T_i, j) + s(T_j, j) - s(T_j, i)], with s(T, k) the share of T's
    claims that item k supports; 0 for one fixed sentence and for texts that claim nothing.

    Args:
        texts: n texts.
        items: item of each row, (n,).
        pairs: rows of different items, (P, 2).
        clusters: what pairs are clustered by, by row: the shopper, (n,).
        support: s(T, k), called with (k, T).

    Returns:
        ``item_swap`` (mean earning); nothing where there is no pair.
    """
    if not len(pairs):
        return {}
    earned = item_gains(texts, items, pairs, support)
    return {"item_swap": clustered_mean(earned, clusters[pairs[:, 0]])}


def item_gains(texts: Sequence[str], items: I64, pairs: I64, support: Support) -> F64:
    """Return what each pair of texts earns in the `item_swap`, (P,) float64; arguments as there."""
    earned = []
    for i, j in pairs.tolist():
        (one, two), (first, second) = (texts[i], texts[j]), (int(items[i]), int(items[j]))
        gain = support(first, one) - support(second, one)
        earned.append((gain + (support(second, two) - support(first, two))) / 2)
    return np.array(earned, dtype=np.float64)


def pairs_within(groups: I64, differ: I64, rng: np.random.Generator) -> I64:
    """Return disjoint random pairs of rows, equal in ``groups`` and unlike in ``differ``, (P, 2).

    A row is in one pair at most, so that pairs are as independent as rows.
    """
    order = rng.permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    _, first, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(first, sizes)
    # Neighbours (0, 1), (2, 3), ... of each group; an odd one is left over.
    starts = np.flatnonzero((place % 2 == 0) & (place + 1 < np.repeat(sizes, sizes)))
    pairs = np.stack([order[starts], order[starts + 1]], axis=1)
    return pairs[differ[pairs[:, 0]] != differ[pairs[:, 1]]]
