"""One contract that every policy without hidden knowledge passes, however it came about."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import permutations

import numpy as np
import pytest

from envs import sessions
from envs.behaviour import ShopConfig
from envs.clicks import make_click_model
from envs.counter_rng import fold, new_keys
from envs.similarity import SCORES
from envs.world import World
from policies.bandits import linucb, thompson, train_bandit
from policies.baselines import (
    Page,
    SlatePolicy,
    mix_policy,
    popularity_policy,
    random_policy,
    similarity_policy,
)
from policies.click_regression import fit_click_regression
from policies.logging_policies import EpsilonMixed, LoggingPolicy, PlackettLuce, TopK
from policies.mmr import ItemLikeness, mmr_policy
from tests.policies.click_logs import bent_log, straight_log
from tests.shop_at_hand import bare_world, small_shop

N, K, ROWS = 6, 3, 24
EVERY_SLATE = np.array(list(permutations(range(N), K)))


@cache
def tiny() -> World:
    return bare_world().with_config(ShopConfig(candidates=N, slots=K))


def bandit(name: str) -> SlatePolicy:
    explore = {"linucb": linucb, "thompson": thompson}[name]
    rng = np.random.default_rng(0)
    return train_bandit(
        tiny(), name, explore, sessions=300, seed=5, rng=rng
    ).scores.policy()  # fmt: skip


MAKERS: dict[str, Callable[[], SlatePolicy]] = {
    "random": random_policy,
    "popularity": popularity_policy,
    "similarity": similarity_policy,
    "mix": lambda: mix_policy("mix", np.arange(len(SCORES), dtype=np.float32)),
    "mmr": lambda: mmr_policy(ItemLikeness.of(small_shop()), 0.5),
    "linucb": lambda: bandit("linucb"),
    "thompson": lambda: bandit("thompson"),
    "logistic": lambda: fit_click_regression(straight_log(600, seed=1), kinds=("logistic",)).policy,
    "boosting": lambda: fit_click_regression(bent_log(600, seed=1), kinds=("boosting",)).policy,
}


@cache
def policy(name: str) -> SlatePolicy:
    return MAKERS[name]()


def page(keys: np.ndarray | None = None) -> Page:
    """Pages of all scenes, a third of them with a candidate that was bought."""
    world = tiny()
    keys = new_keys(np.random.default_rng(3), ROWS) if keys is None else keys
    state = sessions.start(world, keys)
    state.bought[::3, :1] = sessions.candidates(world, state)[1][::3, 1:2]
    model = make_click_model(world.config.click_model, K, world.config.clicks)
    return Page(sessions.observe(world, state), world, state, model)


def at_rows(shown: Page, rows: np.ndarray) -> Page:
    state = sessions.SessionState(**{n: v[rows] for n, v in vars(shown.state).items()})
    seen = {name: values[rows] for name, values in shown.observation.items()}
    return Page(seen, shown.world, state, shown.click_model)


@pytest.mark.parametrize("name", MAKERS)
class TestContract:
    def test_scores_are_one_finite_number_a_candidate(self, name: str) -> None:
        scores = policy(name).score(page())
        assert (scores.shape, scores.dtype) == ((ROWS, N), np.float32)
        assert np.isfinite(scores).all()
        # It has an opinion: most pages are not all ties.
        assert (scores.std(axis=1) > 0).mean() > 0.5

    def test_masked_candidates_are_never_shown(self, name: str) -> None:
        shown = page()
        assert (shown.observation["mask"] == 0).any()
        slates = policy(name).slates(shown)
        assert slates.shape == (ROWS, K)
        assert np.take_along_axis(shown.observation["mask"], slates, axis=1).all()
        assert all(len(set(slate)) == K for slate in slates.tolist())

    def test_the_same_page_gets_the_same_slates(self, name: str) -> None:
        np.testing.assert_array_equal(policy(name).slates(page()), policy(name).slates(page()))

    def test_a_page_is_ordered_whatever_stands_beside_it(self, name: str) -> None:
        shown, rows = page(), np.random.default_rng(0).permutation(ROWS)[:7]
        whole = policy(name).score(shown)[rows]
        np.testing.assert_allclose(
            policy(name).score(at_rows(shown, rows)), whole, rtol=1e-5, atol=1e-6
        )

    def test_hidden_state_changes_nothing(self, name: str) -> None:
        shown = page()
        before = policy(name).score(shown)
        shown.state.taste[:] = shown.state.taste[::-1] + 1
        shown.state.trust[:] = 1 - shown.state.trust
        np.testing.assert_array_equal(policy(name).score(shown), before)

    @pytest.mark.parametrize(
        "rule", [PlackettLuce(0.5), TopK(), EpsilonMixed(0.2)], ids=lambda rule: rule.name
    )
    def test_it_logs_with_propensities_that_sum_to_one(
        self, name: str, rule: LoggingPolicy
    ) -> None:
        shown = at_rows(page(), np.arange(3))
        scores, mask = policy(name).score(shown), shown.observation["mask"]
        total, first = np.zeros(3), np.zeros((3, N))
        for slate in EVERY_SLATE:
            found = rule.propensities(scores, mask, np.tile(slate, (3, 1)))
            total += found["pscore"][:, 0]
            first[:, slate[0]] += found["pscore"][:, 0]
        np.testing.assert_allclose(total, 1, atol=1e-6)
        drawn = rule.sample(scores, mask, K, fold(shown.state.key, 9))
        found = rule.propensities(scores, mask, drawn)
        assert (found["pscore"] > 0).all()
        np.testing.assert_allclose(
            found["pscore_item_position"][:, 0], first[np.arange(3), drawn[:, 0]], rtol=1e-5
        )


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in ("random", "mmr")])
def test_candidates_are_scored_wherever_they_stand(name: str) -> None:
    """Of policies that read the observation alone; MMR's own test permutes its likeness too."""
    shown, order = page(), np.random.default_rng(1).permutation(N)
    whole = policy(name).score(shown)[:, order]
    shown.observation["items"] = shown.observation["items"][:, order]
    shown.observation["mask"] = shown.observation["mask"][:, order]
    np.testing.assert_allclose(policy(name).score(shown), whole, rtol=1e-5, atol=1e-6)
