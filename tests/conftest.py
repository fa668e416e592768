"""Shops that several rooms test with."""

from __future__ import annotations

import pandas as pd
import pytest

from envs.assemble import default_world
from envs.catalogue import Catalogue, check_catalogue, typed_table
from envs.world import World


@pytest.fixture(scope="session")
def small_world() -> World:
    """A made-up shop of 120 items and 120 shoppers without reasons; worlds are never changed."""
    return default_world(items=120, shoppers=120)


@pytest.fixture
def hand_catalogue() -> Catalogue:
    """Four items and three shoppers, chosen so that every score can be worked by hand.

    Each class has prices p and 4 p, so the z-score of log price is -1 or +1. The history is not in
    the order of time.
    """
    columns = ["item_id", "title", "class", "brand", "price", "margin", "quality", "description"]
    items = [
        ("a", "Lux Alpha Lamp", "lamp", "Lux", 10, 2, 0.5, "A small lamp."),
        ("b", "Lux Beta Lamp", "lamp", "Lux", 40, 4, 0.9, "A large lamp."),
        ("c", "Ceram Gamma Mug", "mug", "Ceram", 5, 1, 0.3, "A plain mug."),
        ("d", "Lux Delta Mug", "mug", "Lux", 20, 2, 0.7, "A fine mug."),
    ]
    facts = [
        ("a", "bright", "lumen", "800", ["800 lumens"], 0.8),
        ("b", "bright", "lumen", "400", ["400 lumens"], 0.4),
        ("b", "cosy", "light", "warm", ["warm light"], 0.6),
        ("c", "cosy", "wall", "thick", ["a thick wall"], 1.0),
        ("d", "cosy", "wall", "thin", ["a thin wall"], 0.5),
    ]
    colours = [("a", "red"), ("b", "red"), ("c", "red"), ("d", "blue")]
    history = [
        ("s0", "a", "purchase", 30),
        ("s0", "c", "view", 10),
        ("s1", "d", "view", 20),
        ("s2", "c", "purchase", 20),
        ("s2", "c", "view", 10),
        ("s1", "b", "click", 40),
    ]

    def table(name: str, rows: list[tuple[object, ...]], names: list[str]) -> pd.DataFrame:
        return typed_table(pd.DataFrame(rows, columns=names), name, "hand")

    fact_columns = ["item_id", "aspect", "key", "value", "phrases", "strength"]
    return check_catalogue(
        Catalogue(
            name="hand",
            locale="en",
            currency="EUR",
            aspects=["bright", "cosy"],
            items=table("items", [*items], columns),
            facts=table("facts", [*facts], fact_columns),
            features=table(
                "features",
                [(item, "colour", colour) for item, colour in colours],
                ["item_id", "key", "value"],
            ),
            history=table("history", [*history], ["shopper_id", "item_id", "event", "timestamp"]),
            queries=table("queries", [("q", "lux lamps")], ["query_id", "query"]),
        ),
        "hand",
    )
