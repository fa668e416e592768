"""A small made-up shop, built once, and catalogues small enough to write down."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd

from envs.assemble import Shop, open_shop, synthetic_visitors
from envs.behaviour import ShopConfig
from envs.catalogue import Catalogue, check_catalogue, typed_table
from envs.shoppers import ShopperConfig
from envs.similarity import SimilarityConfig
from envs.synthetic import SyntheticConfig
from envs.world import World


@cache
def small_shop() -> Shop:
    """80 items, 80 shoppers; nothing may change it."""
    rng = np.random.default_rng(7)
    visitors = synthetic_visitors(SyntheticConfig(items=80), ShopperConfig(shoppers=80), rng)
    return open_shop(visitors, SimilarityConfig(pool=40), rng)


@cache
def bare_world() -> World:
    """The small shop without reasons."""
    return small_shop().world(ShopConfig())


#: (item_id, title, class, brand).
ItemRow = tuple[str, str, str, str]
#: (item_id, aspect, phrases).
FactRow = tuple[str, str, list[str]]


def hand_made(
    items: list[ItemRow], facts: list[FactRow], features: Sequence[tuple[str, str, str]] = ()
) -> Catalogue:
    """Return a catalogue of these tables; strengths fall from fact to fact."""
    item_rows = [(i, title, kind, brand, 10, 2, 0.5, "") for i, title, kind, brand in items]
    fact_rows = [
        (item, aspect, "key", "value", phrases, 1 - place / (len(facts) + 1))
        for place, (item, aspect, phrases) in enumerate(facts)
    ]
    names = ["item_id", "title", "class", "brand", "price", "margin", "quality", "description"]
    fact_names = ["item_id", "aspect", "key", "value", "phrases", "strength"]
    return check_catalogue(
        Catalogue(
            name="hand",
            locale="en",
            currency="EUR",
            aspects=sorted({aspect for _, aspect, _ in facts}),
            items=typed_table(pd.DataFrame(item_rows, columns=names), "items", "hand"),
            facts=typed_table(pd.DataFrame(fact_rows, columns=fact_names), "facts", "hand"),
            features=typed_table(
                pd.DataFrame(list(features), columns=["item_id", "key", "value"]),
                "features",
                "hand",
            ),
        ),
        "hand",
    )
