"""Rules as settings: what they mean over a catalogue, and every contradiction as one line."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from envs.behaviour import ShopConfig
from envs.catalogue import Catalogue
from envs.errors import UserError
from policies.constraints import (
    ConstraintsConfig,
    RuledWorld,
    constrained,
    rules_of,
    shelf_rules,
    with_rules,
)
from tests.shop_at_hand import bare_world, hand_made, small_shop


def five() -> Catalogue:
    """Classes lamp, lamp, mug, mug, rug; brands A, B, A, B, A; prices 10, 20, 30, 40, 50."""
    kinds = ["lamp", "lamp", "mug", "mug", "rug"]
    made = hand_made(
        [(f"i{n}", f"item {n}", kind, "AB"[n % 2]) for n, kind in enumerate(kinds)],
        [(f"i{n}", "light", ["bright"]) for n in range(5)],
    )
    made.items["price"] = [10.0, 20, 30, 40, 50]
    features = [("i1", "new", "yes"), ("i2", "new", "No"), ("i4", "new", "1"), ("i3", "old", "1")]
    return replace(made, features=pd.DataFrame(features, columns=["item_id", "key", "value"]))


POPULARITY = np.array([0.4, 0.05, 0.3, 0.05, 0.2], dtype=np.float32)


def rules(**asked: Any) -> Any:
    return shelf_rules(ConstraintsConfig(**asked), five(), POPULARITY, slots=3)


def test_settings_over_a_catalogue() -> None:
    plain = rules()
    assert plain.group.tolist() == [0, 0, 1, 1, 2]
    assert rules(diversity="brand").group.tolist() == [0, 1, 0, 1, 0]
    # A fifth of five items: the least popular; of equals the first.
    assert plain.new.tolist() == [False, True, False, False, False]
    assert rules(new_share=0.5).new.tolist() == [False, True, False, True, False]
    assert rules(new_feature="new").new.tolist() == [False, True, False, False, True]
    assert rules(min_price=20, max_price=40).showable.tolist() == [False, True, True, True, False]
    hidden = rules(out_of_stock=("i2",)).showable
    assert hidden.tolist() == [True, True, False, True, True]
    assert rules(pinned={"i3": 2, "i0": 1}).pinned.tolist() == [0, 3]


def test_rules_over_other_rows() -> None:
    turned = rules(pinned={"i3": 2}, min_price=20).over(np.array([4, 3, 2]))
    assert (turned.group.tolist(), turned.pinned.tolist()) == ([2, 1, 1], [-1, 1])
    assert turned.showable.tolist() == [True, True, True]
    assert rules(pinned={"i0": 1}).over(np.array([4, 3, 2])).pinned.tolist() == [-1]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"min_new": 4}, "min_new is 4, but a slate has 3 slots"),
        ({"min_groups": 4}, "min_groups is 4, but a slate has 3 slots"),
        ({"pinned": {"i0": 4}}, "pinned.i0 is slot 4, but a slate has 3"),
        ({"pinned": {"i9": 1}}, r"pinned: the catalogue has no item 'i9'.*Did you mean"),
        ({"out_of_stock": ("x",)}, "out_of_stock: the catalogue has no item 'x'"),
        ({"pinned": {"i0": 1}, "min_price": 20}, "pinned.i0: its price lies outside"),
        ({"max_price": 20}, "price band and out_of_stock a slate needs 3, but .* only 2 items"),
        ({"diversity": "brand", "min_groups": 3}, "min_groups a slate needs 3, .* only 2 diff"),
        ({"diversity": "brand", "max_per_group": 1}, "max_per_group a slate needs 3, .* only 2"),
        ({"min_new": 2}, "min_new a slate needs 2, .* only 1 new"),
        ({"min_new": 1, "new_feature": "newest"}, "new_feature: no item has a feature 'newest'"),
    ],
)
def test_what_no_slate_can_keep(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        rules(**asked)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"min_price": 3, "max_price": 2}, r"min_price \(3\) must not exceed max_price \(2\)"),
        ({"pinned": {"a": 1, "b": 1}}, "'a' and 'b' cannot both be in 1"),
        ({"pinned": {"a": 0}}, "slots count from 1, but it is 0"),
        ({"pinned": {"a": 1}, "out_of_stock": ("a",)}, "is also in out_of_stock"),
        ({"min_new": -1}, "min_new"),
    ],
)
def test_settings_that_contradict_themselves(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ConstraintsConfig(**asked)


def test_a_shop_carries_its_rules() -> None:
    world, catalogue = bare_world(), small_shop().visitors.catalogue
    assert constrained(world, catalogue, ConstraintsConfig()) is world
    assert rules_of(world) is None
    ruled = constrained(world, catalogue, ConstraintsConfig(max_per_group=2))
    kept = rules_of(ruled)
    assert kept is not None
    # They stay where reasons or behaviour change, and where the shop goes to another process.
    again = ruled.with_config(ShopConfig(slots=3)).with_reasons(world.reasons)
    assert rules_of(again) is kept
    copied = pickle.loads(pickle.dumps(ruled))
    assert isinstance(copied, RuledWorld)
    assert copied.rules.summary() == kept.summary()
    assert rules_of(with_rules(ruled, None)) is None


def test_different_rules_have_different_digests() -> None:
    asked: list[dict[str, Any]] = [
        {},
        {"diversity": "brand"},
        {"new_share": 0.5},
        {"min_price": 15},
        {"pinned": {"i0": 1}},
    ]
    assert len({rules(**one).summary()["which_items"] for one in asked}) == len(asked)
