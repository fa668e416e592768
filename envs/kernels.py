"""Kernels of a page: which items are on offer, which are shown, how each appeals.

Compiled loops over rows. Arguments: ``tables`` is `envs.tables.Tables`, ``numbers`` what
`envs.behaviour.packed` returns, ``state`` the arrays of `envs.sessions.SessionState`. The equations
are those of `envs.behaviour`, compiled from the same source.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.behaviour import (
    answering,
    browse_logit,
    cosine,
    persuasion,
    price_fit,
    purchase_logit,
    sigmoid,
)
from envs.compiled import compiled
from envs.counter_rng import fold_one, uniform
from envs.observation import CLASS
from envs.prefetch import AHEAD, LINE, prefetch
from envs.tables import (
    ASPECTS,
    NORM,
    PRICE_POINT,
    PRICE_Z,
    QUALITY,
    SENSITIVITY,
)

HOME, SIMILAR, SEARCH = range(3)
#: What a coin flip is for: the second counter of a session's key.
SHOPPER, SCENE, ANCHOR, OFFSET, CLICK, BUY, LEAVE, FOLLOW, ASK, QUERY, RETURN = range(11)


@compiled
def candidate_rows(tables: Any, state: Any, columns: Any, items: Any) -> None:
    """Write pool columns and item indexes of the candidates, both (B, N) int64."""
    width = tables.pool_items.shape[1]
    for row in range(columns.shape[0]):
        for place in range(columns.shape[1]):
            column = (state.offset[row] + place) % width
            columns[row, place] = column
            items[row, place] = tables.pool_items[state.anchor[row], column]


@compiled
def all_within(values: Any, count: Any) -> Any:
    """Whether all of (B, k) lie in 0..count-1."""
    for row in range(values.shape[0]):
        for place in range(values.shape[1]):
            if values[row, place] < 0 or values[row, place] >= count:
                return False
    return True


@compiled
def available_rows(bought: Any, items: Any, mask: Any) -> None:
    """Write 0 for items (B, M) among those bought, (B, remembered), else 1."""
    for row in range(items.shape[0]):
        for place in range(items.shape[1]):
            mask[row, place] = 1
            for past in range(bought.shape[1]):
                if bought[row, past] == items[row, place]:
                    mask[row, place] = 0


@compiled
def slate_rows(
    tables: Any, state: Any, slates: Any, resting: Any, columns: Any, items: Any, shown: Any,
    luck: Any,
) -> None:  # fmt: skip
    """Write what slates show, and the luck that each item meets; all (B, k).

    Args:
        tables: the world.
        state: the sessions.
        slates: candidate positions in 0..N-1, int64.
        resting: rows that show nothing, (B,) bool.
        columns: pool columns, int64.
        items: item indexes, int64.
        shown: whether a slot shows an item: unmasked, and not shown above in the same slate.
        luck: uniform numbers for the click model, (B, k, draws) float64. Keyed by session, page
            and item: the same item on the same page has the same luck in every policy's slate.
    """
    width = tables.pool_items.shape[1]
    bought = state.bought
    for row in range(slates.shape[0]):
        click_key = fold_one(fold_one(state.key[row], state.page[row]), CLICK)
        buyer = bought.shape[1] > 0 and bought[row, 0] >= 0
        for slot in range(slates.shape[1]):
            column = (state.offset[row] + slates[row, slot]) % width
            item = tables.pool_items[state.anchor[row], column]
            columns[row, slot], items[row, slot] = column, item
            legal = not resting[row]
            if buyer:
                for past in range(bought.shape[1]):
                    legal = legal and bought[row, past] != item
            for above in range(slot):
                legal = legal and slates[row, above] != slates[row, slot]
            shown[row, slot] = legal
            item_key = fold_one(click_key, item)
            for draw in range(luck.shape[2]):
                luck[row, slot, draw] = uniform(fold_one(item_key, draw))


@compiled
def appeal_rows(
    tables: Any, numbers: Any, state: Any, columns: Any, items: Any, variants: Any, shown: Any,
    attraction: Any, buy_logit: Any, unsupported: Any, claimed: Any,
) -> None:  # fmt: skip
    """Write the appeal of items given as pool columns and item indexes; all (B, M).

    A reason of 0 words is not shown, whatever its table says that it claims.

    Args:
        tables: the world.
        numbers: its config, packed.
        state: the sessions.
        columns: pool columns, int64.
        items: item indexes, int64.
        variants: which of the R reasons stands beside each item, int64.
        shown: where it is False nothing is shown: attraction is 0 and nothing is claimed.
        attraction: probability of a click once examined, float32.
        buy_logit: logit of a purchase once clicked, float32.
        unsupported: number of unsupported claims of the reason, float32.
        claimed: whether the reason claims anything.
    """
    config = numbers[0]
    taste, traits, claims, told = state.taste, tables.traits, tables.claims, tables.told
    aspects, zero = taste.shape[1], np.float32(0)
    for row in range(items.shape[0]):
        shopper, anchor, trust = state.shopper[row], state.anchor[row], state.trust[row]
        segment = tables.segment[shopper]
        point, sensitivity = (
            tables.people[shopper, PRICE_POINT],
            tables.people[shopper, SENSITIVITY],
        )
        if row + AHEAD < items.shape[0]:
            next_segment = tables.segment[state.shopper[row + AHEAD]]
            for place in range(items.shape[1]):
                at = items[row + AHEAD, place] * traits.shape[1]
                prefetch(traits, at)
                prefetch(traits, at + LINE)
                prefetch(traits, at + traits.shape[1] - 1)
                if claims.shape[0] > 0:
                    table = variants[row + AHEAD, place] * claims.shape[1]
                    table = (table + items[row + AHEAD, place]) * claims.shape[2] + next_segment
                    prefetch(told, 2 * table)
                    prefetch(claims, table * aspects)
                    prefetch(claims, table * aspects + LINE)
                    prefetch(claims, table * aspects + aspects - 1)
        square = zero
        for aspect in range(aspects):
            square += taste[row, aspect] * taste[row, aspect]
        taste_norm = np.sqrt(square)
        for place in range(items.shape[1]):
            attraction[row, place] = buy_logit[row, place] = unsupported[row, place] = 0
            claimed[row, place] = False
            if not shown[row, place]:
                continue
            item, variant = items[row, place], variants[row, place]
            kind = int(tables.seen[item, CLASS])
            dot = zero
            for aspect in range(aspects):
                dot += taste[row, aspect] * traits[item, ASPECTS + aspect]
            match = cosine(dot, taste_norm * traits[item, NORM])
            quality = traits[item, QUALITY]
            relevance = tables.pool_relevance[anchor, columns[row, place]]
            answer = answering(relevance) if state.scene[row] == SEARCH else zero
            price = price_fit(traits[item, PRICE_Z], point) * sensitivity
            logit = browse_logit(
                config, match, tables.affinity[shopper, kind], relevance, answer, price, quality,
                state.satiation[row, kind],
            )  # fmt: skip
            lies = zero
            if claims.shape[0] > 0 and told[variant, item, segment, 0] > 0:
                liked, count = zero, zero
                for aspect in range(aspects):
                    liked += claims[variant, item, segment, aspect] * taste[row, aspect]
                    count += claims[variant, item, segment, aspect]
                lies = told[variant, item, segment, 1]
                words = told[variant, item, segment, 0]
                logit += config.w_reason * persuasion(config, trust, liked, count, words)
                claimed[row, place] = count > 0
            attraction[row, place] = sigmoid(logit)
            buy_logit[row, place] = purchase_logit(config, match, price, quality, lies)
            unsupported[row, place] = lies


@compiled
def page_rows(
    tables: Any, numbers: Any, state: Any, slates: Any, variants: Any, resting: Any,
    columns: Any, items: Any, shown: Any, luck: Any, attraction: Any, buy_logit: Any,
    unsupported: Any, claimed: Any,
) -> None:  # fmt: skip
    """Write all that is known of slates before anyone clicks: `slate_rows`, then `appeal_rows`."""
    slate_rows(tables, state, slates, resting, columns, items, shown, luck)
    appeal_rows(
        tables, numbers, state, columns, items, variants, shown, attraction, buy_logit,
        unsupported, claimed,
    )  # fmt: skip
