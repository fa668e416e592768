"""Baseline policies: what each reads, and that the oracle is one."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from envs import sessions
from envs.behaviour import ShopConfig
from envs.clicks import ClickModelName, make_click_model
from envs.counter_rng import new_keys
from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES
from envs.similarity import SCORES
from envs.world import World
from policies.baselines import (
    Page,
    SlatePolicy,
    mix_policy,
    oracle_policy,
    popularity_policy,
    random_policy,
    ranker_policy,
    scorer_logits,
    similarity_policy,
)
from policies.best_page import cascade_order
from policies.ranker.config import ScorerConfig
from policies.ranker.scorer import SlateScorer
from tests.shop_at_hand import bare_world

N, K = 6, 3
ORDERED = np.array(list(permutations(range(N), K)))  # (120, 3)


def page(config: ShopConfig, rows: int = 32, seed: int = 0) -> Page:
    world = bare_world().with_config(config)
    state = sessions.start(world, new_keys(np.random.default_rng(seed), rows))
    return _page(world, state)


def _page(world: World, state: sessions.SessionState) -> Page:
    config = world.config
    model = make_click_model(config.click_model, config.slots, config.clicks)
    return Page(sessions.observe(world, state), world, state, model)


def _cascade_value(a: np.ndarray, w: np.ndarray, slates: np.ndarray) -> np.ndarray:
    """Expected worth of the first click, (B, slates)."""
    a, w = a[:, slates], w[:, slates]
    reached = np.concatenate([np.ones_like(a[..., :1]), (1 - a).cumprod(-1)[..., :-1]], axis=-1)
    return (reached * a * w).sum(axis=-1)


@pytest.mark.parametrize("kind", ["plain", "near ties", "sure clicks", "worthless"])
def test_cascade_order_equals_all_ordered_slates(kind: str) -> None:
    rng = np.random.default_rng(1)
    rows = 400
    a, w = rng.random((rows, N)), rng.random((rows, N)) * 3
    if kind == "near ties":
        w = rng.integers(1, 3, size=(rows, N)).astype(float)
        a = rng.integers(1, 3, size=(rows, N)) / 4
    elif kind == "sure clicks":
        a = np.where(rng.random((rows, N)) < 0.4, 1.0, a)
    elif kind == "worthless":
        a = np.where(rng.random((rows, N)) < 0.6, 0.0, a)
        w = np.where(rng.random((rows, N)) < 0.3, 0.0, w)
    every = np.ones((rows, N), dtype=np.float32)
    scores = cascade_order(a.astype(np.float32), w.astype(np.float32), K, every)
    assert (np.isfinite(scores).sum(axis=1) == K).all()
    chosen = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    best = _cascade_value(a, w, ORDERED).max(axis=1)
    reached = np.array(
        [_cascade_value(a[b : b + 1], w[b : b + 1], chosen[b : b + 1])[0, 0] for b in range(rows)]
    )
    np.testing.assert_allclose(reached, best, rtol=1e-5, atol=1e-7)


def test_cascade_order_takes_all_where_there_are_no_more() -> None:
    a, w = np.full((1, 3), 0.5, np.float32), np.array([[1, 3, 2]], np.float32)
    assert np.argsort(-cascade_order(a, w, 3, np.ones_like(a)))[0].tolist() == [1, 2, 0]


def test_cascade_order_leaves_slots_open_where_too_little_is_allowed() -> None:
    a, w = np.full((1, 4), 0.5, np.float32), np.array([[4, 3, 2, 1]], np.float32)
    scores = cascade_order(a, w, 3, np.array([[0, 1, 0, 1]], np.float32))
    assert np.isfinite(scores).tolist() == [[False, True, False, True]]


def test_cascade_order_never_takes_what_is_masked() -> None:
    """The rest is ordered as if the masked were not there, even where they would be the best."""
    rng = np.random.default_rng(4)
    rows = 300
    a = (rng.integers(0, 5, size=(rows, N)) / 4).astype(np.float32)  # zeros, ones and ties too
    w = rng.integers(0, 3, size=(rows, N)).astype(np.float32)
    mask = np.ones((rows, N), dtype=np.float32)
    mask[np.arange(rows), w.argmax(axis=1)] = 0
    mask[:, 2] = 0
    scores = cascade_order(a, w, K, mask)
    assert np.isneginf(scores[mask == 0]).all()
    assert (np.isfinite(scores).sum(axis=1) == K).all()
    for row in range(rows):
        open_ = np.flatnonzero(mask[row])
        slates = np.array(list(permutations(open_, K)))
        one = slice(row, row + 1)
        best = _cascade_value(a[one], w[one], slates).max()
        slate = np.argsort(-scores[row], kind="stable")[None, :K]
        assert _cascade_value(a[one], w[one], slate)[0, 0] == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("name", ["position", "cascade"])
@pytest.mark.parametrize("stay", [0.0, 0.7])
def test_oracle_is_the_best_of_all_slates(name: ClickModelName, stay: float) -> None:
    world = bare_world().with_config(ShopConfig(click_model=name, candidates=N, slots=K))
    state = sessions.start(world, new_keys(np.random.default_rng(0), 32))
    # Half of the shoppers have bought two of the candidates, which may not be shown again.
    state.bought[::2, :2] = sessions.candidates(world, state)[1][::2, 1:3]
    shown = _page(world, state)
    columns, items = sessions.candidates(world, state)
    charm = sessions.appeal(world, state, columns, items)
    config = world.config
    worth = config.w_click + config.w_buy * world.margin[items] * charm.purchase + stay
    attraction = charm.attraction[:, ORDERED].reshape(-1, K)
    clicks = shown.click_model.marginal_click_probability(attraction).reshape(len(items), -1, K)
    values = (clicks * worth[:, ORDERED]).sum(axis=-1)  # (B, 120)
    legal = shown.observation["mask"][:, ORDERED].all(axis=-1)
    assert not legal.all()
    values = np.where(legal, values, -1)
    slates = oracle_policy(stay).slates(shown)
    place = (slates[:, None] == ORDERED).all(axis=-1).argmax(axis=1)
    reached = values[np.arange(len(items)), place]
    np.testing.assert_allclose(reached, values.max(axis=1), rtol=1e-6)
    assert (reached > 0).all()


def test_random_luck_depends_on_the_session_alone() -> None:
    config = ShopConfig()
    world = bare_world().with_config(config)
    keys = new_keys(np.random.default_rng(5), 9)
    whole = random_policy().score(_page(world, sessions.start(world, keys)))
    for rows in (slice(4, 5), slice(2, 9), slice(None, None, -1)):
        part = random_policy().score(_page(world, sessions.start(world, keys[rows])))
        np.testing.assert_array_equal(part, whole[rows])
    assert len(np.unique(whole[:, 0])) == len(keys)


def test_random_is_uniform_and_new_on_each_page() -> None:
    rows = 4000
    first = page(ShopConfig(candidates=N, slots=K), rows)
    counts = np.bincount(random_policy().slates(first)[:, 0], minlength=N)
    band = 3 * np.sqrt(rows * (1 / N) * (1 - 1 / N))
    assert (np.abs(counts - rows / N) < band).all()
    second = first.state.copy()
    second.page += 1
    again = random_policy().slates(_page(first.world, second))
    same = (again[:, 0] == random_policy().slates(first)[:, 0]).mean()
    assert abs(same - 1 / N) < 3 * np.sqrt((1 / N) * (1 - 1 / N) / rows)


def _feature(shown: Page, name: str) -> np.ndarray:
    return shown.observation["items"][..., ITEM_FEATURES.index(name)]


def test_popularity_and_mixes_read_their_features() -> None:
    shown = page(ShopConfig())
    np.testing.assert_array_equal(popularity_policy().score(shown), _feature(shown, "popularity"))
    for place, name in enumerate(SCORES):
        one = np.eye(len(SCORES), dtype=np.float32)[place]
        np.testing.assert_allclose(mix_policy("m", one).score(shown), _feature(shown, name))
    mean = np.mean([_feature(shown, name) for name in SCORES], axis=0)
    np.testing.assert_allclose(similarity_policy().score(shown), mean, rtol=1e-5)
    assert similarity_policy().name == "similarity"


def test_slates_are_the_k_best_and_never_masked() -> None:
    shown = page(ShopConfig())
    scores = np.random.default_rng(0).normal(size=shown.observation["mask"].shape)
    shown.observation["mask"][:, ::2] = 0
    slates = SlatePolicy("fixed", lambda page: scores.astype(np.float32)).slates(shown)
    assert (slates % 2 == 1).all()
    for row, slate in zip(scores, slates, strict=True):
        assert slate.tolist() == [i for i in np.argsort(-row) if i % 2][: shown.world.config.slots]


def test_a_trained_ranker_orders_by_its_logits() -> None:
    shown = page(ShopConfig())
    config = ScorerConfig(baseline_features=SCORES)
    generator = torch.Generator().manual_seed(0)
    scorer = SlateScorer(config, ITEM_FEATURES, CONTEXT_FEATURES, generator)
    policy = ranker_policy(scorer, "mine")
    logits = scorer_logits(scorer, shown.observation)
    assert policy.name == "mine"
    assert logits.shape == shown.observation["mask"].shape
    np.testing.assert_array_equal(
        policy.slates(shown), np.argsort(-logits, axis=1, kind="stable")[:, :5]
    )
