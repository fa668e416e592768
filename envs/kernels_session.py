"""Kernels of a session: how it starts, what a page does to it, whether the shopper comes back.

Arguments are those of `envs.kernels`; ``state`` is changed in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.behaviour import (
    days_until,
    leave_probability,
    next_trust,
    return_probability,
    sigmoid,
)
from envs.compiled import compiled, jittable
from envs.counter_rng import flip, fold_one, uniform
from envs.kernels import (
    ANCHOR,
    ASK,
    BUY,
    FOLLOW,
    HOME,
    LEAVE,
    OFFSET,
    QUERY,
    RETURN,
    SCENE,
    SEARCH,
    SHOPPER,
    SIMILAR,
)
from envs.observation import CLASS
from envs.tables import (
    ASPECTS,
    CLICKS,
    CLICKS_LAST,
    DAY,
    DAYS_AWAY,
    MARGIN,
    PATIENCE,
    PURCHASES,
    TRUST,
    VISIT,
    VISIT_CLICKS,
    VISIT_PAGE,
    VISIT_PURCHASES,
)


@jittable
def _open_visit(tables: Any, config: Any, state: Any, row: Any) -> None:
    """Choose scene, anchor and candidate window of a visit's first page."""
    key, page, shopper = state.key[row], state.page[row], state.shopper[row]
    draw = flip(key, page, SCENE)
    search = config.start_search if tables.n_queries > 0 else 0.0
    if draw < search:
        state.scene[row] = SEARCH
        state.anchor[row] = tables.first_query + int(flip(key, page, ANCHOR) * tables.n_queries)
    elif draw < search + config.start_home:
        state.scene[row], state.anchor[row] = HOME, shopper
    else:
        state.scene[row] = SIMILAR
        state.anchor[row] = tables.similar_row[tables.last_item[shopper]]
    state.offset[row] = int(flip(key, page, OFFSET) * tables.pool_items.shape[1])


@compiled
def start_rows(tables: Any, numbers: Any, state: Any, rows: Any, keys: Any) -> None:
    """Start the session of ``keys[i]`` in ``rows[i]``."""
    config = numbers[0]
    for at in range(len(rows)):
        row, key = rows[at], keys[at]
        shopper = int(flip(key, 0, SHOPPER) * len(tables.segment))
        state.key[row], state.shopper[row] = key, shopper
        state.page[row] = 0
        state.calendar[row] = 0
        state.tally[row] = 0
        state.taste[row] = tables.taste[shopper]
        state.trust[row] = tables.people[shopper, TRUST]
        state.satiation[row] = 0
        state.clicked_class[row] = 0
        state.bought[row] = -1
        _open_visit(tables, config, state, row)


@jittable
def _take_home(tables: Any, config: Any, state: Any, row: Any, item: Any) -> None:
    """A purchase: taste drifts towards the item, which is off the shelf from now on."""
    drift = config.taste_drift
    taste, bought = state.taste[row], state.bought[row]
    for aspect in range(len(taste)):
        taste[aspect] = (1 - drift) * taste[aspect] + drift * tables.traits[item, ASPECTS + aspect]
    for place in range(len(bought) - 1, 0, -1):
        bought[place] = bought[place - 1]
    if len(bought) > 0:
        bought[0] = item


@jittable
def _come_back(tables: Any, config: Any, state: Any, row: Any, days: Any) -> None:
    """Open the next visit: satiation has faded, taste, trust and what was bought are as before."""
    state.calendar[row, DAY] += days
    state.calendar[row, DAYS_AWAY] = days
    state.calendar[row, VISIT] += 1
    state.calendar[row, VISIT_PAGE] = 0
    fade = config.satiation_overnight**days
    for kind in range(state.satiation.shape[1]):
        state.satiation[row, kind] *= fade
    for count in (CLICKS_LAST, VISIT_CLICKS, VISIT_PURCHASES):
        state.tally[row, count] = 0
    _open_visit(tables, config, state, row)


@compiled
def turn_rows(
    tables: Any, numbers: Any, state: Any, items: Any, shown: Any, buy_logit: Any,
    unsupported: Any, claimed: Any, clicks: Any, resting: Any, purchases: Any, slot_reward: Any,
    parts: Any, ends: Any,
) -> None:  # fmt: skip
    """Let clicks have their consequences: purchases, rewards, and the state of the next page.

    ``items`` to ``clicks`` are those of `envs.kernels.page_rows`, (B, k). Written: ``purchases``
    (B, k) bool, ``slot_reward`` (B, k) float32, ``parts`` (4, B) float32 (click, purchase, leave
    and their sum), ``ends`` (3, B) bool: left after the page, gone for good, cut off before a
    visit too many. Resting rows stay as they are and earn nothing.
    """
    config = numbers[0]
    satiation, calendar, tally = state.satiation, state.calendar, state.tally
    slots, width = items.shape[1], tables.pool_items.shape[1]
    for row in range(items.shape[0]):
        for slot in range(slots):
            purchases[row, slot] = False
            slot_reward[row, slot] = 0
        parts[0, row] = parts[1, row] = parts[2, row] = parts[3, row] = 0
        ends[0, row] = ends[1, row] = ends[2, row] = False
        if resting[row]:
            continue
        key, page, shopper = state.key[row], state.page[row], state.shopper[row]
        for kind in range(satiation.shape[1]):
            satiation[row, kind] *= config.satiation_decay
        buy_key = fold_one(fold_one(key, page), BUY)
        lies, kept, n_clicks, n_buys, n_shown, last = 0, 0, 0, 0, 0, -1
        click_part, buy_part = 0.0, 0.0
        for slot in range(slots):
            item = items[row, slot]
            kind = int(tables.seen[item, CLASS])
            if shown[row, slot]:
                n_shown += 1
                satiation[row, kind] += config.satiation_gain / slots
            if not clicks[row, slot]:
                continue
            n_clicks += 1
            last = item
            state.clicked_class[row, kind] = 1
            if unsupported[row, slot] > 0:
                lies += 1
            elif claimed[row, slot]:
                kept += 1
            worth = config.w_click
            click_part += worth
            if uniform(fold_one(buy_key, item)) < sigmoid(buy_logit[row, slot]):
                purchases[row, slot] = True
                n_buys += 1
                gain = config.w_buy * tables.traits[item, MARGIN]
                buy_part += gain
                worth += gain
                _take_home(tables, config, state, row, item)
            slot_reward[row, slot] = worth
        if lies + kept > 0:
            state.trust[row] = next_trust(config, state.trust[row], lies, kept)
        tally[row, CLICKS_LAST] = n_clicks
        tally[row, CLICKS] += n_clicks
        tally[row, VISIT_CLICKS] += n_clicks
        tally[row, PURCHASES] += n_buys
        tally[row, VISIT_PURCHASES] += n_buys
        state.page[row] = page + 1
        calendar[row, VISIT_PAGE] += 1

        tired = 0.0
        for slot in range(slots):
            if shown[row, slot]:
                tired += satiation[row, int(tables.seen[items[row, slot], CLASS])]
        tired /= max(n_shown, 1)
        impatience = max(0.0, calendar[row, VISIT_PAGE] - tables.people[shopper, PATIENCE])
        hazard = leave_probability(
            config, np.float64(n_clicks > 0), state.trust[row], tired, impatience
        )
        days = -1
        if flip(key, page, LEAVE) < hazard:
            ends[0, row] = ends[1, row] = True
            parts[2, row] = -config.w_leave
            if config.multi_visit:
                chance = return_probability(
                    config, tally[row, VISIT_CLICKS], tally[row, VISIT_PURCHASES],
                    state.trust[row],
                )  # fmt: skip
                gap = int(days_until(chance, flip(key, page, RETURN)))
                gone = calendar[row, DAY] + gap > config.horizon_days
                full = calendar[row, VISIT] + 1 >= config.max_visits
                ends[1, row], ends[2, row] = gone, full and not gone
                days = -1 if gone or full else gap
        if days > 0:
            _come_back(tables, config, state, row, days)
        elif last >= 0 and flip(key, page, FOLLOW) < config.follow_click:
            state.scene[row], state.anchor[row] = SIMILAR, tables.similar_row[last]
            state.offset[row] = int(flip(key, page + 1, OFFSET) * width)
        elif tables.n_queries > 0 and flip(key, page, ASK) < config.new_query:
            query = int(flip(key, page, QUERY) * tables.n_queries)
            state.scene[row], state.anchor[row] = SEARCH, tables.first_query + query
            state.offset[row] = int(flip(key, page + 1, OFFSET) * width)
        else:
            state.offset[row] += config.candidates
        parts[0, row], parts[1, row] = click_part, buy_part
        parts[3, row] = parts[0, row] + parts[1, row] + parts[2, row]
