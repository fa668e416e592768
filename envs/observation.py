"""What a real shop would know of a page: the observation of the ranker, in the shop and in service.

Never hidden taste, trust or true click probabilities: only similarities, item facts, features of
the reasons, what was shown and clicked in this session, the observed profile, and what the
histories of all shoppers let a shop expect of this one (`envs.liking`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.compiled import compiled
from envs.liking import BANDS, Likes, nothing_known
from envs.prefetch import AHEAD, prefetch
from envs.reasons import ReasonTable
from envs.similarity import SCENES, SCORES

F32 = NDArray[np.float32]

#: Names of the features of a reason, in order.
REASON_FEATURES = ("reason_claims", "reason_match", "reason_unsupported", "reason_words")
#: Names of how an item fits what is expected of the shopper: aspects, price, class; see `Likes`.
LIKING_FEATURES = ("taste_liking", "price_liking", "class_liking")
#: Name of the item's class as a number, which says no more than whether two items are of one class.
CLASS_FEATURE = "class_code"
#: Names of what tells a crowd: the class, and how much of it was shown lately.
CROWDING_FEATURES = (CLASS_FEATURE, "class_exposure")
#: Names of the F item features, in order.
ITEM_FEATURES = (
    *SCORES,
    "price_z",
    "price_gap",
    "popularity",
    "margin",
    *REASON_FEATURES,
    "class_exposure",
    "class_clicked",
    *LIKING_FEATURES,
    CLASS_FEATURE,
)
#: Name of the context feature that is 1 where the page answers a query, and 0 elsewhere.
SEARCH_FEATURE = "scene_search"
#: Names of the C_ctx context features, in order.
CONTEXT_FEATURES = (
    *(f"scene_{scene}" for scene in SCENES),
    "page",
    "clicks_last_page",
    "clicks",
    "purchases",
    "price_level",
    "visit",
    "days_away",
)
_SCORES = len(SCORES)
_REASON = ITEM_FEATURES.index("reason_claims")
_SESSION = ITEM_FEATURES.index("class_exposure")
_LIKING = ITEM_FEATURES.index("taste_liking")
_CLASS_CODE = ITEM_FEATURES.index(CLASS_FEATURE)
_PARTS = len(REASON_FEATURES)
_COUNTS = len(SCENES)
#: Column of `ItemFacts.seen`.
CLASS = 3


@dataclass(frozen=True)
class ItemFacts:
    """Observable features of the I items and their reasons for S segments, ready to gather."""

    #: price_z, popularity, margin share, index of the class; (I, 4) float32. Small enough to stay
    #: in the caches where the reasons cannot.
    seen: F32
    #: The `REASON_FEATURES`, (I, S, 4) float32.
    reasons: F32


def item_facts(
    price_z: F32, popularity: F32, margin: F32, class_index: NDArray[np.int64],
    reasons: ReasonTable, segment_aspects: F32, words_free: int,
) -> ItemFacts:  # fmt: skip
    """Lay out observable features; ``margin`` is in median margins, (I,)."""
    rank = popularity.argsort(kind="stable").argsort() / max(len(popularity) - 1, 1)
    seen = np.stack([price_z / 3, rank, margin / (1 + margin), class_index], axis=1)
    return ItemFacts(seen.astype(np.float32), reason_features(reasons, segment_aspects, words_free))


def reason_features(reasons: ReasonTable, segment_aspects: F32, words_free: int) -> F32:
    """Observable features of the reason of each item for each segment, (I, S, 4) float32."""
    match = np.einsum("isa,sa->is", reasons.claims, segment_aspects)
    features = [
        reasons.claims.sum(axis=-1) / 3,
        match / 2,
        reasons.unsupported,
        reasons.words / words_free,
    ]
    return np.stack(features, axis=-1).astype(np.float32)


@compiled
def context_rows(
    out: Any, scene: Any, page: Any, clicks_last: Any, clicks: Any, purchases: Any,
    price_level: Any, visit: Any, days_away: Any, slots: Any, max_pages: Any, max_visits: Any,
    horizon_days: Any,
) -> None:  # fmt: skip
    """Write the context features of B sessions, (B, C_ctx) float32; all arrays are (B,).

    ``page`` and ``clicks_last`` count in the visit, ``clicks`` and ``purchases`` in the session;
    ``visit`` counts the visits before this one, ``days_away`` the days since the last.
    """
    for row in range(len(out)):
        for place in range(_COUNTS):
            out[row, place] = 0
        out[row, scene[row]] = 1
        out[row, _COUNTS] = page[row] / max_pages
        out[row, _COUNTS + 1] = clicks_last[row] / slots
        out[row, _COUNTS + 2] = clicks[row] / 10
        out[row, _COUNTS + 3] = purchases[row] / 3
        out[row, _COUNTS + 4] = price_level[row] / 3
        out[row, _COUNTS + 5] = visit[row] / max_visits
        out[row, _COUNTS + 6] = days_away[row] / horizon_days


@compiled
def window_rows(
    out: Any, mask: Any, variants: Any, pool_items: Any, pool_scores: Any, anchor: Any,
    offset: Any, bought: Any, seen: Any, reasons: Any, segment: Any, price_level: Any,
    exposure: Any, clicked: Any, liked_items: Any, liked_by: Any, bands: Any,
    shopper: Any,
) -> None:  # fmt: skip
    """Write the features of N candidates each, a window into the pools of B sessions.

    Args:
        out: item features, (B, N, F) float32.
        mask: 0 for a bought item, else 1, (B, N) float32.
        variants: features of the reasons to choose from, (B, N, V, 4) float32; V is R or 0.
        pool_items: item indexes, (pools, P) int.
        pool_scores: the six similarity scores, (pools, P, 6) float32.
        anchor: which pool, (B,) int.
        offset: where the window starts in it; it runs on from the end to the start, (B,) int.
        bought: items off the shelf, latest first, -1 where none, (B, M) int.
        seen: see `ItemFacts`, (I, 4) float32.
        reasons: features of R reasons, (R, I, S, 4) float32; the item features are those of the
            first.
        segment: observed segment, (B,) int.
        price_level: observed within-class price z-score, (B,).
        exposure: how much of each class was shown lately, (B, C).
        clicked: 1 where a class was clicked in this session, (B, C).
        liked_items: item side of `Likes`, (I, T + 3) float32.
        liked_by: shopper side of `Likes`, (U, T + 3 + C) float32.
        bands: how many of its columns are price bands, after the tastes.
        shopper: row in ``liked_by``, (B,) int.
    """
    width, segments = pool_items.shape[1], reasons.shape[2]
    traits = liked_items.shape[1]
    tastes, zero = traits - bands, np.float32(0)
    for row in range(out.shape[0]):
        if row + AHEAD < out.shape[0]:
            pool, column = anchor[row + AHEAD], offset[row + AHEAD] % width
            for _ in range(out.shape[1]):
                item = int(pool_items[pool, column])
                prefetch(seen, item * (CLASS + 1))
                prefetch(reasons, (item * segments + segment[row + AHEAD]) * _PARTS)
                prefetch(liked_items, item * traits)
                prefetch(liked_items, item * traits + traits - 1)
                column = column + 1 if column + 1 < width else 0
        pool, column, who = anchor[row], offset[row] % width, segment[row]
        level = price_level[row] / np.float32(3)
        buyer = bought.shape[1] > 0 and bought[row, 0] >= 0
        likes = shopper[row]
        for place in range(out.shape[1]):
            item = pool_items[pool, column]
            for score in range(_SCORES):
                out[row, place, score] = pool_scores[pool, column, score]
            price = seen[item, 0]
            out[row, place, _SCORES] = price
            out[row, place, _SCORES + 1] = abs(price - level)
            out[row, place, _SCORES + 2] = seen[item, 1]
            out[row, place, _SCORES + 3] = seen[item, 2]
            for part in range(_PARTS):
                out[row, place, _REASON + part] = reasons[0, item, who, part]
            kind = int(seen[item, CLASS])
            out[row, place, _SESSION] = exposure[row, kind]
            out[row, place, _SESSION + 1] = clicked[row, kind]
            fit, price_fit = zero, zero
            for trait in range(tastes):
                fit += liked_by[likes, trait] * liked_items[item, trait]
            for trait in range(tastes, traits):
                price_fit += liked_by[likes, trait] * liked_items[item, trait]
            out[row, place, _LIKING] = fit
            out[row, place, _LIKING + 1] = price_fit
            out[row, place, _LIKING + 2] = liked_by[likes, traits + kind]
            out[row, place, _CLASS_CODE] = kind / exposure.shape[1]
            mask[row, place] = 1
            if buyer:
                for past in range(bought.shape[1]):
                    if bought[row, past] == item:
                        mask[row, place] = 0
            for variant in range(variants.shape[2]):
                for part in range(_PARTS):
                    variants[row, place, variant, part] = reasons[variant, item, who, part]
            column += 1
            if column == width:
                column = 0


def item_features(
    facts: ItemFacts, items: NDArray[np.int64], scores: F32, segment: NDArray[np.int64],
    price_level: F32, exposure: F32, clicked: F32, likes: Likes | None = None,
    shopper: NDArray[np.int64] | None = None,
) -> F32:  # fmt: skip
    """Features of N given candidates in B sessions, (B, N, F) float32.

    Args:
        facts: features of all items.
        items: candidate item indexes, (B, N) int.
        scores: the six similarity scores, (B, N, 6).
        segment: observed segment, (B,) int.
        price_level: observed within-class price z-score, (B,).
        exposure: how much of each class was shown lately, (B, C).
        clicked: 1 where a class was clicked in this session, (B, C).
        likes: what is expected of shoppers; None expects nothing (its features are 0).
        shopper: row of each session in ``likes``, (B,) int; needed with ``likes``.
    """
    rows, count = items.shape
    if likes is None or shopper is None:
        likes, shopper = (
            nothing_known(len(facts.seen), 1, exposure.shape[1]),
            np.zeros_like(segment),
        )
    out = np.empty((rows, count, len(ITEM_FEATURES)), dtype=np.float32)
    if not count:
        return out
    window_rows(
        out, np.empty((rows, count), dtype=np.float32), np.empty((rows, count, 0, 4), np.float32),
        items, scores, np.arange(rows), np.zeros(rows, dtype=np.int64),
        np.empty((rows, 0), dtype=np.int64), facts.seen, facts.reasons[None], segment,
        price_level, exposure, clicked, likes.items, likes.shoppers, len(BANDS),
        shopper,
    )  # fmt: skip
    return out


def context_features(
    scene: NDArray[np.int64], page: F32, clicks_last: F32, clicks: F32, purchases: F32,
    price_level: F32, *, slots: int, max_pages: int,
) -> F32:  # fmt: skip
    """Features of sessions in their first visit, (B, C_ctx) float32; all arguments are (B,)."""
    out = np.empty((len(scene), len(CONTEXT_FEATURES)), dtype=np.float32)
    first = np.zeros(len(scene), dtype=np.int64)
    context_rows(
        out, scene, page, clicks_last, clicks, purchases, price_level, first, first, slots,
        max_pages, 1, 1,
    )  # fmt: skip
    return out
