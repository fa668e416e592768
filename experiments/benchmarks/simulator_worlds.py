"""Shops made of random arrays, for measuring what a step costs among very many items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.behaviour import ShopConfig
from envs.observation import item_facts
from envs.pools import Pools
from envs.reasons import ReasonTable
from envs.shoppers import Population
from envs.world import World

_SHOPPERS, _QUERIES, _POOL = 20_000, 2_000, 60
#: Items with a pool of their own, whatever the number of items; the others borrow one.
_OWNERS = 1_000
_ASPECTS, _CLASSES, _SEGMENTS = 24, 12, 4


def random_world(items: int, rng: np.random.Generator) -> World:
    """Return a shop of ``items`` items in which nothing means anything.

    Every pool is drawn from the whole catalogue.
    """

    def real(*shape: int) -> NDArray[np.float32]:
        return rng.random(shape, dtype=np.float32)

    config = ShopConfig()
    anchors = _SHOPPERS + _OWNERS + _QUERIES
    pools = Pools(
        items=rng.integers(items, size=(anchors, _POOL), dtype=np.int32),
        scores=real(anchors, _POOL, 6),
        relevance=real(anchors, _POOL),
        counts=np.array([_SHOPPERS, _OWNERS, _QUERIES]),
        owners=np.arange(_OWNERS),
        anchor_of=rng.integers(_OWNERS, size=items, dtype=np.int32),
    )
    reasons = ReasonTable(
        claims=(real(items, _SEGMENTS, _ASPECTS) < 0.1).astype(np.float32),
        unsupported=(real(items, _SEGMENTS) < 0.1).astype(np.float32),
        words=np.full((items, _SEGMENTS), 10, dtype=np.float32),
    )
    price_z, quality, margin, popularity = (real(items) for _ in range(4))
    class_index = rng.integers(_CLASSES, size=items)
    segment_aspects = real(_SEGMENTS, _ASPECTS)
    return World(
        config=config, aspects=real(items, _ASPECTS), price_z=price_z, quality=quality,
        margin=margin, class_index=class_index, popularity=popularity, n_classes=_CLASSES,
        population=Population(
            taste=real(_SHOPPERS, _ASPECTS), class_affinity=real(_SHOPPERS, _CLASSES),
            price_point=real(_SHOPPERS), price_sensitivity=real(_SHOPPERS),
            trust=real(_SHOPPERS), patience=8 * real(_SHOPPERS),
        ),
        segment=rng.integers(_SEGMENTS, size=_SHOPPERS), price_level=real(_SHOPPERS),
        segment_aspects=segment_aspects, last_item=rng.integers(items, size=_SHOPPERS),
        pools=pools, reasons=reasons,
        facts=item_facts(
            price_z, popularity, margin, class_index, reasons, segment_aspects, config.words_free
        ),
    )  # fmt: skip
