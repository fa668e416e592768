"""Bandits: the regression against closed forms, exploration against its law, learning in a shop."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from envs.world import World
from experiments.simulate import TRAINING_SEEDS, interval, play
from policies.bandits import (
    Explore,
    LinearPosterior,
    TrainedBandit,
    examination_by_slot,
    linucb,
    thompson,
    train_bandit,
)
from policies.baselines import similarity_policy
from tests.shop_at_hand import bare_world


def learned(rows: int = 300, size: int = 4, seed: int = 0) -> LinearPosterior:
    rng = np.random.default_rng(seed)
    posterior = LinearPosterior(size)
    design = rng.normal(size=(rows, size))
    posterior.add(design, design @ np.arange(size) + rng.normal(size=rows))
    return posterior


# --- the regression ----------------------------------------------------------------------------


def test_blocks_come_to_one_ridge_regression() -> None:
    rng = np.random.default_rng(0)
    design, rewards = rng.normal(size=(60, 5)), rng.normal(size=60)
    posterior = LinearPosterior(5)
    for block in np.split(np.arange(60), [7, 8, 40]):
        posterior.add(design[block], rewards[block])
    # Ridge is least squares with one more row of each unit vector, whose target is 0.
    padded = np.vstack([design, np.eye(5)])
    wanted, *_ = np.linalg.lstsq(padded, np.concatenate([rewards, np.zeros(5)]))
    np.testing.assert_allclose(posterior.mean, wanted, atol=1e-10)
    np.testing.assert_allclose(posterior.covariance, np.linalg.inv(padded.T @ padded), atol=1e-10)
    left = np.sum((rewards - design @ wanted) ** 2) + wanted @ wanted
    assert posterior.sigma == pytest.approx(np.sqrt(left / 60))


def test_before_any_row_nothing_is_believed() -> None:
    posterior = LinearPosterior(3)
    assert (posterior.mean == 0).all()
    assert posterior.sigma == 0


def test_sigma_is_the_noise() -> None:
    # 300 rows tell a standard deviation of 1 to 1 / sqrt(600).
    assert learned().sigma == pytest.approx(1, abs=3 / np.sqrt(600) + 4 / 300)


# --- exploration -------------------------------------------------------------------------------


def test_linucb_adds_standard_errors() -> None:
    posterior, rng = learned(), np.random.default_rng(1)
    features = rng.normal(size=(6, 3, 4)).astype(np.float32)
    for alpha in (0.0, 1.5):
        found = linucb(posterior, features, alpha, rng)
        for b in range(6):
            for n in range(3):
                x = features[b, n].astype(float)
                error = posterior.sigma * np.sqrt(x @ posterior.covariance @ x)
                assert found[b, n] == pytest.approx(x @ posterior.mean + alpha * error, abs=1e-5)


def test_thompson_draws_from_the_posterior() -> None:
    posterior, rng, draws = learned(rows=6), np.random.default_rng(2), 20_000
    one = rng.normal(size=(2, 4)).astype(np.float32)
    scores = thompson(posterior, np.tile(one, (draws, 1, 1)), 0.7, rng)
    wide = one.astype(float)
    covariance = (0.7 * posterior.sigma) ** 2 * wide @ posterior.covariance @ wide.T
    error = np.sqrt(np.diag(covariance) / draws)
    assert (np.abs(scores.mean(axis=0) - wide @ posterior.mean) < 4 * error).all()
    # A variance is known to sqrt(2 / n) of itself, a covariance to less than that of both.
    size = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert (np.abs(np.cov(scores.T) - covariance) < 4 * np.sqrt(2 / draws) * size).all()


def test_examination_is_told_by_random_slates() -> None:
    rng, true, pages = np.random.default_rng(3), np.array([1.0, 0.5, 0.2]), 40_000
    # Random slates: attraction varies from page to page, but not with the slot.
    attraction = rng.beta(1, 9, size=(pages, 3))
    found = examination_by_slot(rng.random((pages, 3)) < true * attraction)
    # Relative error of a ratio of counts (delta method).
    error = true * np.sqrt(1 / (0.1 * true * pages) + 1 / (0.1 * pages))
    assert (np.abs(found - true) < 4 * error).all()
    assert found[0] == 1


def test_examination_needs_no_click() -> None:
    np.testing.assert_array_equal(examination_by_slot(np.zeros((5, 3), dtype=bool)), 1)


# --- learning in a shop ------------------------------------------------------------------------


def trained(
    explore: Explore, sessions: int, seed: int = 0, world: World | None = None
) -> TrainedBandit:
    return train_bandit(
        world or bare_world(), "one", explore, sessions=sessions, seed=TRAINING_SEEDS,
        rng=np.random.default_rng(seed),
    )  # fmt: skip


@pytest.mark.parametrize("explore", [linucb, thompson])
def test_a_seed_makes_the_same_bandit(explore: Explore) -> None:
    one, two, other = (trained(explore, 200, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.scores.weights, two.scores.weights)
    np.testing.assert_array_equal(one.returns, two.returns)
    assert (one.scores.weights != other.scores.weights).any()


@pytest.mark.parametrize("explore", [linucb, thompson])
def test_it_learns_more_than_similarity_knows(explore: Explore) -> None:
    world, count = bare_world(), 4_000
    found = trained(explore, 6_000)
    won = play(world, found.scores.policy(), count, 0).reward
    floor = play(world, similarity_policy(), count, 0).reward
    assert interval(won - floor)["low"] > 0


def test_examination_of_the_shop_is_found() -> None:
    world = bare_world()
    truth = (1.0 + np.arange(world.config.slots)) ** -world.config.clicks.decay
    found = trained(linucb, 12_000).examination
    # 1,200 sessions at random; the counts behind each ratio are hundreds of clicks at most.
    assert stats.pearsonr(found, truth).statistic > 0.8
    assert found[0] == 1 > found[1:].max()


def test_what_learning_earned_is_told_by_batch() -> None:
    told: list[tuple[int, int]] = []
    found = train_bandit(
        bare_world(), "one", linucb, sessions=1_100, seed=3, rng=np.random.default_rng(0),
        progress=lambda done, total, figures: told.append((done, total)),
    )  # fmt: skip
    # A tenth at random, then batches of 500.
    assert told == [(110, 1_100), (610, 1_100), (1_100, 1_100)]
    assert found.returns.shape == (3,)
    assert np.isfinite(found.returns).all()


def test_scores_of_a_page_have_unit_spread() -> None:
    """So that a temperature means the same for a bandit as for a similarity."""
    from tests.policies.test_linear_scores import some_page

    spread = trained(linucb, 1_000).scores.policy().score(some_page()).std(axis=1).mean()
    # The spread is measured on random slates of k, here on all candidates of other pages.
    assert 0.5 < spread < 2
