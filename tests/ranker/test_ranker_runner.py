"""The env runners and the train batch: the same episodes, and no step that did not happen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.utils.postprocessing.value_predictions import compute_value_targets

from envs.errors import UserError
from policies.ranker.config import RankerConfig
from policies.ranker.learning import SlateBatch, generalised_advantages
from policies.ranker.rllib import rllib_config
from policies.ranker.runner import FastRunner, VectorRunner
from policies.ranker.shelf import read_shelf
from policies.ranker.train import isolated_randomness
from tests.ranker.ranker_toy import ToyShop

CONFIG = RankerConfig(num_envs=6, batch=48)
STEPS = 48


def make_small(num_envs: int, seed: int) -> VectorEnv:
    return ToyShop(num_envs, seed, candidates=7, slots=3, features=6)


def sample(fast: bool, fragments: int) -> tuple[list[list[Any]], list[dict[str, Any]]]:
    """Return the episode chunks of some fragments, and the runner's metrics after each."""
    shelf = read_shelf(make_small(2, 0))
    config = CONFIG.model_copy(update={"fast_runner": fast})
    runner = (FastRunner if fast else VectorRunner)(
        config=rllib_config(make_small, shelf, config, seed=5)
    )
    torch.manual_seed(11)
    chunks, metrics = [], []
    for _ in range(fragments):
        chunks.append(runner.sample(num_timesteps=STEPS))
        metrics.append(runner.get_metrics())
    runner.stop()
    return chunks, metrics


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    with isolated_randomness(0):
        yield


def by_content(chunks: list[Any]) -> list[tuple[Any, ...]]:
    """Return chunks without their random ids, in an order that does not depend on them."""
    rows = [
        (
            chunk.t_started,
            bool(chunk.is_terminated),
            bool(chunk.is_truncated),
            np.round(chunk.get_rewards(), 5).astype(np.float32).tolist(),
            chunk.get_actions().tolist(),
            chunk.get_extra_model_outputs("action_logp").tolist(),
            chunk.get_observations()["items"].tolist(),
        )
        for chunk in chunks
    ]
    return sorted(rows, key=str)


def test_both_runners_return_the_same_episodes() -> None:
    stock, _ = sample(fast=False, fragments=3)
    fast, _ = sample(fast=True, fragments=3)
    for wanted, found in zip(stock, fast):
        assert by_content(found) == by_content(wanted)


def test_resets_are_not_steps_and_chunks_of_a_session_fit_together() -> None:
    fragments, metrics = sample(fast=True, fragments=6)
    ongoing: dict[str, Any] = {}
    returns: dict[str, float] = {}
    ended = 0
    for chunks, logged in zip(fragments, metrics):
        steps = sum(len(chunk) for chunk in chunks)
        assert STEPS <= steps < STEPS + CONFIG.num_envs
        assert logged["num_env_steps_sampled"].peek() == steps
        finished = []
        for chunk in chunks:
            before = ongoing.pop(chunk.id_, None)
            assert chunk.t_started == (before.t if before else 0)
            if before:
                np.testing.assert_array_equal(
                    chunk.get_observations(0)["items"], before.get_observations(-1)["items"]
                )
            returns[chunk.id_] = returns.get(chunk.id_, 0.0) + chunk.get_return()
            if chunk.is_done:
                finished.append(returns[chunk.id_])
            else:
                ongoing[chunk.id_] = chunk
        if finished:
            assert logged["episode_return_mean"].peek() == pytest.approx(np.mean(finished))
        ended += len(finished)
    assert ended > 10
    assert len(ongoing) <= CONFIG.num_envs


def test_another_autoreset_mode_is_refused() -> None:
    def make_wrong(num_envs: int, seed: int) -> VectorEnv:
        return ToyShop(num_envs, seed, mode=AutoresetMode.SAME_STEP)

    with pytest.raises(UserError, match=r"NEXT_STEP.*SAME_STEP"):
        read_shelf(make_wrong(2, 0))
    shelf = read_shelf(ToyShop(2, 0))
    with pytest.raises(UserError, match=r"NEXT_STEP.*SAME_STEP"):
        FastRunner(config=rllib_config(make_wrong, shelf, CONFIG, seed=0))


def test_advantages_worked_by_hand() -> None:
    # One session that ends (two steps), then one that was cut (one step): gamma .5, lambda .5.
    rewards = np.array([1.0, 2.0, 4.0])
    values = np.array([8.0, 4.0, 2.0])
    next_values = np.array([4.0, 0.0, 6.0])
    last = np.array([False, True, True])
    found = generalised_advantages(rewards, values, next_values, last, gamma=0.5, lam=0.5)
    # delta = (1 + 2 - 8, 2 + 0 - 4, 4 + 3 - 2) = (-5, -2, 5); A_0 = -5 + .25 * -2
    np.testing.assert_allclose(found, [-5.5, -2.0, 5.0])


def test_lambda_one_is_the_monte_carlo_return_minus_the_value() -> None:
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=9), rng.normal(size=9)
    last = np.arange(9) == 8
    next_values = np.append(values[1:], 0.0)
    found = generalised_advantages(rewards, values, next_values, last, gamma=0.9, lam=1.0)
    returns = [sum(0.9 ** (t - s) * rewards[t] for t in range(s, 9)) for s in range(9)]
    np.testing.assert_allclose(found, returns - values, rtol=1e-5)


class CriticAlone:
    """A value that is the sum of the context: known, and different for every observation."""

    def unwrapped(self) -> CriticAlone:
        return self

    def compute_values(self, batch: Any) -> torch.Tensor:
        return batch["obs"]["context"].sum(1)


def test_the_batch_holds_every_step_once_with_rllibs_own_advantages() -> None:
    (chunks,), _ = sample(fast=True, fragments=1)
    connector = SlateBatch(gamma=0.9, lam=0.7)
    batch = connector(rl_module={DEFAULT_MODULE_ID: CriticAlone()}, batch={}, episodes=chunks)
    columns = batch[DEFAULT_MODULE_ID]
    at, advantages = 0, []
    for chunk in chunks:
        stop = at + len(chunk)
        seen = chunk.get_observations()["context"]
        np.testing.assert_array_equal(columns["obs"]["context"][at:stop], seen[:-1])
        np.testing.assert_array_equal(columns["actions"][at:stop], chunk.get_actions())
        at = stop
        # RLlib's form: one more step, marked by the flags of the step before it.
        flags = np.zeros(len(seen))
        flags[-2] = 1.0
        targets = compute_value_targets(
            values=seen.sum(1),
            rewards=np.append(chunk.get_rewards(), 0.0),
            terminateds=flags * chunk.is_terminated,
            truncateds=flags * (not chunk.is_terminated),
            gamma=0.9,
            lambda_=0.7,
        )[:-1]
        np.testing.assert_allclose(
            columns["value_targets"][stop - len(chunk) : stop], targets, rtol=1e-4, atol=1e-5
        )
        advantages.append(targets - seen[:-1].sum(1))
    assert at == len(columns["actions"])
    flat = np.concatenate(advantages)
    np.testing.assert_allclose(
        columns["advantages"], (flat - flat.mean()) / flat.std(), rtol=1e-3, atol=1e-4
    )
