"""Sessions of B shoppers in step: hidden state, candidates, and what a shown slate does to them.

Everything here is a function of (world, state, slates): coin flips come from the session's own key
(`envs.counter_rng`), so cloning a state clones its future.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from envs.behaviour import (
    browse_logit,
    leave_probability,
    next_trust,
    persuasion,
    purchase_probability,
    sigmoid,
)
from envs.clicks import ClickModel
from envs.counter_rng import Keys, fold, uniform
from envs.observation import context_features, item_features
from envs.shoppers import price_fit, taste_match
from envs.world import World

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

HOME, SIMILAR, SEARCH = range(3)
# What a coin flip is for: the second counter of a session's key.
_SHOPPER, _SCENE, _ANCHOR, _OFFSET, _CLICK, _BUY, _LEAVE, _FOLLOW, _ASK, _QUERY = range(10)


#: Bought items that a session remembers.
_BOUGHT = 8


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
    page: I64
    #: Hidden: current taste (B, A), trust (B,).
    taste: F32
    trust: F32
    #: Satiation by class, which a shop can also compute from what it showed, (B, C).
    satiation: F32
    #: 1 where a class was clicked in this session, (B, C).
    clicked_class: F32
    clicks_last: F32
    clicks: F32
    purchases: F32
    #: Items bought in this session, latest first, -1 where none, (B, M) int64.
    bought: I64

    def copy(self) -> SessionState:
        """Return an independent copy."""
        return SessionState(**{f.name: getattr(self, f.name).copy() for f in fields(self)})

    def put(self, rows: I64, other: SessionState) -> None:
        """Overwrite the given rows with those of ``other``."""
        for f in fields(self):
            getattr(self, f.name)[rows] = getattr(other, f.name)


@dataclass(frozen=True)
class Outcome:
    """What B shown slates led to; per-position arrays are (B, k)."""

    #: True where the slot showed an item (no duplicate, not masked).
    shown: Bools
    clicks: Bools
    purchases: Bools
    #: Reward by position (click and purchase parts), (B, k) float32.
    slot_reward: F32
    #: Left after the page by choice, (B,).
    left: Bools
    #: Reward of the page, (B,) float32.
    reward: F32
    #: Reward parts by name, each (B,) float32; they sum to the reward.
    parts: dict[str, F32]


def _flip(state_key: Keys, page: I64, purpose: int) -> NDArray[np.float64]:
    return uniform(fold(fold(state_key, page), purpose))


def start(world: World, keys: Keys) -> SessionState:
    """Start one session for each key."""
    config, zero = world.config, np.zeros(len(keys), dtype=np.int64)
    shopper = (_flip(keys, zero, _SHOPPER) * world.n_shoppers).astype(np.int64)
    draw = _flip(keys, zero, _SCENE)
    search = config.start_search if world.n_queries else 0.0
    scene = np.where(
        draw < search, SEARCH, np.where(draw < search + config.start_home, HOME, SIMILAR)
    )
    first = [world.pools.first_row(s) for s in range(3)]
    query = (_flip(keys, zero, _ANCHOR) * max(world.n_queries, 1)).astype(np.int64)
    anchor = np.select(
        [scene == HOME, scene == SIMILAR],
        [first[HOME] + shopper, first[SIMILAR] + world.last_item[shopper]],
        first[SEARCH] + query,
    )
    people, rows = world.population, len(keys)
    nothing = np.zeros(rows, dtype=np.float32)
    return SessionState(
        key=keys.copy(),
        shopper=shopper,
        scene=scene.astype(np.int64),
        anchor=anchor,
        offset=_window_start(world, keys, zero),
        page=zero,
        taste=people.taste[shopper],
        trust=people.trust[shopper],
        satiation=np.zeros((rows, world.n_classes), dtype=np.float32),
        clicked_class=np.zeros((rows, world.n_classes), dtype=np.float32),
        clicks_last=nothing.copy(),
        clicks=nothing.copy(),
        purchases=nothing.copy(),
        bought=np.full((rows, _remembered(world)), -1, dtype=np.int64),
    )


def _remembered(world: World) -> int:
    """How many bought items are kept off the shelf: never so many that a slate cannot be filled."""
    return min(_BOUGHT, world.config.candidates - world.config.slots)


def _window_start(world: World, key: Keys, page: I64) -> I64:
    return (_flip(key, page, _OFFSET) * world.pools.items.shape[1]).astype(np.int64)


def candidates(world: World, state: SessionState) -> tuple[I64, I64]:
    """Return pool columns and item indexes of the N candidates, both (B, N).

    A window into the anchor's shuffled pool: cheap, and each page shows the next items.
    """
    count = world.config.candidates
    columns = (state.offset[:, None] + np.arange(count)) % world.pools.items.shape[1]
    items = world.pools.items[state.anchor[:, None], columns].astype(np.int64)
    return columns, items


def available(state: SessionState, items: I64) -> F32:
    """Mask of candidates (B, N) float32: 0 for what was bought in this session, else 1."""
    return 1 - (items[..., None] == state.bought[:, None]).any(axis=-1).astype(np.float32)


def observe(world: World, state: SessionState) -> dict[str, F32]:
    """Return what the shop knows: context (B, C_ctx), items (B, N, F), mask (B, N), float32."""
    columns, items = candidates(world, state)
    segment, level = world.segment[state.shopper], world.price_level[state.shopper]
    features = item_features(
        world.facts, items, world.pools.scores[state.anchor[:, None], columns], segment, level,
        state.satiation, state.clicked_class,
    )  # fmt: skip
    context = context_features(
        state.scene, state.page.astype(np.float32), state.clicks_last, state.clicks,
        state.purchases, level, slots=world.config.slots, max_pages=world.config.max_pages,
    )  # fmt: skip
    return {
        "context": context,
        "items": features,
        "mask": available(state, items),
    }


@dataclass(frozen=True)
class Appeal:
    """Hidden appeal of M items to B shoppers, each (B, M) float32."""

    attraction: F32
    #: Probability of a purchase once clicked.
    purchase: F32
    unsupported: F32
    claimed: Bools


def appeal(world: World, state: SessionState, columns: I64, items: I64) -> Appeal:
    """Compute the hidden appeal of items given as pool columns and item indexes, (B, M)."""
    config, rows = world.config, np.arange(len(items))[:, None]
    segment = world.segment[state.shopper][:, None]
    people = world.population
    match = taste_match(state.taste[:, None], world.aspects[items])
    classes = world.class_index[items]
    price = price_fit(world.price_z[items], people.price_point[state.shopper][:, None])
    price = price * people.price_sensitivity[state.shopper][:, None]
    quality = world.quality[items]
    logit = browse_logit(
        config,
        match,
        people.class_affinity[state.shopper[:, None], classes],
        world.pools.relevance[state.anchor[:, None], columns],
        price,
        quality,
        state.satiation[rows, classes],
    )
    claims = world.reasons.claims[items, segment]
    liked = np.einsum("bma,ba->bm", claims, state.taste)
    words = world.reasons.words[items, segment]
    logit = logit + config.w_reason * persuasion(
        config, state.trust[:, None], liked, claims.sum(axis=-1), words
    )
    unsupported = world.reasons.unsupported[items, segment]
    buys = purchase_probability(config, match, price, quality, unsupported)
    return Appeal(
        attraction=sigmoid(logit).astype(np.float32),
        purchase=buys.astype(np.float32),
        unsupported=unsupported,
        claimed=claims.max(axis=-1) > 0,
    )


def legal_slots(slates: I64, mask: F32) -> Bools:
    """True for slots whose candidate is unmasked and not shown above in the same slate, (B, k)."""
    repeats = np.zeros(slates.shape, dtype=bool)
    for slot in range(1, slates.shape[1]):
        repeats[:, slot] = (slates[:, :slot] == slates[:, slot, None]).any(axis=1)
    return ~repeats & (np.take_along_axis(mask, slates, axis=1) > 0)


def show(
    world: World, clicks_model: ClickModel, state: SessionState, slates: I64
) -> tuple[SessionState, Outcome, I64]:
    """Show slates (B, k) of candidate positions; return next state, outcome and item indexes.

    Clicks and purchases of an item use flips keyed by (session, page, item): a policy that shows
    the same item at the same place meets the same luck.
    """
    config = world.config
    columns, items = candidates(world, state)
    shown = legal_slots(slates, available(state, items))
    columns = np.take_along_axis(columns, slates, axis=1)
    items = np.take_along_axis(items, slates, axis=1)
    charm = appeal(world, state, columns, items)
    attraction = np.where(shown, charm.attraction, 0).astype(np.float32)

    page_key = fold(state.key, state.page)
    click_key = fold(fold(page_key, _CLICK)[:, None], items)
    flips = np.stack([uniform(fold(click_key, d)) for d in range(clicks_model.draws)], axis=-1)
    clicks = clicks_model.clicks_from(attraction, flips)
    buy_flip = uniform(fold(fold(page_key, _BUY)[:, None], items))
    purchases = clicks & (buy_flip < charm.purchase)

    nxt = _after_page(world, state, items, shown, clicks, purchases, charm)
    any_click = clicks.max(axis=1).astype(np.float32)
    seen = np.take_along_axis(nxt.satiation, world.class_index[items], axis=1)
    seen = np.where(shown, seen, 0).sum(axis=1) / np.maximum(shown.sum(axis=1), 1)
    impatience = np.maximum(0, nxt.page - world.population.patience[state.shopper])
    hazard = leave_probability(config, any_click, nxt.trust, seen, impatience)
    left = _flip(state.key, state.page, _LEAVE) < hazard

    click_part = config.w_click * clicks
    buy_part = config.w_buy * world.margin[items] * purchases
    parts = {
        "click": click_part.sum(axis=1).astype(np.float32),
        "purchase": buy_part.sum(axis=1).astype(np.float32),
        "leave": (-config.w_leave * left).astype(np.float32),
    }
    outcome = Outcome(
        shown=shown,
        clicks=clicks,
        purchases=purchases,
        slot_reward=(click_part + buy_part).astype(np.float32),
        left=left,
        reward=sum(parts.values(), np.zeros(len(items), dtype=np.float32)),
        parts=parts,
    )
    return nxt, outcome, items


def _after_page(
    world: World, state: SessionState, items: I64, shown: Bools, clicks: Bools,
    purchases: Bools, charm: Appeal,
) -> SessionState:  # fmt: skip
    """State of the next page, if the shopper stays."""
    config, nxt = world.config, state.copy()
    rows = np.arange(len(items))
    classes = world.class_index[items]
    lied = clicks & (charm.unsupported > 0)
    kept = clicks & charm.claimed & (charm.unsupported == 0)
    nxt.trust = next_trust(config, state.trust, lied.sum(axis=1), kept.sum(axis=1)).astype(
        np.float32
    )
    nxt.satiation *= config.satiation_decay
    gain = config.satiation_gain / items.shape[1]
    np.add.at(nxt.satiation, (rows[:, None], classes), gain * shown)
    clicked = np.nonzero(clicks)
    nxt.clicked_class[clicked[0], classes[clicked]] = 1
    bought_rows, bought_slots = np.nonzero(purchases)
    step = config.taste_drift
    for row, slot in zip(bought_rows, bought_slots):  # purchases are rare
        nxt.taste[row] = (1 - step) * nxt.taste[row] + step * world.aspects[items[row, slot]]
        nxt.bought[row] = np.concatenate([[items[row, slot]], nxt.bought[row]])[
            : nxt.bought.shape[1]
        ]
    nxt.clicks_last = clicks.sum(axis=1).astype(np.float32)
    nxt.clicks += nxt.clicks_last
    nxt.purchases += purchases.sum(axis=1)
    nxt.page += 1
    _turn_page(world, state, nxt, items, clicks)
    return nxt


def _turn_page(
    world: World, state: SessionState, nxt: SessionState, items: I64, clicks: Bools
) -> None:
    """Choose scene, anchor and candidate window of the next page, in place."""
    config, pools = world.config, world.pools
    key, page = state.key, state.page
    slots = clicks.shape[1]
    last = slots - 1 - clicks[:, ::-1].argmax(axis=1)
    follow = clicks.any(axis=1) & (_flip(key, page, _FOLLOW) < config.follow_click)
    draw = _flip(key, page, _ASK)
    asks = ~follow & (draw < config.new_query) & (world.n_queries > 0)
    query = (_flip(key, page, _QUERY) * max(world.n_queries, 1)).astype(np.int64)
    clicked_item = items[np.arange(len(items)), last]
    nxt.scene = np.where(follow, SIMILAR, np.where(asks, SEARCH, state.scene))
    nxt.anchor = np.where(
        follow,
        pools.first_row(SIMILAR) + clicked_item,
        np.where(asks, pools.first_row(SEARCH) + query, state.anchor),
    )
    fresh = follow | asks
    nxt.offset = np.where(
        fresh, _window_start(world, key, nxt.page), state.offset + config.candidates
    )
