"""The lift in the held-out shops: paired by prompt, and all of it kept where nothing differs."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from envs.behaviour import ShopConfig
from experiments.config import MeasureConfig
from experiments.held_out_config import HeldOutConfig
from experiments.held_out_lift import (
    held_out_rewards,
    in_other_words,
    lift,
    lift_kept,
    share_kept,
    worth,
)
from experiments.measure_panel import Panel, draw_panel
from experiments.shop_reward import placement_under, shop_reward
from experiments.simulate import examination_under
from policies.baselines import SlatePolicy, similarity_policy
from rewards.claims import ClaimChecker
from rewards.mix import RewardMix
from rewards.mix_config import RewardConfig
from tests.shop_at_hand import bare_world, small_shop


@dataclass(frozen=True)
class Counting:
    """A reward in which a text is worth its length times a factor, less the item's number."""

    factor: float

    def score(self, items: Any, segments: Any, texts: Any) -> Any:
        lengths = np.array([len(text) for text in texts], dtype=np.float32)
        return SimpleNamespace(uplift=self.factor * (lengths - np.asarray(items)))


def mix(factor: float) -> RewardMix:
    return cast(RewardMix, Counting(factor))


#: Three prompts about items 5, 6 and 7, two samples each.
PANEL = Panel(
    items=np.repeat([5, 6, 7], 2), segments=np.zeros(6, dtype=np.int64), prompts=[""] * 6,
    samples=2, others=np.zeros(6, dtype=np.int64), other_prompts=[""] * 6,
)  # fmt: skip
BEFORE = ["a", "a", "a", "a", "a", "a"]
#: Gains of 1, 2 and 3 by prompt.
AFTER = ["aa", "aa", "aaaa", "aa", "aaaa", "aaaa"]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_worth_is_the_mean_over_the_samples_of_a_prompt() -> None:
    np.testing.assert_allclose(worth(mix(1), PANEL, AFTER), [2 - 5, 3 - 6, 4 - 7])


def test_all_is_kept_where_the_shops_are_the_same() -> None:
    found = lift(mix(1), {"twin": mix(1)}, PANEL, (BEFORE, AFTER), (BEFORE, AFTER), rng())
    assert found["home"]["value"] == pytest.approx(2)
    assert found["kept"] == found["shops"]["twin"]["kept"] == found["other_words"]["kept"]
    assert found["kept"] == {"value": 1, "low": 1, "high": 1}


def test_shares_and_gains_are_those_of_the_hand_made_shops() -> None:
    """Half of it in one shop, a tenth in the other; words that lose the third prompt lose half."""
    shops = {"half": mix(0.5), "tenth": mix(0.1)}
    lost = [*AFTER[:4], "a", "a"]
    found = lift(mix(1), shops, PANEL, (BEFORE, AFTER), (BEFORE, lost), rng())
    assert found["shops"]["half"]["kept"] == pytest.approx({"value": 0.5, "low": 0.5, "high": 0.5})
    assert found["shops"]["tenth"]["gain"]["value"] == pytest.approx(0.2)
    assert found["held_out"]["value"] == pytest.approx((1 + 0.2) / 2)
    assert found["kept"]["value"] == pytest.approx(0.3)
    assert found["other_words"]["home"]["value"] == pytest.approx(1)
    assert found["other_words"]["kept"]["value"] == pytest.approx(0.3 / 2)


def test_where_nothing_was_gained_there_is_nothing_to_keep() -> None:
    found = lift(mix(1), {"twin": mix(1)}, PANEL, (AFTER, BEFORE), (AFTER, BEFORE), rng())
    assert found["home"]["value"] == pytest.approx(-2)
    assert found["kept"] is None


def test_a_shop_where_all_texts_count_half_keeps_the_whole_lift() -> None:
    before, after = np.array([1.0, 2, 3, 2]), np.array([1.5, 2, 5, 2.5])
    items = np.array([1, 1, 2, 3])
    half = lift_kept((before, after), [(before / 2, after / 2)], items, rng())
    assert half == pytest.approx({"value": 1, "low": 1, "high": 1})


def test_lifts_of_several_shops_are_averaged() -> None:
    """At home 25 % more; 10 % and 20 % more elsewhere."""
    ones = np.ones(4)
    found = lift_kept(
        (4 * ones, 5 * ones), [(ones, 1.1 * ones), (2 * ones, 2.4 * ones)], np.arange(4), rng()
    )
    assert found is not None
    assert found["value"] == pytest.approx((0.1 + 0.2) / 2 / 0.25)


def test_no_lift_is_kept_where_there_was_none_or_nothing_to_lift() -> None:
    ones = np.ones(4)
    assert lift_kept((ones, ones), [(ones, 2 * ones)], np.arange(4), rng()) is None
    assert lift_kept((-ones, ones), [(ones, 2 * ones)], np.arange(4), rng()) is None


def test_the_interval_of_a_share_covers_it_as_often_as_it_says() -> None:
    """40 items of noisy gains, true share 0.6: nominal 95 %, 3 sigma of 200 trials below it."""
    draw, trials, covered = np.random.default_rng(3), 200, 0
    for _ in range(trials):
        home = 1 + 0.5 * draw.standard_normal(40)
        away = 0.6 * home + 0.3 * draw.standard_normal(40)
        found = share_kept(home, away, np.arange(40), draw)
        assert found is not None
        covered += found["low"] <= 0.6 <= found["high"]
    # The percentile bootstrap of 40 clusters is a little narrow: some 93 %.
    assert covered / trials > 0.93 - 3 * np.sqrt(0.93 * 0.07 / trials)


def test_rewards_of_the_held_out_shops_differ_from_home_and_are_those_of_their_seed() -> None:
    shop, checker = small_shop(), ClaimChecker(small_shop().visitors.catalogue)
    panel = draw_panel(
        MeasureConfig(prompts=30, samples=1), shop.visitors, np.arange(80), np.random.default_rng(1)
    )
    facts = shop.visitors.catalogue.facts.drop_duplicates("item_id").set_index("item_id")
    ids = shop.visitors.catalogue.items["item_id"]
    texts = [f"It has {facts['phrases'][ids[item]][0]}." for item in panel.items]

    def values(seed: int) -> dict[str, Any]:
        rewards = held_out_rewards(
            shop, ShopConfig(), HeldOutConfig(), checker, RewardConfig(),
            np.random.default_rng(seed),
        )  # fmt: skip
        return {name: worth(reward, panel, texts) for name, reward in rewards.items()}

    found, again, other = values(1), values(1), values(2)
    home = shop_reward(bare_world(), similarity_policy(), checker, RewardConfig(), 1)
    assert list(found) == ["dbn", "cascade", "ubm"]
    for name, value in found.items():
        np.testing.assert_array_equal(value, again[name])
        assert not np.allclose(value, other[name])
        assert not np.allclose(value, worth(home, panel, texts))


def test_other_words_reach_both_writers_and_keep_rows_in_their_places() -> None:
    shop = small_shop()
    panel = draw_panel(
        MeasureConfig(prompts=8, samples=2), shop.visitors, np.arange(80), np.random.default_rng(1)
    )
    asked: list[tuple[list[str], int]] = []

    def write(prompts: list[str], seed: int) -> list[str]:
        asked.append((prompts, seed))
        return prompts

    before, after = in_other_words(
        shop, HeldOutConfig(), panel, (write, write), 9, np.random.default_rng(0)
    )
    assert before == after
    assert [seed for _, seed in asked] == [9, 9]
    for own, other in zip(panel.prompts, before, strict=True):
        assert own != other
        assert own.split("|")[0] == other.split("|")[0]  # the title


def test_examination_is_that_of_the_simulation() -> None:
    world = bare_world()
    found = placement_under(world, similarity_policy(), 60, 3, 0.3)
    assert found.examination.shape == (80, 1)
    expected = examination_under(world, similarity_policy(), 60, 3)
    np.testing.assert_allclose(found.examination[:, 0], expected, rtol=1e-5)


def test_placement_follows_the_policy() -> None:
    """What similarity puts first the opposite order puts last, where few look."""
    world, best = bare_world(), similarity_policy()
    worst = SlatePolicy("worst", lambda page: -best.score(page))
    one, two = (placement_under(world, policy, 100, 3, 0.3) for policy in (best, worst))
    both = (one.shown > 20) & (two.shown > 20)
    assert both.sum() > 5
    assert np.corrcoef(one.examination[both, 0], two.examination[both, 0])[0, 1] < 0
