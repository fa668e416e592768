"""The best slate of one page, given what each candidate's click is worth: what oracles choose by.

The value of a slate is sum_j P(click_j) worth_j under the page's click model. Exact for the
position-based model (rearrangement inequality) and for the cascade model (dynamic programming);
for every other click model a local search whose result no single replacement or exchange improves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.clicks import ClickModel, PositionBased
from envs.clicks.cascade import Cascade

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Moves of the local search; in a shop's own pages fewer than ten are made.
_MOVES = 50


def best_page(model: ClickModel, attraction: F32, worth: F32, slots: int, mask: F32) -> F32:
    """Return scores whose top k is the best slate found, (B, N) float32.

    Args:
        model: how the page is read.
        attraction: click probability of each candidate once examined, (B, N).
        worth: what its click is worth, (B, N), in units of reward.
        slots: slate length k.
        mask: 1 where a candidate may be shown, (B, N).
    """
    if isinstance(model, PositionBased):
        # The best item stands where most is seen, which need not be the top.
        slates = np.empty((len(mask), slots), dtype=np.int64)
        slates[:, np.argsort(-model.theta, kind="stable")] = top_slates(
            attraction * worth, slots, mask
        )
        return slate_scores(slates, attraction.shape[1])
    in_turn = cascade_order(attraction, worth, slots, mask)
    if isinstance(model, Cascade):
        return in_turn
    starts = [top_slates(scores, slots, mask) for scores in (in_turn, attraction * worth)]
    ends = [climb(model, attraction, worth, slates, mask) for slates in starts]
    values = [slate_values(model, attraction, worth, slates[:, None])[:, 0] for slates in ends]
    return slate_scores(np.where((values[0] >= values[1])[:, None], *ends), attraction.shape[1])


def top_slates(scores: F32, slots: int, mask: F32) -> I64:
    """Return the k best candidates that ``mask`` allows, best first, (B, k) int64."""
    allowed = np.where(mask > 0, scores, -np.inf)
    return np.argsort(-allowed, axis=1, kind="stable")[:, :slots]


def slate_scores(slates: I64, candidates: int) -> F32:
    """Return scores (B, N) float32 whose top k are the slates (B, k); the others are -inf."""
    scores = np.full((len(slates), candidates), -np.inf, dtype=np.float32)
    falling = np.arange(slates.shape[1], 0, -1, dtype=np.float32)
    np.put_along_axis(scores, slates, np.broadcast_to(falling, slates.shape), axis=1)
    return scores


def slate_values(model: ClickModel, attraction: F32, worth: F32, slates: I64) -> F64:
    """Return sum_j P(click_j) worth_j of S slates a page, (B, S) float64; slates are (B, S, k)."""
    rows = np.arange(len(slates))[:, None, None]
    flat = attraction[rows, slates].reshape(-1, slates.shape[2])
    clicks = model.marginal_click_probability(flat).reshape(slates.shape)
    return (clicks * worth[rows, slates]).sum(axis=2)


def climb(model: ClickModel, attraction: F32, worth: F32, slates: I64, mask: F32) -> I64:
    """Make the best single replacement or exchange in each slate (B, k) until none improves it."""
    slates = slates.copy()
    reached = slate_values(model, attraction, worth, slates[:, None])[:, 0]
    rows = np.arange(len(slates))
    for _ in range(_MOVES):
        near = neighbours(slates[rows], attraction.shape[1])
        values = slate_values(model, attraction[rows], worth[rows], near)
        # Neighbour (slot, candidate) is legal where the candidate is.
        values = np.where(np.tile(mask[rows] > 0, slates.shape[1]), values, -np.inf)
        best = values.argmax(axis=1)
        value = values[np.arange(len(rows)), best]
        # The margin keeps rounding from exchanging equals for ever.
        better = value > reached[rows] + 1e-9
        if not better.any():
            break
        slates[rows[better]] = near[np.arange(len(rows)), best][better]
        rows = rows[better]
        reached[rows] = value[better]
    return slates


def neighbours(slates: I64, candidates: int) -> I64:
    """Return every slate that differs by one replacement or one exchange, (B, k N, k) int64.

    Neighbour (j, c) has candidate c in slot j; where c stood elsewhere, the two change places.
    """
    rows, slots = slates.shape
    every = np.arange(candidates)
    stood = slates[:, None, None, :] == every[:, None]
    near = np.where(stood, slates[:, :, None, None], slates[:, None, None, :])
    for slot in range(slots):
        near[:, slot, :, slot] = every
    return near.reshape(rows, slots * candidates, slots)


def cascade_order(attraction: F32, worth: F32, slots: int, mask: F32) -> F32:
    """Return scores whose top k is the best cascade slate of what ``mask`` allows, (B, N).

    For a fixed set, showing by falling worth is optimal (exchange argument). The set is chosen by
    V(i, j) = max(V(i+1, j), a_i w_i + (1 - a_i) V(i+1, j-1)) over items sorted by worth.
    """
    rows, count = attraction.shape
    # What is masked comes last and is never worth taking.
    order = np.argsort(np.where(mask > 0, -worth, np.inf), axis=1, kind="stable")
    a, w = (np.take_along_axis(x * (mask > 0), order, axis=1) for x in (attraction, worth))
    allowed = (mask > 0).sum(axis=1)
    value = np.zeros((count + 1, rows, slots + 1))
    for i in range(count - 1, -1, -1):
        taken = a[:, i, None] * w[:, i, None] + (1 - a[:, i, None]) * value[i + 1, :, :-1]
        value[i, :, 1:] = np.maximum(value[i + 1, :, 1:], taken)
    scores = np.full(attraction.shape, -np.inf)
    left = np.full(rows, slots)
    everyone = np.arange(rows)
    for i in range(count):
        better = value[i, everyone, left] > value[i + 1, everyone, left]
        # Where too few items are left to choose from, the rest must be taken.
        take = (left > 0) & (better | (allowed - i <= left)) & (i < allowed)
        scores[everyone[take], order[take, i]] = count - i
        left = left - take
    return scores.astype(np.float32)
