"""The click reward: the shop's own equations, computed for many reasons at once."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from envs.behaviour import ShopConfig
from envs.shoppers import Population
from envs.world import World
from rewards.clicks import ClickReward, ClickRewardConfig, mean_relevance
from tests.shop_at_hand import bare_world

N = 60


@pytest.fixture(scope="module")
def world() -> World:
    return bare_world()


def reward(world: World, seed: int = 0, **settings: float) -> ClickReward:
    """Examination differs by item, so that a wrong gather is seen."""
    examination = np.linspace(0.2, 1, len(world.quality)).astype(np.float32)
    config = ClickRewardConfig.model_validate(settings)
    return ClickReward(world, config, examination, np.random.default_rng(seed))


def reasons(world: World, seed: int = 1) -> dict[str, np.ndarray]:
    """N random reasons: some empty, some long, some lying."""
    rng = np.random.default_rng(seed)
    segments, aspects = world.segment_aspects.shape
    words = rng.integers(0, 45, size=N).astype(np.float32)
    claims = (rng.random((N, aspects)) < 0.1) * (words > 0)[:, None]
    return {
        "items": rng.integers(len(world.quality), size=N),
        "segments": rng.integers(segments, size=N),
        "claims": claims.astype(np.float32),
        "unsupported": (rng.integers(0, 3, size=N) * (words > 0)).astype(np.float32),
        "words": words,
    }


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def by_hand(
    world: World, examination: float, item: int, shopper: int, claims: np.ndarray, lies: float,
    words: float, trust_value: float, satiation: float,
) -> float:  # fmt: skip
    """The docstring's formula for one shopper, in Python floats."""
    shop, people = world.config, world.population
    taste = people.taste[shopper].astype(float)
    facts = world.aspects[item].astype(float)
    norm = math.sqrt((taste**2).sum()) * math.sqrt((facts**2).sum())
    match = float(taste @ facts) / max(norm, 1e-6)
    fit = math.exp(-0.5 * float(world.price_z[item] - people.price_point[shopper]) ** 2)
    price = fit * float(people.price_sensitivity[shopper])
    trust = float(people.trust[shopper])
    held = world.pools.items == item
    relevance = float(world.pools.relevance[held].mean()) if held.any() else 0.0
    logit = (
        shop.bias
        + shop.w_match * match
        + shop.w_class * float(people.class_affinity[shopper, world.class_index[item]])
        + shop.w_scene * relevance
        + shop.w_price * price
        + shop.w_quality * float(world.quality[item])
        - shop.w_satiation * satiation
    )
    diluted = 1 + shop.w_dilute * max(0.0, float(claims.sum()) - 1)
    pull = trust * math.tanh(float(taste @ claims) / diluted)
    pull -= shop.w_length * max(0.0, words / shop.words_free - 1)
    p0, p1 = logistic(logit), logistic(logit + shop.w_reason * pull)
    buy = (
        shop.buy_bias
        + shop.buy_match * match
        + shop.buy_price * price
        + shop.buy_quality * float(world.quality[item])
    )
    b0, b1 = logistic(buy), logistic(buy - shop.buy_lie * lies)
    if lies:
        change = -shop.trust_lost * trust
    else:
        change = shop.trust_won * (1 - trust) if claims.any() else 0.0
    gain = shop.w_buy * float(world.margin[item])
    earned = p1 * (shop.w_click + gain * b1) - p0 * (shop.w_click + gain * b0)
    return examination * (earned + trust_value * p1 * change)


def test_equals_the_formula_for_a_panel_of_one(world: World) -> None:
    # One shopper a segment, so that the panel is known.
    first = [int(np.flatnonzero(world.segment == s)[0]) for s in range(len(world.segment_aspects))]
    shop = ShopConfig(w_click=0.3, w_buy=1.7)
    world = replace(
        world, segment=world.segment[first], config=shop, population=_rows(world, first)
    )
    some = reasons(world)
    scored = reward(world, shoppers=1, trust_value=3, satiation=0.2).score(**some)
    examination = np.linspace(0.2, 1, len(world.quality))
    expected = [
        by_hand(
            world, float(examination[some["items"][n]]), int(some["items"][n]),
            int(np.flatnonzero(world.segment == some["segments"][n])[0]), some["claims"][n],
            float(some["unsupported"][n]), float(some["words"][n]), 3.0, 0.2,
        )
        for n in range(N)
    ]  # fmt: skip
    np.testing.assert_allclose(scored, expected, rtol=1e-3, atol=2e-6)


def _rows(world: World, rows: list[int]) -> Population:
    """A population of the given shoppers."""
    return Population(**{name: values[rows] for name, values in vars(world.population).items()})


def test_the_panel_is_a_mean_over_its_shoppers(world: World) -> None:
    """With one draw many times over, the panel's size changes nothing."""
    first = [int(np.flatnonzero(world.segment == s)[0]) for s in range(len(world.segment_aspects))]
    world = replace(world, segment=world.segment[first], population=_rows(world, first))
    some = reasons(world)
    one, many = (reward(world, shoppers=m).score(**some) for m in (1, 9))
    np.testing.assert_allclose(one, many, rtol=1e-4, atol=1e-7)


def test_batch_equals_one_by_one(world: World) -> None:
    some, scorer = reasons(world), reward(world)
    together = scorer.score(**some)
    apart = [scorer.score(**{k: v[n : n + 1] for k, v in some.items()})[0] for n in range(N)]
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-8)


def test_no_reason_earns_exactly_nothing(world: World) -> None:
    some = reasons(world)
    some = {k: v if k in ("items", "segments") else 0 * v for k, v in some.items()}
    assert (reward(world, trust_value=1000).score(**some) == 0).all()


def test_a_true_claim_that_the_segment_likes_earns_more_than_none(world: World) -> None:
    some = reasons(world)
    liked = world.segment_aspects.argmax(axis=1)[some["segments"]]
    true = np.eye(world.segment_aspects.shape[1], dtype=np.float32)[liked]
    none, ten = np.zeros(N, dtype=np.float32), np.full(N, 10, dtype=np.float32)
    scorer = reward(world, trust_value=0)
    args = (some["items"], some["segments"])
    assert (scorer.score(*args, true, none, ten) > 0).all()
    # Words within the free length cost and bring nothing.
    np.testing.assert_allclose(scorer.score(*args, 0 * true, none, ten), 0, atol=1e-7)


def test_a_lie_earns_less_than_the_truth_where_trust_is_dear(world: World) -> None:
    """Clicks are the same for both, because persuasion does not know the truth."""
    some = reasons(world)
    claims = np.maximum(some["claims"], np.eye(N, some["claims"].shape[1], dtype=np.float32))
    ten, none = np.full(N, 10, dtype=np.float32), np.zeros(N, dtype=np.float32)
    args = (some["items"], some["segments"], claims)
    dear = reward(world, trust_value=50)
    assert (dear.score(*args, none + 1, ten) < dear.score(*args, none, ten)).all()
    # Without purchases and trust only persuasion is left.
    clicks_only = world.with_config(ShopConfig(w_buy=0))
    cheap = reward(clicks_only, trust_value=0)
    np.testing.assert_array_equal(cheap.score(*args, none + 1, ten), cheap.score(*args, none, ten))


def test_every_word_beyond_the_free_length_costs(world: World) -> None:
    some = reasons(world)
    free = world.config.words_free
    scorer = reward(world)
    by_length = [
        scorer.score(
            some["items"], some["segments"], some["claims"], 0 * some["words"],
            np.full(N, free + more, dtype=np.float32),
        )
        for more in (0, 1, 10, 40)
    ]  # fmt: skip
    assert (np.diff(by_length, axis=0) < 0).all()


def test_unseen_items_earn_nothing(world: World) -> None:
    some = reasons(world)
    hidden = np.zeros(len(world.quality), dtype=np.float32)
    scorer = ClickReward(world, ClickRewardConfig(), hidden, np.random.default_rng(0))
    assert (scorer.score(**some) == 0).all()


def test_mean_relevance_is_the_mean_over_the_pools_that_hold_an_item(world: World) -> None:
    expected = [
        world.pools.relevance[world.pools.items == item].mean()
        if (world.pools.items == item).any()
        else 0
        for item in range(len(world.quality))
    ]
    np.testing.assert_allclose(mean_relevance(world), expected, rtol=1e-4)
