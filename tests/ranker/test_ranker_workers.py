"""Training with worker processes, on one Ray that these tests share: its start costs most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from ray.rllib.core import COMPONENT_RL_MODULE
from safetensors.torch import load_file

from envs.errors import UserError
from policies.ranker.algorithm import Distributed, make_trainer, start_ray
from policies.ranker.appo import SlateSequences
from policies.ranker.config import RankerConfig, ScorerConfig
from policies.ranker.shelf import read_shelf
from policies.ranker.train import isolated_randomness, train_ranker
from tests.ranker.ranker_toy import ToyShop, make_shop

CONFIG = RankerConfig(
    scorer=ScorerConfig(hidden=16),
    iterations=2,
    num_envs=32,
    num_env_runners=2,
    batch=512,
    minibatch=128,
    eval_every=1,
    eval_sessions=64,
    checkpoint_every=1,
)


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    start_ray(5)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("_ray")
def test_a_checkpoint_of_two_workers_resumes_with_synced_weights(tmp_path: Path) -> None:
    first = train_ranker(make_shop, CONFIG, tmp_path, seed=1)
    assert [row["iteration"] for row in first.curve] == [0, 1, 2]
    kept = load_file(tmp_path / "checkpoint" / "weights.safetensors")
    with isolated_randomness(0):
        trainer = make_trainer(make_shop, read_shelf(make_shop(2, 0)), CONFIG, seed=5)
        with closing(trainer):
            assert isinstance(trainer, Distributed)
            trainer.set_state({"weights": kept})
            states = trainer.algorithm.env_runner_group.foreach_env_runner(
                lambda runner: runner.get_state([COMPONENT_RL_MODULE])[COMPONENT_RL_MODULE],
                local_env_runner=False,
            )
    assert len(states) == 2
    for state in states:
        for name, tensor in kept.items():
            np.testing.assert_array_equal(state[f"scorer.{name}"], tensor.numpy())
    # And the whole way: the policy that collected is the one that the update started from, so
    # one update moves it little; with forgotten weights the first one would move it far.
    resumed = train_ranker(make_shop, CONFIG.model_copy(update={"iterations": 3}), tmp_path, seed=1)
    assert resumed.curve[:3] == first.curve
    for row in resumed.curve[1:]:
        assert row["kl"] is not None
        assert 0 < row["kl"] < 0.5
    assert resumed.best_return >= first.best_return


# Ray's data context, on its way to a learner, asks for settings of its own that it deprecates.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
@pytest.mark.usefixtures("_ray")
def test_two_learners_agree_and_a_checkpoint_of_them_resumes(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"num_learners": 2, "batch": 1024})
    first = train_ranker(make_shop, config, tmp_path, seed=1)
    kept = load_file(tmp_path / "checkpoint" / "weights.safetensors")
    start = first.curve[0]["return_topk"]
    assert start is not None
    assert first.best_return > 2 * start
    with isolated_randomness(0):
        trainer = make_trainer(make_shop, read_shelf(make_shop(2, 0)), config, seed=5)
        with closing(trainer):
            assert isinstance(trainer, Distributed)
            trainer.set_state({"weights": kept})
            trainer.step()
            # Each learned from its own half of the batch; averaged gradients keep them alike.
            states = trainer.algorithm.learner_group.foreach_learner(
                lambda learner: learner.get_state([COMPONENT_RL_MODULE])[COMPONENT_RL_MODULE]
            )
    one, other = (result.get()["default_policy"] for result in states)
    for name in kept:
        np.testing.assert_array_equal(one[f"scorer.{name}"], other[f"scorer.{name}"])
    assert not np.array_equal(one["scorer.score_out.weight"], kept["score_out.weight"].numpy())


@pytest.mark.usefixtures("_ray")
def test_asynchronous_ppo_learns(tmp_path: Path) -> None:
    longer = {"algorithm": "appo", "num_env_runners": 1, "iterations": 6, "batch": 1024}
    found = train_ranker(make_shop, CONFIG.model_copy(update=longer), tmp_path, seed=1)
    start, last = found.curve[0], found.curve[-1]
    assert start["return_topk"] is not None
    assert found.best_return > 3 * start["return_topk"]
    assert last["env_steps"] is not None
    assert last["env_steps"] >= 6 * 1024
    assert last["entropy"] is not None
    assert 0 < last["entropy"] <= np.log(90) + 1e-4
    # Batches of many older policies: there is no one divergence to report.
    assert last["kl"] is None


def test_no_cluster_at_the_address_is_the_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: object) -> None:
        raise ConnectionError(f"Could not find any running Ray instance at {options['address']}")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(UserError, match=r"Ray at 'here:1' cannot be joined.*ray start --head"):
        start_ray(1, "here:1")


def test_a_busy_machine_gets_ray_more_than_one_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def slow(**options: object) -> None:
        tried.append(1)
        if len(tried) < 3:
            raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", slow)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    start_ray(1)
    assert len(tried) == 3
    tried.clear()
    monkeypatch.setattr("policies.ranker.algorithm._STARTS", 2)
    with pytest.raises(UserError, match=r"did not start in 2 tries.*num_env_runners: 0"):
        start_ray(1)


class Known:
    """A module of which the connector asks the action space only."""

    action_space = ToyShop(1, 0, candidates=5, slots=2, features=6).single_action_space

    def unwrapped(self) -> Known:
        return self


def test_sequences_hold_every_step_and_one_more_row_a_chunk() -> None:
    from ray.rllib.env.single_agent_episode import SingleAgentEpisode

    def chunk(steps: int, first: float, terminated: bool) -> SingleAgentEpisode:
        seen = {
            "context": np.full((steps + 1, 1), first, dtype=np.float32),
            "items": np.zeros((steps + 1, 5, 6), dtype=np.float32),
            # Candidate 0 is not to be shown, in the last row either.
            "mask": np.tile(np.array([0, 1, 1, 1, 0], dtype=np.float32), (steps + 1, 1)),
        }
        return SingleAgentEpisode(
            observations=[{name: a[t] for name, a in seen.items()} for t in range(steps + 1)],
            actions=[np.array([3, 1])] * steps,
            rewards=[first + t for t in range(steps)],
            extra_model_outputs={"action_logp": [-first] * steps},
            terminated=terminated,
            len_lookback_buffer=0,
        ).to_numpy()

    batch = SlateSequences()(
        rl_module={"default_policy": Known()},
        batch={},
        episodes=[chunk(2, 1.0, True), chunk(3, 10.0, False)],
    )["default_policy"]
    assert batch["loss_mask"].tolist() == [True, True, False, True, True, True, False]
    assert batch["rewards"].tolist() == [1, 2, 0, 10, 11, 12, 0]
    assert batch["terminateds"].tolist() == [False, True, False, False, False, False, False]
    assert batch["action_logp"].tolist() == [-1, -1, 0, -10, -10, -10, 0]
    assert batch["obs"]["context"][:, 0].tolist() == [1, 1, 1, 10, 10, 10, 10]
    assert batch["actions"][batch["loss_mask"]].tolist() == [[3, 1]] * 5
    spare = batch["actions"][~batch["loss_mask"]]
    assert torch.equal(spare, torch.tensor([[1, 2]] * 2)), "available, and never twice the same"
