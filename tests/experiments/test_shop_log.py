"""The simulated log: exact propensities, and a truth that outcomes agree with."""

from __future__ import annotations

from functools import cache
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from envs import sessions
from envs.behaviour import ShopConfig
from envs.clicks import ClickModelName, make_click_model
from envs.counter_rng import new_keys
from envs.feedback import check_feedback, read_feedback, write_feedback
from envs.shop import ShopVectorEnv
from envs.similarity import SCENES
from envs.world import World
from experiments.ope.evaluate import evaluate
from experiments.ope.models import fit_slate_model
from experiments.ope.shop_log import (
    ShopLog,
    expected_reward,
    log_sessions,
    slate_features,
)
from policies.baselines import Page, similarity_policy
from policies.logging_policies import PlackettLuce
from tests.shop_at_hand import bare_world, small_shop

SESSIONS = 400
CATALOGUE = small_shop().visitors.catalogue


def similarity(observation: dict[str, np.ndarray]) -> np.ndarray:
    return 6 * observation["items"][..., :6].mean(axis=-1)


def popularity(observation: dict[str, np.ndarray]) -> np.ndarray:
    return 2 * observation["items"][..., 8]


@cache
def log(on_policy: bool, model: ClickModelName = "position") -> ShopLog:
    return log_sessions(
        bare_world().with_config(ShopConfig(click_model=model)),
        similarity,
        similarity if on_policy else popularity,
        sessions_count=SESSIONS,
        model_slates=2,
        truth_slates=4,
        item_ids=CATALOGUE.items["item_id"].tolist(),
        shopper_ids=small_shop().visitors.profiles.shopper_ids,
        seed=3,
    )


def _steep(observation: dict[str, np.ndarray]) -> np.ndarray:
    """Each item exp(30) times as likely as the next: steep, and yet within float64's range."""
    rank = np.argsort(np.argsort(-similarity(observation), axis=1, kind="stable"), axis=1)
    return (-30.0 * rank).astype(np.float32)


# Propensities


def _brute(rates: np.ndarray, slate: tuple[int, ...]) -> float:
    left, total = list(range(len(rates))), 1.0
    for item in slate:
        total *= rates[item] / rates[left].sum()
        left.remove(item)
    return float(total)


def test_propensities_equal_enumeration() -> None:
    rng = np.random.default_rng(0)
    n, k, rows = 4, 3, 6
    logits = rng.normal(0, 2, size=(rows, n)).astype(np.float32)
    slates = np.array([rng.permutation(n)[:k] for _ in range(rows)])
    found = PlackettLuce(1.0).propensities(logits, np.ones((rows, n)), slates)
    for row in range(rows):
        rates = np.exp(logits[row].astype(float))
        slate = tuple(slates[row].tolist())
        np.testing.assert_allclose(found["pscore"][row], _brute(rates, slate), rtol=1e-6)
        for slot in range(k):
            assert found["pscore_cascade"][row, slot] == pytest.approx(
                _brute(rates, slate[: slot + 1]), rel=1e-6
            )
            marginal = sum(
                _brute(rates, other)
                for other in permutations(range(n), k)
                if other[slot] == slate[slot]
            )
            assert found["pscore_item_position"][row, slot] == pytest.approx(marginal, rel=1e-6)


def test_prefixes_shrink_to_the_whole_slate() -> None:
    frame = log(on_policy=False).frame
    for prefix in ("", "eval_"):
        cascade = frame[f"{prefix}pscore_cascade"].to_numpy().reshape(-1, 5)
        whole = frame[f"{prefix}pscore"].to_numpy().reshape(-1, 5)
        first = frame[f"{prefix}pscore_item_position"].to_numpy().reshape(-1, 5)[:, 0]
        assert (np.diff(cascade, axis=1) <= 0).all()
        np.testing.assert_array_equal(whole, np.repeat(cascade[:, -1:], 5, axis=1))
        np.testing.assert_allclose(first, cascade[:, 0], rtol=1e-6)


# The frame


def test_the_frame_is_a_feedback_log(tmp_path: Path) -> None:
    frame = log(on_policy=False).frame
    check_feedback(frame, "log", targets=True)
    write_feedback(frame, tmp_path / "log.parquet")
    assert len(read_feedback(tmp_path / "log.parquet", targets=True)) == len(frame)


def test_rows_lie_in_order_and_name_what_was_shown() -> None:
    one = log(on_policy=False)
    frame = one.frame
    slates = len(frame) // 5
    assert one.truth.shape == one.logging_truth.shape == one.sessions.shape == (slates,)
    assert one.rewards.shape == (slates, 5)
    np.testing.assert_array_equal(frame["reward"].to_numpy().reshape(-1, 5), one.rewards)
    np.testing.assert_array_equal(frame["session_id"].to_numpy()[::5], one.sessions)
    assert frame["session_id"].nunique() == SESSIONS
    assert set(frame["item_id"]) <= set(CATALOGUE.items["item_id"])
    assert set(frame["scene"]) <= set(SCENES)
    assert not frame.groupby("slate_id")["item_id"].nunique().ne(5).any()
    pages = frame.drop_duplicates("slate_id")
    for _, session in pages.groupby("session_id"):
        assert session["step"].tolist() == list(range(len(session)))
        assert session["done"].tolist() == [False] * (len(session) - 1) + [True]
        assert session["shopper_id"].nunique() == 1
        assert session["timestamp"].is_monotonic_increasing
    # A reward follows from what was clicked and bought, item by item.
    config = bare_world().config
    margin = dict(zip(CATALOGUE.items["item_id"], bare_world().margin, strict=True))
    expected = config.w_click * frame["click"] + config.w_buy * frame["purchase"] * [
        margin[item] for item in frame["item_id"]
    ]
    np.testing.assert_allclose(frame["reward"], expected, rtol=1e-5)
    segment = dict(
        zip(small_shop().visitors.profiles.shopper_ids, bare_world().segment, strict=True)
    )
    assert [segment[s] for s in frame["shopper_id"]] == frame["segment"].tolist()


def test_features_belong_to_the_slates() -> None:
    world = bare_world()
    state = sessions.start(world, new_keys(np.random.default_rng(0), 7))
    seen = sessions.observe(world, state)
    slates = np.array([np.random.default_rng(b).permutation(20)[:5] for b in range(7)])
    features = slate_features(seen, slates)
    for b in range(7):
        for slot in range(5):
            np.testing.assert_array_equal(
                features[b, slot],
                np.concatenate([seen["items"][b, slates[b, slot]], seen["context"][b]]),
            )
    one = log(on_policy=False)
    width = features.shape[-1]
    assert one.logged_features.shape == (*one.rewards.shape, width)
    assert one.target_features.shape == (len(one.rewards), 2, 5, width)


# The truth


@pytest.mark.parametrize("name", ["position", "cascade"])
def test_expected_reward_is_the_mean_of_outcomes(name: ClickModelName) -> None:
    """The same page with many coins; keys decide the coins, all else is held fixed."""
    world = bare_world().with_config(ShopConfig(click_model=name, bias=-2.0))
    coins, config = 20_000, world.config
    model = make_click_model(name, config.slots, config.clicks)
    for page in range(3):
        one = sessions.start(world, new_keys(np.random.default_rng(page), 1))
        rows = np.zeros(coins, dtype=np.int64)
        state = sessions.SessionState(**{k: v[rows] for k, v in vars(one).items()})
        slate = np.random.default_rng(page).permutation(20)[None, :5]
        value = expected_reward(world, model, one, slate)[0]
        state.key = new_keys(np.random.default_rng(99 + page), coins)
        _, outcome, _ = sessions.show(world, model, state, np.tile(slate, (coins, 1)))
        drawn = outcome.slot_reward.sum(axis=1)
        assert abs(drawn.mean() - value) < 3.5 * drawn.std() / np.sqrt(coins)


def test_logged_rewards_agree_with_the_logging_truth() -> None:
    one = log(on_policy=True)
    gap = one.rewards.sum(axis=1) - one.logging_truth
    # Given its page a slate's reward is its truth plus noise of mean 0, independent of the past.
    assert abs(gap.mean()) < 3 * gap.std() / np.sqrt(len(gap))


def test_truth_of_a_sharp_target_is_that_of_its_best_slate() -> None:
    """With a steep enough target all drawn slates are the top one: nothing is left to chance."""
    world = bare_world()
    made = log_sessions(
        world, similarity, _steep,
        sessions_count=30, model_slates=1, truth_slates=3,
        item_ids=CATALOGUE.items["item_id"].tolist(),
        shopper_ids=small_shop().visitors.profiles.shopper_ids, seed=8,
    )  # fmt: skip
    state = _first_pages(world, 30, 8)
    model = make_click_model("position", 5, world.config.clicks)
    top = similarity_policy().slates(Page(sessions.observe(world, state), world, state, model))
    first = made.frame.drop_duplicates("slate_id")["step"].to_numpy() == 0
    np.testing.assert_allclose(
        made.truth[first], expected_reward(world, model, state, top), rtol=1e-5
    )


def _first_pages(world: World, count: int, seed: int) -> sessions.SessionState:
    env = ShopVectorEnv(world, count)
    env.reset(seed=seed)
    return env.state


# Estimates


def _with_model(one: ShopLog) -> dict[str, np.ndarray]:
    predictions = fit_slate_model(
        one.logged_features, one.rewards, one.target_features, one.sessions,
        rng=np.random.default_rng(0), folds=2, regressor=Ridge(1.0),
    )  # fmt: skip
    return predictions.columns()


def test_on_policy_estimates_are_the_plain_mean() -> None:
    one = log(on_policy=True)
    frame = one.frame.assign(**_with_model(one))
    plain = one.rewards.astype(np.float64).sum(axis=1).mean()
    names = ["IPS", "SNIPS", "RIPS", "SNRIPS", "IIPS", "DR", "CascadeDR"]
    found = {
        e.estimator: e
        for e in evaluate(frame, names, rng=np.random.default_rng(0), interval="delta")
    }
    for name in ("IPS", "SNIPS", "RIPS", "SNRIPS", "IIPS"):
        assert found[name].value == pytest.approx(plain, rel=1e-9)
        assert found[name].ess == pytest.approx(len(one.rewards))
        assert found[name].max_weight == pytest.approx(1)
    for estimate in found.values():
        # Weights are 1, so DR differs from the mean by v - q alone, which is noise of mean 0.
        assert abs(estimate.value - one.truth.mean()) < 3 * estimate.se
        assert estimate.conclusive


def test_off_policy_estimates_find_the_truth() -> None:
    one = log(on_policy=False)
    names = ["RIPS", "SNRIPS", "IIPS"]
    for estimate in evaluate(one.frame, names, rng=np.random.default_rng(0), interval="delta"):
        assert abs(estimate.value - one.truth.mean()) < 3 * estimate.se


def test_same_seed_same_log() -> None:
    again = log.__wrapped__(False)
    assert again.frame.equals(log(on_policy=False).frame)
    np.testing.assert_array_equal(again.truth, log(on_policy=False).truth)
