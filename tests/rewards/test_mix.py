"""The mix: parts, vetoes and the unit of the reward."""

from __future__ import annotations

import numpy as np
import pytest

from envs.world import World
from rewards.claims import ClaimChecker, claim_matrix
from rewards.clicks import ClickReward, ClickRewardConfig
from rewards.mix import RewardConfig, RewardMix, Scored, uplift_spread
from rewards.style import style_penalty
from sft.tasks import item_briefs
from tests.shop_at_hand import bare_world, small_shop

SPREAD = 0.02


@pytest.fixture(scope="module")
def world() -> World:
    return bare_world()


@pytest.fixture(scope="module")
def checker() -> ClaimChecker:
    return ClaimChecker(small_shop().visitors.catalogue)


@pytest.fixture(scope="module")
def clicks(world: World) -> ClickReward:
    examination = np.full(len(world.quality), 0.5, dtype=np.float32)
    return ClickReward(world, ClickRewardConfig(), examination, np.random.default_rng(0))


def texts(count: int) -> list[str]:
    """One reason an item: honest, unfinished, a lie, empty, in turn."""
    facts = [brief.facts[0][1] for brief in item_briefs(small_shop().visitors.catalogue)]
    forms = ("Pick it for its {}.", "It has {}", "It has {} and magic.", "")
    return [forms[i % 4].format(facts[i]) for i in range(count)]


def scored(checker: ClaimChecker, clicks: ClickReward, config: RewardConfig) -> Scored:
    mix = RewardMix(checker, clicks, config, SPREAD)
    return mix.score(np.arange(20), np.arange(20) % 8, texts(20))


def test_total_is_the_sum_of_parts_or_the_veto(checker: ClaimChecker, clicks: ClickReward) -> None:
    config = RewardConfig(style=0.3, veto=2.5)
    result = scored(checker, clicks, config)
    claims, lies, words = claim_matrix(result.checked, checker.n_aspects)
    uplift = clicks.score(np.arange(20), np.arange(20) % 8, claims, lies, words)
    np.testing.assert_allclose(result.parts["clicks"], uplift / SPREAD, rtol=1e-5)
    np.testing.assert_allclose(result.parts["style"], -0.3 * style_penalty(texts(20)), rtol=1e-5)
    wrong = np.arange(20) % 4 >= 2
    assert [v is not None for v in result.vetoes] == wrong.tolist()
    summed = result.parts["clicks"] + result.parts["style"]
    np.testing.assert_allclose(result.total[~wrong], summed[~wrong], rtol=1e-5)
    np.testing.assert_array_equal(result.total[wrong], np.float32(-2.5))
    # A vetoed reason is not shown, so it brings nothing.
    np.testing.assert_array_equal(result.uplift[wrong], 0)
    np.testing.assert_allclose(result.uplift[~wrong], uplift[~wrong])


def test_weights_turn_parts_off(checker: ClaimChecker, clicks: ClickReward) -> None:
    bare = scored(checker, clicks, RewardConfig(style=0, veto=0))
    honest = np.array([v is None for v in bare.vetoes])
    np.testing.assert_allclose(bare.total, np.where(honest, bare.parts["clicks"], 0))


def test_nothing_to_score(checker: ClaimChecker, clicks: ClickReward) -> None:
    mix = RewardMix(checker, clicks, RewardConfig(), SPREAD)
    result = mix.score(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), [])
    assert result.total.shape == (0,)


def test_spread_is_the_standard_deviation_of_true_one_fact_reasons(
    world: World, clicks: ClickReward
) -> None:
    """Against every (item, segment, fact) weighed as the sampling weighs them.

    The standard deviation s of n draws has a standard error of s sqrt((kurtosis - 1) / (4 n)).
    """
    segments, aspects = world.segment_aspects.shape
    held = world.aspects > 0
    items, facts = np.nonzero(held)
    weight = (1 / held.sum(axis=1))[items]
    values, weights = [], []
    for segment in range(segments):
        ones = np.ones(len(items), dtype=np.float32)
        claims = np.eye(aspects, dtype=np.float32)[facts]
        values.append(
            clicks.score(items, np.full(len(items), segment), claims, 0 * ones, 10 * ones)
        )
        weights.append(weight)
    value, share = np.concatenate(values), np.concatenate(weights)
    share = share / share.sum()
    off = value - (share * value).sum()
    spread = np.sqrt((share * off**2).sum())
    kurtosis = (share * off**4).sum() / spread**4
    band = 3 * spread * np.sqrt((kurtosis - 1) / (4 * 2048))
    found = uplift_spread(clicks, world.aspects, segments, np.random.default_rng(1))
    assert abs(found - spread) < band


def test_spread_of_a_shop_without_facts_is_no_zero(world: World, clicks: ClickReward) -> None:
    nothing = np.zeros_like(world.aspects)
    assert uplift_spread(clicks, nothing, 8, np.random.default_rng(0)) > 0
