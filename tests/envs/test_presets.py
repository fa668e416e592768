"""Presets: they are valid settings, and the shops differ in the way their sentences say."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from envs.assemble import find_visitors, open_shop
from envs.behaviour import ShopConfig
from envs.errors import UserError
from envs.presets import PRESETS, preset_overrides
from envs.reasons import ReasonTable
from envs.sessions import SEARCH
from envs.shop import ShopVectorEnv
from envs.shoppers import ShopperConfig
from envs.similarity import SimilarityConfig
from envs.synthetic import SyntheticConfig, synthetic_catalogue
from envs.world import World

ROWS = 1_500


@cache
def world_of(name: str) -> World:
    """The shop of a preset: the same catalogue for all of them."""
    rng = np.random.default_rng(3)
    overrides = preset_overrides(name)
    shoppers = ShopperConfig(shoppers=150, **overrides["shoppers"])
    catalogue = synthetic_catalogue(SyntheticConfig(items=80), rng)
    shop = open_shop(find_visitors(catalogue, shoppers, rng), SimilarityConfig(pool=40), rng)
    return shop.world(ShopConfig(**overrides["shop"]))


def _play(world: World) -> dict[str, np.ndarray]:
    """First sessions of many shoppers who are shown the top of the pool."""
    envs = ShopVectorEnv(world, ROWS)
    envs.reset(seed=0)
    live, out = np.ones(ROWS, dtype=bool), {n: np.zeros(ROWS) for n in ("pages", "clicks", "buys")}
    out["search"] = (envs.state.scene == SEARCH).astype(float)
    slates = np.tile(np.arange(5), (ROWS, 1))
    while live.any():
        _, _, terminated, truncated, info = envs.step(slates)
        out["pages"] += live
        out["clicks"] += live * info["clicks"].sum(axis=1)
        out["buys"] += live * info["purchases"].sum(axis=1)
        live &= ~(terminated | truncated)
    return out


def _above(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the mean of ``a`` lies above that of ``b`` by three standard errors."""
    spread = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    return bool(a.mean() - b.mean() > 3 * spread)


def test_browsing_is_the_defaults() -> None:
    assert preset_overrides("browsing") == {"shop": {}, "shoppers": {}}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_name_what_they_change(name: str) -> None:
    overrides = preset_overrides(name)
    assert set(overrides) == {"shop", "shoppers"}
    for section, settings in (("shop", ShopConfig), ("shoppers", ShopperConfig)):
        made = settings(**overrides[section])
        for key, value in overrides[section].items():
            assert getattr(made, key) == value
            assert getattr(settings(), key) != value, f"{section}.{key} is the default already"


def test_a_mission_searches_looks_at_little_and_buys_what_it_clicks() -> None:
    browsing, mission = _play(world_of("browsing")), _play(world_of("mission"))
    assert _above(mission["search"], browsing["search"])
    assert _above(browsing["pages"], mission["pages"])
    # Purchases a click, as purchases - rate * clicks, with browsing's rate.
    rate = browsing["buys"].sum() / browsing["clicks"].sum()
    assert _above(mission["buys"] - rate * mission["clicks"], np.zeros(2))
    back = [world_of(name).config.return_bias for name in ("mission", "browsing")]
    assert back[0] < back[1], "seldom comes back"


def test_the_sceptical_trust_less_punish_more_and_watch_the_price() -> None:
    browsing, sceptical = world_of("browsing"), world_of("sceptical")
    assert _above(browsing.population.trust, sceptical.population.trust)
    assert _above(sceptical.population.price_sensitivity, browsing.population.price_sensitivity)
    kept = {}
    for name, world in (("browsing", browsing), ("sceptical", sceptical)):
        shape = world.reasons.claims.shape
        lying = world.with_reasons(
            ReasonTable(
                claims=np.ones(shape, dtype=np.float32),
                unsupported=np.ones(shape[:2], dtype=np.float32),
                words=np.full(shape[:2], 10, dtype=np.float32),
            )
        )
        envs = ShopVectorEnv(lying, ROWS)
        envs.reset(seed=0)
        before = envs.state.trust
        clicked = envs.step(np.tile(np.arange(5), (ROWS, 1)))[4]["clicks"].any(axis=1)
        kept[name] = (envs.state.trust / before)[clicked]
    assert _above(kept["browsing"], kept["sceptical"]), "a lie is not forgiven"


def test_an_unknown_preset_is_named_with_its_neighbour() -> None:
    with pytest.raises(UserError, match=r"no preset 'browsin'.*Did you mean 'browsing'\?"):
        preset_overrides("browsin")


def test_overrides_are_the_callers_own() -> None:
    preset_overrides("mission")["shop"]["start_home"] = 0.9
    assert preset_overrides("mission")["shop"]["start_home"] == 0.1
