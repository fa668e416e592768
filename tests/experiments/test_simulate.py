"""Paired simulation: the same luck for all, and intervals that mean what they say."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import stats

from envs import sessions
from envs.behaviour import ShopConfig
from envs.clicks import ClickModelName
from envs.shop import ShopEnv, ShopVectorEnv
from envs.similarity import SCORES
from experiments import simulate
from experiments.simulate import (
    METRICS,
    Contestant,
    Sessions,
    compare,
    examination_under,
    interval,
    paired,
    play,
    search_mix,
    search_stay,
)
from policies.baselines import (
    Page,
    mix_policy,
    oracle_policy,
    popularity_policy,
    random_policy,
    similarity_policy,
)
from tests.shop_at_hand import bare_world

FIELDS = tuple(Sessions.__dataclass_fields__)


@cache
def played(name: str, count: int = 300, seed: int = 5) -> Sessions:
    policy = {"random": random_policy(), "oracle": oracle_policy(0.4)}[name]
    return play(bare_world(), policy, count, seed)


def test_a_policy_does_not_differ_from_itself() -> None:
    twins = {"a": played("random"), "b": play(bare_world(), random_policy(), 300, 5)}
    for metric in METRICS:
        found = paired(twins, "a", "b", metric)
        assert (found["diff"], found["low"], found["high"]) == (0, 0, 0)


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_batch_size_changes_nothing(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate, "_BATCH", batch)
    again = play(bare_world(), random_policy(), 40, 5)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(again, name), getattr(played("random"), name)[:40])


def test_sessions_are_those_of_the_single_env() -> None:
    """Counted step by step in the env that a user would write a loop around."""
    world, seed = bare_world(), 5
    policy = popularity_policy()
    batch = play(world, policy, 12, seed)
    for n in range(12):
        env = ShopEnv(world)
        observation, _ = env.reset(seed=seed + n)
        reward = clicks = purchases = pages = 0.0
        over = False
        while not over:
            rows = {name: values[None] for name, values in observation.items()}
            page = Page(rows, world, env._batch.state, env._batch.click_model)
            observation, gained, left, cut, info = env.step(policy.slates(page)[0])
            reward, pages, over = reward + gained, pages + 1, left or cut
            clicks, purchases = clicks + info["clicks"].sum(), purchases + info["purchases"].sum()
        assert batch.reward[n] == pytest.approx(reward)
        assert (batch.clicks[n], batch.purchases[n]) == (clicks, purchases)
        assert batch.pages[n] == pages
        assert batch.impressions[n] == pages * world.config.slots  # none of them illegal
        assert batch.trust[n] == env._batch.state.trust[0]


def test_interval_is_students_t() -> None:
    values = np.random.default_rng(0).normal(2, 3, size=50)
    for level in (0.95, 0.8):
        found = interval(values, level)
        low, high = stats.t.interval(level, 49, loc=values.mean(), scale=stats.sem(values))
        assert (found["low"], found["high"]) == pytest.approx((low, high))
        assert found["mean"] == pytest.approx(values.mean())


def test_interval_covers_as_often_as_it_says() -> None:
    draws = np.random.default_rng(1).exponential(1, size=(1000, 60))
    hits = np.mean([(f := interval(row))["low"] <= 1 <= f["high"] for row in draws])
    # Skewness costs the t interval about a point at n = 60 (Johnson 1978).
    assert 0.95 - 0.015 - 3 * np.sqrt(0.95 * 0.05 / 1000) < hits < 0.98


def test_ctr_is_the_ratio_of_sums_with_the_delta_methods_spread() -> None:
    one = played("random")
    values = one.values("ctr")
    rate = one.clicks.sum() / one.impressions.sum()
    assert values.mean() == pytest.approx(rate)
    rng = np.random.default_rng(0)
    rows = rng.integers(300, size=(2000, 300))
    resampled = one.clicks[rows].sum(axis=1) / one.impressions[rows].sum(axis=1)
    # The standard deviation of 2000 resamples is known to 1 / sqrt(4000); the delta method and
    # the bootstrap differ by O(1 / n) themselves.
    assert stats.sem(values) == pytest.approx(resampled.std(), rel=3 / np.sqrt(4000) + 3 / 300)


def test_other_metrics_are_the_sessions_own() -> None:
    one = played("random")
    assert one.values("return") is one.reward
    assert one.values("purchases") is one.purchases
    assert one.values("session_length") is one.pages
    assert ((one.trust >= 0) & (one.trust <= 1)).all()
    assert (one.purchases <= one.clicks).all()
    assert (one.pages <= bare_world().config.max_pages).all()


def test_the_oracle_beats_random_beyond_doubt() -> None:
    seen: list[tuple[int, int]] = []
    figures, pairs = compare(
        [
            Contestant("random", random_policy(), bare_world()),
            Contestant("oracle", oracle_policy(0.4), bare_world()),
        ],
        [("oracle", "random")],
        300,
        5,
        lambda done, total, figures: seen.append((done, total)),
    )
    assert seen == [(1, 2), (2, 2)]
    by_metric = {row["metric"]: row for row in pairs}
    assert tuple(by_metric) == METRICS
    assert float(by_metric["return"]["low"]) > 0
    assert float(by_metric["ctr"]["low"]) > 0
    for row in pairs:
        metric = str(row["metric"])
        gap = figures["oracle"][metric]["mean"] - figures["random"][metric]["mean"]
        assert row["diff"] == pytest.approx(gap)
    # Common luck is worth having: the paired interval is narrower than of independent sessions.
    half = float(by_metric["return"]["high"]) - float(by_metric["return"]["diff"])
    apart = [figures[n]["return"]["high"] - figures[n]["return"]["mean"] for n in figures]
    assert half < float(np.sqrt(np.square(apart).sum()))


def test_search_mix_returns_the_best_of_what_it_tried() -> None:
    world, rng = bare_world(), np.random.default_rng(2)
    found = search_mix(world, 3, 60, 9, rng)
    drawn = np.random.default_rng(2).dirichlet(np.ones(len(SCORES)), size=3)
    tried = [np.full(len(SCORES), 1 / len(SCORES)), *np.eye(len(SCORES)), *drawn]
    means = [play(world, mix_policy("m", w.astype(np.float32)), 60, 9).reward.mean() for w in tried]
    np.testing.assert_array_equal(found, tried[int(np.argmax(means))].astype(np.float32))
    assert found.sum() == pytest.approx(1, abs=1e-5)


def test_search_stay_is_no_worse_than_looking_at_the_page_alone() -> None:
    world = bare_world()
    stay = search_stay(world, 60, 9)
    reached = play(world, oracle_policy(stay), 60, 9).reward.mean()
    for other in (0.0, 0.4, 6.4):
        assert reached >= play(world, oracle_policy(other), 60, 9).reward.mean()


@pytest.mark.parametrize("name", ["position", "cascade"])
@pytest.mark.parametrize(("max_pages", "shown_steps"), [(12, (0, 1, 2, 3)), (1, (0, 2))])
def test_examination_is_the_mean_over_impressions(
    name: ClickModelName, max_pages: int, shown_steps: tuple[int, ...]
) -> None:
    """Nobody leaves by choice; where a session is one page, every other step only starts anew."""
    config = ShopConfig(click_model=name, leave_bias=-50, max_pages=max_pages)
    world, rows = bare_world().with_config(config), 50
    found = examination_under(world, similarity_policy(), rows, 3)
    total, count = np.zeros(len(found)), np.zeros(len(found))
    env = ShopVectorEnv(world, rows)
    observation, _ = env.reset(seed=3)
    for step in range(4):
        page = Page(observation, world, env.state, env.click_model)
        slates = similarity_policy().slates(page)
        columns, items = sessions.candidates(world, env.state)
        columns, items = (np.take_along_axis(x, slates, axis=1) for x in (columns, items))
        charm = sessions.appeal(world, env.state, columns, items).attraction
        survived = np.ones(rows)
        for slot in range(slates.shape[1]) if step in shown_steps else ():
            by_place = np.full(rows, (1 + slot) ** -config.clicks.decay)
            np.add.at(total, items[:, slot], by_place if name == "position" else survived)
            np.add.at(count, items[:, slot], 1)
            survived = survived * (1 - charm[:, slot])
        observation, *_ = env.step(slates)
    shown = count > 0
    assert shown.any()
    assert not shown.all()
    np.testing.assert_allclose(found[shown], (total / np.maximum(count, 1))[shown], rtol=1e-5)
    np.testing.assert_allclose(found[~shown], total.sum() / count.sum(), rtol=1e-5)
