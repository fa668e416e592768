"""Oracles: what they say is the best page is, and looking ahead looks at what it may."""

from __future__ import annotations

from dataclasses import fields
from itertools import permutations
from typing import get_args

import numpy as np
import pytest

from envs import sessions
from envs.behaviour import ShopConfig
from envs.clicks import ClickModelName, make_click_model
from envs.clicks.parameters import ClickParameters
from envs.counter_rng import new_keys
from policies.baselines import Page, oracle_policy, page_worth
from policies.best_page import best_page, climb, neighbours, slate_scores, slate_values
from policies.oracles import Rollouts, myopic_policy, rollout_policy, take
from tests.shop_at_hand import bare_world

N, K = 6, 3
ORDERED = np.array(list(permutations(range(N), K)))  # (120, 3)
MODELS = get_args(ClickModelName)
FEW = Rollouts(futures=4, horizon=2, reach=2, stays=(0.0, 1.6))


def page(rows: int = 12, seed: int = 0, **config: object) -> Page:
    world = bare_world().with_config(ShopConfig.model_validate(config))
    state = sessions.start(world, new_keys(np.random.default_rng(seed), rows))
    # Half of the shoppers have bought a candidate, which may not be shown again.
    state.bought[::2, 0] = sessions.candidates(world, state)[1][::2, 1]
    model = make_click_model(world.config.click_model, world.config.slots, world.config.clicks)
    return Page(sessions.observe(world, state), world, state, model)


def test_neighbours_are_all_slates_one_move_away() -> None:
    for slate in ORDERED[::7]:
        near = {tuple(map(int, one)) for one in neighbours(slate[None], N)[0]}
        for other in map(tuple, ORDERED.tolist()):
            differs = [x != y for x, y in zip(other, slate)]
            replaced = sum(differs) == 1
            exchanged = sum(differs) == 2 and set(other) == set(slate.tolist())
            assert (other in near) == (replaced or exchanged or not any(differs))
        assert all(len(set(one)) == K for one in near)


def test_scores_of_a_slate_have_it_on_top() -> None:
    scores = slate_scores(ORDERED, N)
    np.testing.assert_array_equal(np.argsort(-scores, axis=1, kind="stable")[:, :K], ORDERED)


@pytest.mark.parametrize("name", MODELS)
def test_the_best_page_is_no_worse_than_any_one_move_away(name: ClickModelName) -> None:
    rng = np.random.default_rng(3)
    rows = 60
    attraction = rng.uniform(0.02, 0.9, (rows, N)).astype(np.float32)
    worth = rng.uniform(0.1, 3, (rows, N)).astype(np.float32)
    mask = np.ones((rows, N), dtype=np.float32)
    mask[::2, 4] = 0
    model = make_click_model(name, K, ClickParameters())
    scores = best_page(model, attraction, worth, K, mask)
    slates = np.argsort(-np.where(mask > 0, scores, -np.inf), axis=1, kind="stable")[:, :K]
    assert (np.take_along_axis(mask, slates, axis=1) == 1).all()
    reached = slate_values(model, attraction, worth, slates[:, None])
    near = neighbours(slates, N)
    legal = np.take_along_axis(mask, near.reshape(rows, -1), axis=1).reshape(near.shape).all(axis=2)
    values = np.where(legal, slate_values(model, attraction, worth, near), 0)
    assert (values <= reached + 1e-6).all()
    # The whole truth, which local search need not reach, is near: within the worst of its starts.
    every = slate_values(model, attraction, worth, np.broadcast_to(ORDERED, (rows, *ORDERED.shape)))
    legal = mask[:, ORDERED].all(axis=2)
    best = np.where(legal, every, 0).max(axis=1)
    assert (reached[:, 0] <= best + 1e-6).all()
    if name in ("position", "cascade"):
        np.testing.assert_allclose(reached[:, 0], best, rtol=1e-5)


def test_the_best_item_stands_where_most_is_seen() -> None:
    a = np.array([[0.1, 0.9, 0.5, 0.2, 0.3, 0.4]], dtype=np.float32)
    model = make_click_model("position", K, ClickParameters(theta=(0.2, 1.0, 0.6)))
    scores = best_page(model, a, np.ones_like(a), K, np.ones_like(a))
    assert np.argsort(-scores[0], kind="stable")[:K].tolist() == [5, 1, 2]


def test_climbing_never_descends_and_leaves_the_best_alone() -> None:
    rng = np.random.default_rng(4)
    a, w = (rng.uniform(0.1, 1, (120, N)).astype(np.float32) for _ in range(2))
    model = make_click_model("cascade", K, ClickParameters())
    every = np.ones_like(a)
    ends = climb(model, a, w, ORDERED, every)
    before, after = (slate_values(model, a, w, s[:, None]) for s in (ORDERED, ends))
    assert (after >= before - 1e-12).all()
    assert (after > before).any()
    np.testing.assert_array_equal(climb(model, a, w, ends, every), ends)


def test_myopic_is_the_oracle_of_the_page_alone() -> None:
    shown = page()
    assert myopic_policy().name == "myopic"
    np.testing.assert_array_equal(myopic_policy().slates(shown), oracle_policy(0).slates(shown))


def test_without_a_future_rollouts_choose_by_the_page() -> None:
    """Looking no page ahead and with leaving free, nothing beats the myopic slate."""
    shown = page(w_leave=0.0)
    here = Rollouts(futures=3, horizon=0, reach=3, stays=(0.0, 6.4))
    mine, myopic = rollout_policy(6.4, here).slates(shown), myopic_policy().slates(shown)
    charm, worth = page_worth(shown)

    def value(slates: np.ndarray) -> np.ndarray:
        return slate_values(shown.click_model, charm.attraction, worth, slates[:, None])

    np.testing.assert_allclose(value(mine), value(myopic), rtol=1e-9)
    # The test has something to find: the base policy alone chooses otherwise.
    assert (value(oracle_policy(6.4).slates(shown)) < value(myopic)).any()


@pytest.mark.parametrize("name", ["position", "cascade"])
def test_rollouts_depend_on_the_session_alone_and_change_nothing(name: str) -> None:
    shown = page(click_model=name, candidates=8, slots=3)
    before = shown.state.copy()
    whole = rollout_policy(0.4, FEW).slates(shown)
    for field in fields(before):
        np.testing.assert_array_equal(getattr(shown.state, field.name), getattr(before, field.name))
    rows = np.array([7, 2, 11])
    part = Page(
        {key: value[rows] for key, value in shown.observation.items()},
        shown.world, take(shown.state, rows), shown.click_model,
    )  # fmt: skip
    np.testing.assert_array_equal(rollout_policy(0.4, FEW).slates(part), whole[rows])
    assert (np.take_along_axis(shown.observation["mask"], whole, axis=1) == 1).all()
    assert all(len(set(slate)) == 3 for slate in whole.tolist())


def test_rollouts_imagine_futures_and_do_not_peek() -> None:
    """Luck of the page itself, which only the session's own key tells, does not move the choice.

    With one future for every key, choices would follow the key; over many keys of one state the
    same slate must win wherever its lead is sure, so few different slates are chosen.
    """
    shown = page(rows=1)
    rows = np.zeros(40, dtype=np.int64)
    state = take(shown.state, rows)
    state.key = new_keys(np.random.default_rng(8), 40)
    many = Page(
        {key: value[rows] for key, value in shown.observation.items()},
        shown.world, state, shown.click_model,
    )  # fmt: skip
    slates = rollout_policy(0.0, Rollouts(futures=16, horizon=2, reach=1, errors=6.0)).slates(many)
    base = oracle_policy(0.0).slates(many)
    assert (slates == base).all(axis=1).mean() > 0.9
