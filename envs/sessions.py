"""Sessions of B shoppers in step: hidden state, candidates, and what a shown slate does to them.

Everything here is a function of (world, state, slates): coin flips come from the session's own key
(`envs.counter_rng`), so cloning a state clones its future. The loops are in `envs.kernels` and
`envs.kernels_session`.
"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs import kernels, kernels_session
from envs.behaviour import sigmoid
from envs.clicks import ClickModel
from envs.counter_rng import Keys
from envs.kernels import HOME, SEARCH, SIMILAR
from envs.liking import BANDS
from envs.observation import (
    CONTEXT_FEATURES,
    ITEM_FEATURES,
    REASON_FEATURES,
    context_rows,
    window_rows,
)
from envs.tables import CLICKS, CLICKS_LAST, DAY, DAYS_AWAY, PURCHASES, VISIT, VISIT_PAGE
from envs.world import World

__all__ = [
    "HOME", "SEARCH", "SIMILAR", "Appeal", "Outcome", "SessionState", "appeal", "available",
    "candidates", "observe", "show", "start",
]  # fmt: skip

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Bought items that a session remembers.
_BOUGHT = 8


def _column(block: str, place: int) -> Any:
    """One number of each row as an array (B,) of its own: a view."""
    return property(lambda state: getattr(state, block)[:, place])


@dataclass
class SessionState:
    """State of B sessions; every array has B rows."""

    key: Keys
    shopper: I64
    scene: I64
    #: Row of the current anchor in the pools.
    anchor: I64
    #: Start of the candidate window in the pool.
    offset: I64
    #: Pages shown so far, those of all visits together.
    page: I64
    #: Visits before this one, pages of this visit, day of this visit (the first is on day 0), days
    #: between the last visit and this one, (B, 4); read them by name.
    calendar: I64
    #: Hidden: current taste (B, A), trust (B,).
    taste: F32
    trust: F32
    #: Satiation by class, which a shop can also compute from what it showed, (B, C).
    satiation: F32
    #: 1 where a class was clicked in this session, (B, C).
    clicked_class: F32
    #: Clicks on the last page of this visit, clicks and purchases of the session, and those of this
    #: visit, (B, 5); read them by name.
    tally: F32
    #: Items bought in this session, latest first, -1 where none, (B, M) int64.
    bought: I64

    visit = _column("calendar", VISIT)
    visit_page = _column("calendar", VISIT_PAGE)
    day = _column("calendar", DAY)
    days_away = _column("calendar", DAYS_AWAY)
    clicks_last = _column("tally", CLICKS_LAST)
    clicks = _column("tally", CLICKS)
    purchases = _column("tally", PURCHASES)

    def copy(self) -> SessionState:
        """Return an independent copy."""
        return SessionState(*(array.copy() for array in vars(self).values()))

    def put(self, rows: I64, other: SessionState) -> None:
        """Overwrite the given rows with those of ``other``."""
        for name, array in vars(self).items():
            array[rows] = getattr(other, name)

    def arrays(self) -> Any:
        """Return the arrays as kernels take them: a named tuple that shares their memory."""
        return _Arrays._make(vars(self).values())


_Arrays = namedtuple("_Arrays", [f.name for f in fields(SessionState)])  # type: ignore[misc]


class Outcome(NamedTuple):
    """What B shown slates led to; per-position arrays are (B, k)."""

    #: True where the slot showed an item (no duplicate, not masked).
    shown: Bools
    clicks: Bools
    purchases: Bools
    #: Reward by position (click and purchase parts), (B, k) float32.
    slot_reward: F32
    #: Left after the page by choice, (B,).
    left: Bools
    #: Of those: gone for good, and cut off before a visit too many; the others are back, (B,).
    gone: Bools
    cut: Bools
    #: Reward of the page, (B,) float32.
    reward: F32
    #: Reward parts by name, each (B,) float32; they sum to the reward.
    parts: dict[str, F32]


def start(world: World, keys: Keys) -> SessionState:
    """Start one session for each key."""
    state = _blank(world, len(keys))
    start_in(world, state, np.arange(len(keys)), keys)
    return state


def start_in(world: World, state: SessionState, rows: I64, keys: Keys) -> None:
    """Start the session of ``keys[i]`` in ``rows[i]`` of ``state``, in place."""
    kernels_session.start_rows(world.tables, world.numbers, state.arrays(), rows, keys)


def _blank(world: World, rows: int) -> SessionState:
    """Return arrays for B sessions that have yet to be started."""

    def whole(*more: int) -> I64:
        return np.zeros((rows, *more), dtype=np.int64)

    def real(*more: int) -> F32:
        return np.zeros((rows, *more), dtype=np.float32)

    # So many bought items are kept off the shelf that a slate can always be filled.
    bought = min(_BOUGHT, world.config.candidates - world.config.slots)
    return SessionState(
        key=np.zeros(rows, dtype=np.uint64), shopper=whole(), scene=whole(), anchor=whole(),
        offset=whole(), page=whole(), calendar=whole(4), taste=real(world.aspects.shape[1]),
        trust=real(), satiation=real(world.n_classes), clicked_class=real(world.n_classes),
        tally=real(5), bought=whole(bought),
    )  # fmt: skip


def candidates(world: World, state: SessionState) -> tuple[I64, I64]:
    """Return pool columns and item indexes of the N candidates, both (B, N).

    A window into the anchor's shuffled pool: cheap, and each page shows the next items.
    """
    shape = (len(state.key), world.config.candidates)
    columns, items = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.int64)
    kernels.candidate_rows(world.tables, state.arrays(), columns, items)
    return columns, items


def available(state: SessionState, items: I64) -> F32:
    """Mask of candidates (B, N) float32: 0 for what was bought in this session, else 1."""
    mask = np.empty(items.shape, dtype=np.float32)
    kernels.available_rows(state.bought, items, mask)
    return mask


def observe(world: World, state: SessionState) -> dict[str, F32]:
    """Return what the shop knows: context (B, C_ctx), items (B, N, F), mask (B, N), float32.

    Where the agent chooses reasons, ``reasons`` (B, N, R, 4) are the features of each variant
    beside each candidate; those in ``items`` are then variant 0's. The arrays are new ones.
    """
    rows, count = len(state.key), world.config.candidates
    config, tables = world.config, world.tables
    variants = len(tables.told) if config.reasons == "choice" else 0
    segment, level = tables.segment[state.shopper], tables.price_level[state.shopper]
    liked = world.liked
    seen = {
        "context": np.empty((rows, len(CONTEXT_FEATURES)), dtype=np.float32),
        "items": np.empty((rows, count, len(ITEM_FEATURES)), dtype=np.float32),
        "mask": np.empty((rows, count), dtype=np.float32),
        "reasons": np.empty((rows, count, variants, len(REASON_FEATURES)), dtype=np.float32),
    }
    context_rows(
        seen["context"], state.scene, state.visit_page, state.clicks_last, state.clicks,
        state.purchases, level, state.visit, state.days_away, config.slots, config.max_pages,
        config.max_visits, config.horizon_days,
    )  # fmt: skip
    window_rows(
        seen["items"], seen["mask"], seen["reasons"], tables.pool_items, tables.pool_scores,
        state.anchor, state.offset, state.bought, tables.seen, tables.reason_seen, segment, level,
        state.satiation, state.clicked_class, liked.items, liked.shoppers, len(BANDS),
        state.shopper,
    )  # fmt: skip
    if not variants:
        del seen["reasons"]
    return seen


@dataclass(frozen=True)
class Appeal:
    """Hidden appeal of M items to B shoppers, each (B, M)."""

    #: Probability of a click once examined, float32.
    attraction: F32
    #: Probability of a purchase once clicked, float32.
    purchase: F32
    #: Unsupported claims of the reason, float32, and whether it claims anything.
    unsupported: F32
    claimed: Bools


def appeal(
    world: World, state: SessionState, columns: I64, items: I64, variants: I64 | None = None
) -> Appeal:
    """Compute the hidden appeal of items given as pool columns and item indexes, (B, M).

    ``variants`` (B, M) says which of the world's reasons stands beside each item; the first by
    default.
    """
    shape = items.shape
    attraction, logit, unsupported = (np.empty(shape, dtype=np.float32) for _ in range(3))
    claimed = np.empty(shape, dtype=np.bool_)
    kernels.appeal_rows(
        world.tables, world.numbers, state.arrays(), columns, items,
        np.zeros(shape, dtype=np.int64) if variants is None else variants,
        np.ones(shape, dtype=np.bool_), attraction, logit, unsupported, claimed,
    )  # fmt: skip
    return Appeal(attraction, sigmoid(logit).astype(np.float32), unsupported, claimed)


def show(
    world: World, clicks_model: ClickModel, state: SessionState, slates: I64,
    variants: I64 | None = None, resting: Bools | None = None,
) -> tuple[SessionState, Outcome, I64]:  # fmt: skip
    """Show slates (B, k) of candidate positions; return next state, outcome and item indexes.

    Clicks and purchases of an item use flips keyed by (session, page, item): a policy that shows
    the same item on the same page meets the same luck. ``state`` is left as it was.

    Args:
        world: the shop.
        clicks_model: how a page is read.
        state: B sessions.
        slates: candidate positions 0..N-1, (B, k) int64; a repeated or masked one is not shown.
        variants: which of the world's R reasons stands beside each item, (B, k) int64; the first
            by default.
        resting: rows that show nothing and stay as they are, (B,); none by default.
    """
    shape, rows = slates.shape, len(slates)
    if variants is None:
        variants = np.zeros(shape, dtype=np.int64)
    if resting is None:
        resting = np.zeros(rows, dtype=np.bool_)
    tables, numbers = world.tables, world.numbers
    columns, items = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.int64)
    shown, claimed = np.empty(shape, dtype=np.bool_), np.empty(shape, dtype=np.bool_)
    luck = np.empty((*shape, clicks_model.draws))
    attraction, buy_logit, unsupported = (np.empty(shape, dtype=np.float32) for _ in range(3))
    kernels.page_rows(
        tables, numbers, state.arrays(), slates, variants, resting, columns, items, shown, luck,
        attraction, buy_logit, unsupported, claimed,
    )  # fmt: skip
    clicks = clicks_model.clicks_from(attraction, luck)
    nxt = state.copy()
    purchases, slot_reward = np.empty(shape, dtype=np.bool_), np.empty(shape, dtype=np.float32)
    parts, ends = np.empty((4, rows), dtype=np.float32), np.empty((3, rows), dtype=np.bool_)
    kernels_session.turn_rows(
        tables, numbers, nxt.arrays(), items, shown, buy_logit, unsupported, claimed, clicks,
        resting, purchases, slot_reward, parts, ends,
    )  # fmt: skip
    outcome = Outcome(
        shown, clicks, purchases, slot_reward, ends[0], ends[1], ends[2], parts[3],
        {"click": parts[0], "purchase": parts[1], "leave": parts[2]},
    )  # fmt: skip
    return nxt, outcome, items
