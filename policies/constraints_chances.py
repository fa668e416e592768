"""How likely a slate is where rules hold: stages exactly, items in a slot exactly or by sampling.

A rule that fills slots from the top has, at each stage, a law over what is allowed there. So
``pscore`` and ``pscore_cascade`` are products of stage probabilities over the allowed set, exact. A
pinned slot has probability one, and so has a void one.

``pscore_item_position`` sums over all slates with the item in its slot. Under Plackett-Luce with
either groups or new items to keep it is an integral (`logging_race.ruled_marginals`). Where both
are at work, and under exploration by slot, slates are drawn from the rule itself, and

    P(i in slot j) = P(logged prefix) P(i | logged prefix) + E[ P(i | prefix); prefix not logged ],

whose first part is known and second a mean over the drawn prefixes: unbiased, above zero for all
that can be shown, and far less noisy than counting. Its standard error stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from envs.counter_rng import Keys, fold, uniform
from envs.feedback import PROPENSITIES
from policies.constraints_page import PageRules, Walk, fill
from policies.logging_race import ruled_marginals

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: From preferences (B, N) and what is allowed (B, N) to probabilities (B, N), rows summing to one.
Law = Callable[[F64, Bools], F64]
#: Column of the marginal's standard error, 0 where it is exact; only where rules hold.
STANDARD_ERROR = "pscore_item_position_se"
#: Slates drawn for each page, and rows of one chunk of drawing.
DRAWS = 128
_CHUNK = 64_000
# Keys the draws apart from everything else.
_DRAW = 0xD4A3


def best_allowed(preferences: F64, allowed: Bools) -> F64:
    """Return 1 at the best allowed candidate, ties by position, (B, N): the law of the top k."""
    best = np.where(allowed, preferences, -np.inf).argmax(axis=1)
    found = np.zeros(allowed.shape)
    found[np.arange(len(found)), best] = 1.0
    return found * allowed


def in_proportion(preferences: F64, allowed: Bools) -> F64:
    """Return the softmax of logits over what is allowed, (B, N): the law of Plackett-Luce."""
    logits = np.where(allowed, preferences, -np.inf)
    best = logits.max(axis=1, keepdims=True, initial=-np.inf)
    rates = np.exp(logits - np.where(np.isfinite(best), best, 0.0))
    return rates / np.maximum(rates.sum(axis=1, keepdims=True), np.finfo(float).tiny)


def greedy_or_any(epsilon: float) -> Law:
    """Return the law of the best with probability 1 - epsilon, else of any allowed candidate."""

    def law(preferences: F64, allowed: Bools) -> F64:
        anything = allowed / np.maximum(allowed.sum(axis=1, keepdims=True), 1)
        return (1 - epsilon) * best_allowed(preferences, allowed) + epsilon * anything

    return law


def stage_chances(rules: PageRules, slates: I64, preferences: F64, law: Law) -> F64:
    """Return the probability of each slot's item given those above it, (B, k)."""
    stages = np.ones(slates.shape)
    walk = Walk(rules)
    for slot in range(slates.shape[1]):
        free, chosen = walk.free(slot), slates[:, slot]
        own = np.take_along_axis(law(preferences, walk.allowed()), chosen[:, None], axis=1)[:, 0]
        stages[:, slot] = np.where(free, own, settled(rules, slates, slot))
        walk.show(slot, chosen)
    return stages


def settled(rules: PageRules, slates: I64, slot: int) -> Bools:
    """Whether a slot that is not free holds what it must, (B,): its pin, or anything if void."""
    return (rules.pinned[:, slot] < 0) | (slates[:, slot] == rules.pinned[:, slot])


def free_places(rules: PageRules) -> I64:
    """Number each page's free slots from 0 on, (B, k); -1 where a slot is pinned or void."""
    open_slot = rules.pinned < 0
    place = open_slot.cumsum(axis=1) - 1
    return np.where(open_slot & (place < Walk(rules).left[:, None]), place, -1)


def bundle(rules: PageRules, slates: I64, stages: F64, marginals: F64, error: F64) -> dict:
    """Return the three propensities, and the standard error of the marginals, each (B, k)."""
    cascade = np.cumprod(stages, axis=1)
    whole = np.repeat(cascade[:, -1:], cascade.shape[1], axis=1)
    place = free_places(rules)
    held = np.stack([settled(rules, slates, slot) for slot in range(slates.shape[1])], axis=1)
    marginals = np.where(place < 0, held, marginals)
    found = dict(zip(PROPENSITIES, (whole, cascade, marginals), strict=True))
    return found | {STANDARD_ERROR: np.where(place < 0, 0.0, error)}


def exact_rows(rules: PageRules) -> Bools:
    """Pages whose Plackett-Luce marginals are an integral, (B,): not both kinds at work at once."""
    walk = Walk(rules)
    # A first group comes by itself.
    grouped = (walk.groups > 1) | (rules.limit < rules.slots)
    return ~(grouped & (walk.fresh > 0))


def race(rules: PageRules, logits: F64, slates: I64) -> F64:
    """Return exact Plackett-Luce marginals (B, k) of pages that `exact_rows` names."""
    walk = Walk(rules)
    fresh = walk.fresh > 0
    # Either the first item of an untouched group is exempt from the budget, or every new item.
    opens = np.where(fresh[:, None], 0, (walk.used == 0).astype(np.int64))
    group, room = rules.group, walk.room(rules.limit)
    kinds = (~rules.new).astype(np.int64)
    group = np.where(fresh[:, None], kinds, group)
    opens[fresh, 0] = rules.slots
    room = np.where(fresh[:, None], rules.slots, room)
    return ruled_marginals(
        logits, walk.open, slates, free_places(rules),
        group=group, exempt=opens, room=room,
        budget=walk.left - np.where(fresh, walk.fresh, walk.groups),
    )  # fmt: skip


def drawn_marginals(
    rules: PageRules, slates: I64, preferences: F64, law: Law, draws: int = DRAWS
) -> tuple[F64, F64]:
    """Return marginals (B, k) by sampling, and their standard errors.

    The draws of a page are keyed by its own preferences, so they depend on no other page.
    """
    found, error = np.empty(slates.shape), np.empty(slates.shape)
    step = max(1, _CHUNK // draws)
    for first in range(0, len(slates), step):
        rows = np.arange(first, min(first + step, len(slates)))
        found[rows], error[rows] = _drawn(
            rules.rows(rows), slates[rows], preferences[rows], law, draws
        )
    return found, error


def _drawn(
    rules: PageRules, slates: I64, preferences: F64, law: Law, draws: int
) -> tuple[F64, F64]:
    pages, slots = slates.shape
    stages = stage_chances(rules, slates, preferences, law)
    known = np.cumprod(stages, axis=1)
    many = np.repeat(np.arange(pages), draws)
    keys = fold(page_keys(preferences)[:, None], np.arange(draws)).ravel()
    wanted, liked = slates[many], preferences[many]
    same = np.ones(len(many), dtype=bool)
    seen = np.zeros((len(many), slots))

    def choose(slot: int, allowed: Bools) -> I64:
        nonlocal same
        chances = law(liked, allowed)
        own = np.take_along_axis(chances, wanted[:, slot, None], axis=1)[:, 0]
        seen[:, slot] = np.where(same, 0.0, own)
        chosen = drawn(chances, uniform(fold(keys, slot)))
        pinned = rules.pinned[many, slot]
        same = same & (np.where(pinned >= 0, pinned, chosen) == wanted[:, slot])
        return chosen

    fill(rules.rows(many), choose)
    parts = seen.reshape(pages, draws, slots)
    return known + parts.mean(axis=1), parts.std(axis=1, ddof=1) / np.sqrt(draws)


def drawn(chances: F64, coins: F64) -> I64:
    """Draw a candidate of each row by its probabilities (B, N) and a coin in [0, 1), (B,)."""
    upto = chances.cumsum(axis=1)
    # The last one with any probability, where rounding leaves the sum below the coin.
    last = chances.shape[1] - 1 - (chances[:, ::-1] > 0).argmax(axis=1)
    return np.minimum((upto <= coins[:, None] * upto[:, -1:]).sum(axis=1), last)


def page_keys(preferences: F64) -> Keys:
    """Return a key of each page made of its own preferences, (B,) uint64."""
    bits = np.ascontiguousarray(preferences + 0.0).view(np.uint64)
    # Each bit pattern is mixed with its place, so that equal pages alone have equal keys.
    mixed = fold(bits, np.arange(bits.shape[1]))
    return fold(np.bitwise_xor.reduce(mixed, axis=1), _DRAW)
