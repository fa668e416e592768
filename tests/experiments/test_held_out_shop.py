"""The held-out shop: really another shop, of the same catalogue and level, and the same by seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from envs.behaviour import ShopConfig, browse_logit, price_fit, sigmoid
from envs.clicks import ClickModelName
from envs.shoppers import taste_match
from envs.world import World
from experiments.held_out_config import HeldOutConfig
from experiments.held_out_shop import (
    WEIGHTS,
    held_out_world,
    held_out_worlds,
    perturbed,
    rephrased,
)
from rewards.claims import ClaimChecker
from tests.shop_at_hand import bare_world, small_shop

HOME = ShopConfig()
CONFIG = HeldOutConfig()


def worlds(seed: int = 0, home: ShopConfig = HOME, **settings: Any) -> list[World]:
    config = HeldOutConfig.model_validate(settings)
    return held_out_worlds(small_shop(), home, config, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("home", "expected"),
    [("position", ["dbn", "cascade", "ubm"]), ("dbn", ["cascade", "ubm"])],
)
def test_every_held_out_shop_is_read_in_another_way_than_home(
    home: ClickModelName, expected: list[str]
) -> None:
    found = worlds(home=ShopConfig(click_model=home))
    assert [world.config.click_model for world in found] == expected


def test_weights_and_shoppers_differ_and_what_the_writer_was_given_does_not() -> None:
    home = bare_world()
    first, second, _ = worlds()
    for name in set(WEIGHTS) - {"words_free"}:
        values = {getattr(world.config, name) for world in (home, first, second)}
        assert len(values) == 3, name
    for name in set(ShopConfig.model_fields) - {*WEIGHTS, "click_model", "bias", "buy_bias"}:
        assert getattr(first.config, name) == getattr(home.config, name)
    assert not np.allclose(first.population.taste, home.population.taste)
    assert not np.allclose(first.population.taste, second.population.taste)
    for name in ("trust", "patience", "price_sensitivity"):
        dealt, before = (getattr(w.population, name) for w in (first, home))
        assert not np.array_equal(dealt, before)
        np.testing.assert_array_equal(np.sort(dealt), np.sort(before))
    for name in ("aspects", "segment", "segment_aspects", "price_level", "margin"):
        np.testing.assert_array_equal(getattr(first, name), getattr(home, name))
    assert first.pools is home.pools


def test_the_same_seed_gives_the_same_shops_and_another_one_others() -> None:
    one, two, other = (worlds(seed)[0] for seed in (5, 5, 6))
    assert one.config == two.config
    assert one.config != other.config
    for name in type(one.population).__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one.population, name), getattr(two.population, name))
    assert not np.array_equal(one.population.taste, other.population.taste)


def _level(world: World) -> tuple[float, float]:
    """Mean attraction over every shopper and item of the own pool, and its relative error of 8,192.

    The error of a mean of so many random impressions, which is what the shops are set level by.
    """
    count, width = world.n_shoppers, world.pools.items.shape[1]
    shoppers = np.repeat(np.arange(count), width)
    items = world.pools.items[:count].ravel().astype(np.int64)
    people = world.population
    match = taste_match(people.taste[shoppers], world.aspects[items])
    price = price_fit(world.price_z[items], people.price_point[shoppers])
    price = price * people.price_sensitivity[shoppers]
    affinity = people.class_affinity[shoppers, world.class_index[items]]
    terms = (match, affinity, 0, 0, price, world.quality[items], 0)
    look = sigmoid(browse_logit(world.config, *terms))
    return float(look.mean()), float(look.std() / look.mean() / np.sqrt(8_192))


def test_clicks_without_reasons_are_as_frequent_as_at_home() -> None:
    home, error = _level(bare_world())
    for world in worlds(weight_spread=0.6):
        found, other = _level(world)
        assert abs(found / home - 1) < 3 * np.hypot(error, other)


def test_without_spread_only_reader_shoppers_and_biases_are_other() -> None:
    found = perturbed(HOME, HeldOutConfig(weight_spread=0), np.random.default_rng(0))
    assert found == HOME


def test_factors_are_log_normal() -> None:
    rng, draws = np.random.default_rng(1), 2_000
    logs = np.log([perturbed(HOME, CONFIG, rng).w_match / HOME.w_match for _ in range(draws)])
    assert abs(logs.mean()) < 3 * 0.3 / np.sqrt(draws)
    assert abs(logs.std() - 0.3) < 3 * 0.3 / np.sqrt(2 * draws)


def test_shares_stay_shares_and_readers_have_some_words_for_free() -> None:
    rng, wild = np.random.default_rng(2), HeldOutConfig(weight_spread=3)
    home = ShopConfig(trust_lost=0.9, words_free=1)
    for _ in range(50):
        found = perturbed(home, wild, rng)
        assert 0 <= found.trust_lost <= 1
        assert found.words_free >= 1


def test_one_world_keeps_the_click_model_that_it_is_given() -> None:
    home = ShopConfig(click_model="mnl")
    found = held_out_world(small_shop(), home, CONFIG, np.random.default_rng(0))
    assert found.config.click_model == "mnl"


def test_facts_are_told_by_other_phrases_that_mean_the_same() -> None:
    catalogue = small_shop().visitors.catalogue
    other = rephrased(catalogue, 1.0, np.random.default_rng(0))
    checkers = ClaimChecker(catalogue), ClaimChecker(other)
    several = 0
    for item, before, after in zip(
        catalogue.positions(catalogue.facts["item_id"]).tolist(),
        catalogue.facts["phrases"],
        other.facts["phrases"],
    ):
        assert sorted(before) == sorted(after)
        assert (before[0] != after[0]) == (len(before) > 1)
        several += len(before) > 1
        for phrase in after[:1]:
            found = [checker.check(item, f"It has {phrase}.") for checker in checkers]
            assert found[0] == found[1]
            assert found[0].unsupported == 0
    assert several > 100
    same = rephrased(catalogue, 0.0, np.random.default_rng(0))
    assert same.facts["phrases"].tolist() == catalogue.facts["phrases"].tolist()


@pytest.mark.parametrize("models", [[], ["dbn"], ["dbn", "dbn"]])
def test_fewer_than_two_click_models_might_leave_none(models: list[str]) -> None:
    with pytest.raises(ValidationError, match="name two or more click models, each once"):
        HeldOutConfig.model_validate({"click_models": models})
