"""The world laid out for kernels: arrays that are gathered by row, side by side where read at once.

A step reads a few rows of each array and never walks one, so what it costs does not grow with the
number of items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.observation import reason_features

if TYPE_CHECKING:  # the world makes its own tables
    from envs.reasons import ReasonTable
    from envs.world import World

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

#: Columns of `Tables.traits`; the aspects follow.
PRICE_Z, QUALITY, MARGIN, NORM, ASPECTS = range(5)
#: Columns of `Tables.people`.
PRICE_POINT, SENSITIVITY, TRUST, PATIENCE = range(4)
#: Columns of `envs.sessions.SessionState.calendar`.
VISIT, VISIT_PAGE, DAY, DAYS_AWAY = range(4)
#: Columns of `envs.sessions.SessionState.tally`.
CLICKS_LAST, CLICKS, PURCHASES, VISIT_CLICKS, VISIT_PURCHASES = range(5)


class Tables(NamedTuple):
    """Arrays of a shop (I items, U shoppers, R reasons to choose from; see `World`)."""

    #: Candidate pools, as `envs.pools.Pools`.
    pool_items: NDArray[np.int32]
    pool_scores: F32
    pool_relevance: F32
    #: Row of the pool beside each item, (I,).
    similar_row: I64
    #: Row of the first query's pool.
    first_query: int
    n_queries: int
    #: What a shop sees of an item, (I, 4), and of the reasons beside it, (max(R, 1), I, S, 4); see
    #: `envs.observation.ItemFacts`. Where no reasons are shown, nothing is seen of them.
    seen: F32
    reason_seen: F32
    #: price_z, quality, margin, norm of the aspects, aspects; (I, 4 + A).
    traits: F32
    #: Claims (R, I, S, A), and number of words and of unsupported claims (R, I, S, 2); see
    #: `envs.reasons.ReasonTable`. R is 0 where no reasons are shown.
    claims: F32
    told: F32
    #: Shoppers: segment (U,), last item (U,), numbers (U, 4), price level (U,), taste
    #: (U, A), affinity (U, C).
    segment: I64
    last_item: I64
    people: F32
    price_level: F32
    taste: F32
    affinity: F32


def make_tables(world: World) -> Tables:
    """Lay out a world. Large arrays that lie right already are shared, not copied."""
    people, pools = world.population, world.pools
    norm = np.linalg.norm(world.aspects, axis=1)
    numbers = np.stack([world.price_z, world.quality, world.margin, norm], axis=1)
    return Tables(
        pool_items=_laid(pools.items, np.int32),
        pool_scores=_laid(pools.scores, np.float32),
        pool_relevance=_laid(pools.relevance, np.float32),
        similar_row=_laid(pools.similar_row(np.arange(len(world.quality))), np.int64),
        first_query=pools.first_row(2),
        n_queries=world.n_queries,
        seen=_laid(world.facts.seen, np.float32),
        traits=_laid(np.concatenate([numbers, world.aspects], axis=1), np.float32),
        segment=_laid(world.segment, np.int64),
        last_item=_laid(world.last_item, np.int64),
        people=_laid(
            np.stack(
                [people.price_point, people.price_sensitivity, people.trust, people.patience],
                axis=1,
            ),
            np.float32,
        ),
        price_level=_laid(world.price_level, np.float32),
        taste=_laid(people.taste, np.float32),
        affinity=_laid(people.class_affinity, np.float32),
        **_reasons(world),
    )  # fmt: skip


def _reasons(world: World) -> dict[str, F32]:
    """What the shown reasons are, and what is seen of them, stacked over R."""
    shown: dict[str, tuple[ReasonTable, ...]] = {
        "none": (), "book": (world.reasons,), "choice": world.variants,
    }  # fmt: skip
    tables, config = shown[world.config.reasons], world.config
    if config.reasons == "book":  # worked out when the world was made
        features = [world.facts.reasons]
    else:
        silence = np.zeros_like(world.facts.reasons)
        features = [
            reason_features(table, world.segment_aspects, config.words_free) for table in tables
        ] or [silence]
    return {
        "reason_seen": _stacked(features),
        "claims": _stacked([table.claims for table in tables]),
        "told": _stacked([np.stack([table.words, table.unsupported], axis=-1) for table in tables]),
    }


def _stacked(parts: list[F32]) -> F32:
    if not parts:
        return np.zeros((0, 0, 0, 0), dtype=np.float32)
    whole = parts[0][None] if len(parts) == 1 else np.stack(parts)
    return _laid(whole, np.float32)


def _laid(array: NDArray[Any], dtype: type) -> Any:
    """Return ``array`` as one block of ``dtype`` that may be written to.

    Kernels are compiled anew for each layout, and a read-only array counts as another one.
    """
    block: NDArray[Any] = np.ascontiguousarray(array, dtype=dtype)
    return block if block.flags.writeable else block.copy()
