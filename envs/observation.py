"""What a real shop would know of a page: the observation of the ranker, in the shop and in service.

Never hidden taste, trust or true click probabilities: only similarities, item facts, features of
the reasons, what was shown and clicked in this session, and the observed profile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.reasons import ReasonTable
from envs.similarity import SCENES, SCORES

F32 = NDArray[np.float32]

#: Names of the F item features, in order.
ITEM_FEATURES = (
    *SCORES,
    "price_z",
    "price_gap",
    "popularity",
    "margin",
    "reason_claims",
    "reason_match",
    "reason_unsupported",
    "reason_words",
    "class_exposure",
    "class_clicked",
)
#: Names of the C_ctx context features, in order.
CONTEXT_FEATURES = (
    *(f"scene_{scene}" for scene in SCENES),
    "page",
    "clicks_last_page",
    "clicks",
    "purchases",
    "price_level",
)
_STATIC = len(SCORES)
_REASON = ITEM_FEATURES.index("reason_claims")
_SESSION = ITEM_FEATURES.index("class_exposure")


@dataclass(frozen=True)
class ItemFacts:
    """Observable features of the I items and their reasons for S segments, ready to gather."""

    #: price_z, popularity, margin share; (I, 3) float32.
    static: F32
    #: reason_claims, reason_match, reason_unsupported, reason_words; (I, S, 4) float32.
    reasons: F32
    class_index: NDArray[np.int64]


def item_facts(
    price_z: F32, popularity: F32, margin: F32, class_index: NDArray[np.int64],
    reasons: ReasonTable, segment_aspects: F32, words_free: int,
) -> ItemFacts:  # fmt: skip
    """Lay out observable features; ``margin`` is in median margins, (I,)."""
    rank = popularity.argsort(kind="stable").argsort() / max(len(popularity) - 1, 1)
    static = np.stack([price_z / 3, rank, margin / (1 + margin)], axis=1).astype(np.float32)
    match = np.einsum("isa,sa->is", reasons.claims, segment_aspects)
    features = [
        reasons.claims.sum(axis=-1) / 3,
        match / 2,
        reasons.unsupported,
        reasons.words / words_free,
    ]
    return ItemFacts(static, np.stack(features, axis=-1).astype(np.float32), class_index)


def item_features(
    facts: ItemFacts, items: NDArray[np.int64], scores: F32, segment: NDArray[np.int64],
    price_level: F32, exposure: F32, clicked: F32,
) -> F32:  # fmt: skip
    """Features of N candidates in B sessions, (B, N, F) float32.

    Args:
        facts: features of all items.
        items: candidate item indexes, (B, N) int.
        scores: the six similarity scores, (B, N, 6).
        segment: observed segment, (B,) int.
        price_level: observed within-class price z-score, (B,).
        exposure: how much of each class was shown lately, (B, C).
        clicked: 1 where a class was clicked in this session, (B, C).
    """
    out = np.empty((*items.shape, len(ITEM_FEATURES)), dtype=np.float32)
    out[..., :_STATIC] = scores
    static = facts.static[items]
    out[..., _STATIC] = static[..., 0]
    out[..., _STATIC + 1] = np.abs(static[..., 0] - price_level[:, None] / 3)
    out[..., _STATIC + 2 : _REASON] = static[..., 1:]
    out[..., _REASON:_SESSION] = facts.reasons[items, segment[:, None]]
    classes = facts.class_index[items]
    rows = np.arange(len(items))[:, None]
    out[..., _SESSION] = exposure[rows, classes]
    out[..., _SESSION + 1] = clicked[rows, classes]
    return out


def context_features(
    scene: NDArray[np.int64], page: F32, clicks_last: F32, clicks: F32, purchases: F32,
    price_level: F32, *, slots: int, max_pages: int,
) -> F32:  # fmt: skip
    """Features of the session, (B, C_ctx) float32; all arguments are (B,)."""
    out = np.zeros((len(scene), len(CONTEXT_FEATURES)), dtype=np.float32)
    out[np.arange(len(scene)), scene] = 1
    out[:, 3] = page / max_pages
    out[:, 4] = clicks_last / slots
    out[:, 5] = clicks / 10
    out[:, 6] = purchases / 3
    out[:, 7] = price_level / 3
    return out
