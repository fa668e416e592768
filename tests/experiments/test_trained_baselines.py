"""Baselines made on training sessions: by name, from a seed, and how the comparison uses them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from envs.similarity import SCORES
from experiments.config import Config
from experiments.simulate import TRAINING_SEEDS, Evaluation, Sessions, play
from experiments.simulate_field import CONFIG_POLICIES, RUN_POLICIES, Field
from experiments.steps_ranking import LEARNED, PAIRS, share_of_way
from experiments.trained_baselines import (
    TRADE_OFFS,
    TRAINED,
    Training,
    similarity_log,
    train_baseline,
)
from policies.mmr import ItemLikeness, mmr_policy
from policies.page_features import joint_features
from tests.shop_at_hand import bare_world, small_shop


@cache
def training(seed: int = 0) -> Training:
    config = Config.model_validate({"name": "t", "simulate": {"search_sessions": 100}})
    return Training(small_shop(), bare_world(), config, seed)


@pytest.mark.parametrize("name", [name for name in TRAINED if name != "click_regression"])
def test_a_seed_makes_the_same_baseline(name: str) -> None:
    one, two = train_baseline(name, training()), train_baseline(name, training())
    assert one.policy.name == name
    assert one.figures == two.figures
    world = bare_world()
    np.testing.assert_array_equal(
        play(world, one.policy, 30, 0).reward, play(world, two.policy, 30, 0).reward
    )


def test_mmr_s_trade_off_is_the_best_on_training_sessions() -> None:
    likeness, means = ItemLikeness.of(small_shop()), {}
    for trade_off in TRADE_OFFS:
        policy = mmr_policy(likeness, trade_off)
        means[trade_off] = play(bare_world(), policy, 100, TRAINING_SEEDS).reward.mean()
    found = train_baseline("mmr", training()).figures["trade_off"]
    assert means[found] == max(means.values())


def test_the_log_holds_what_was_shown_and_how_likely() -> None:
    told: list[tuple[int, int]] = []
    watched = replace(training(), progress=lambda done, total, figures: told.append((done, total)))
    log = similarity_log(watched, 40)
    slots = bare_world().config.slots
    pages = len(log.sessions)
    assert set(log.sessions) == set(range(40))
    assert told[-1] == (40, 40)
    for values in (log.clicks, log.rewards, log.propensity):
        assert values.shape == (pages, slots)
    assert ((log.propensity > 0) & (log.propensity <= 1)).all()
    assert (log.rewards[~log.clicks] == 0).all()
    assert (log.rewards[log.clicks] >= bare_world().config.w_click - 1e-6).all()
    # Each page is of one scene, and scores lie in [0, 1]: context and items are what they are.
    assert (log.context[:, :3].sum(axis=1) == 1).all()
    assert log.items[..., : len(SCORES)].min() >= 0
    assert log.items[..., : len(SCORES)].max() <= 1
    assert joint_features(log.context, log.items).shape[:2] == (pages, slots)
    # The logger leans to similar items, more so in the first slot.
    mean = log.items[..., : len(SCORES)].mean(axis=(0, 2))
    assert mean[0] > mean[-1]


def test_the_click_regression_learns_from_that_log() -> None:
    config = Config.model_validate({"name": "t", "simulate": {"search_sessions": 600}})
    found = train_baseline("click_regression", replace(training(), config=config))
    assert found.figures["sessions"] == 1_200
    assert found.figures["chosen"] in found.figures["log_loss"]
    world = bare_world()
    at_random = train_baseline("linucb", training()).figures["return_first"]
    assert play(world, found.policy, 1_000, 0).reward.mean() > at_random


def test_names_are_known_where_policies_are_compared() -> None:
    assert set(TRAINED) <= set(RUN_POLICIES) & set(CONFIG_POLICIES)
    assert set(LEARNED) <= set(TRAINED)
    for name in LEARNED:
        assert ("ranker", name) in PAIRS
    one = Field(
        shop=small_shop(), config=training().config, books={"none": lambda: None}, scorer=None,
        search_seed=0, usual=(),
    )  # fmt: skip
    assert one.policy("linucb") is one.policy("linucb")  # trained once
    np.testing.assert_array_equal(
        play(bare_world(), one.policy("linucb"), 20, 0).reward,
        play(bare_world(), train_baseline("linucb", training()).policy, 20, 0).reward,
    )


def _sessions(reward: np.ndarray) -> Sessions:
    return Sessions(*(reward,) * len(Sessions.__dataclass_fields__))


def test_share_of_the_way_is_a_ratio_of_paired_differences() -> None:
    rng, count = np.random.default_rng(0), 4_000
    start = rng.exponential(size=count)
    end = start + rng.normal(2, 1, size=count)
    here = start + 0.3 * (end - start) + rng.normal(0, 0.5, size=count)
    played = {"a": _sessions(start), "b": _sessions(here), "c": _sessions(end)}
    found = share_of_way(Evaluation(range(count), played), "a", "b", "c")
    assert found is not None
    assert found["mean"] == pytest.approx((here - start).sum() / (end - start).sum())
    rows = rng.integers(count, size=(1_000, count))
    shares = (here - start)[rows].sum(axis=1) / (end - start)[rows].sum(axis=1)
    # The spread of 1,000 resamples is known to 1 / sqrt(2000).
    half = 1.96 * shares.std()
    assert found["high"] - found["mean"] == pytest.approx(half, rel=4 / np.sqrt(2_000))
    assert found["low"] < 0.3 < found["high"]


def test_a_way_of_no_length_has_no_share() -> None:
    rng = np.random.default_rng(1)
    played = {name: _sessions(rng.normal(size=500)) for name in "abc"}
    played["c"] = played["a"]
    assert share_of_way(Evaluation(range(500), played), "a", "b", "c") is None
