"""RLlib PPO for the ranker, in this process or with worker processes, behind one interface."""

from __future__ import annotations

import logging
import math
import os
from typing import Any, Protocol

import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core import (
    COMPONENT_LEARNER,
    COMPONENT_OPTIMIZER,
    COMPONENT_RL_MODULE,
    DEFAULT_MODULE_ID,
)
from ray.rllib.core.rl_module import RLModuleSpec
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    EPISODE_RETURN_MEAN,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)
from ray.tune.registry import register_env

from policies.ranker.config import RankerConfig
from policies.ranker.learning import RankerLearner, SlateBatch
from policies.ranker.module import RankerModule
from policies.ranker.runner import FastRunner, VectorRunner
from policies.ranker.shelf import MakeEnv, Shelf

#: What RLlib calls the figures that the learning curve keeps, and what we call them.
_FIGURES = {"slate_entropy": "entropy", "slate_kl": "kl", "vf_loss": "vf_loss"}

_ENV_NAME = "shelftalk-ranker"

State = dict[str, Any]

# RLlib 2.60 warns of a class that it uses itself, once a process; nobody here can mend that.
logging.getLogger("ray._common.deprecation").setLevel(logging.ERROR)


class Trainer(Protocol):
    """One iteration at a time, and a state to keep."""

    def step(self) -> dict[str, float]:
        """Collect a batch, learn from it; return ``env_steps`` taken and figures by name."""

    def get_state(self) -> State:
        """Return ``{"weights": scorer tensors by name, "optimizer": ...}``."""

    def set_state(self, state: State) -> None:
        """Take over a state, here and in every runner; a missing part is left as it is."""

    def close(self) -> None:
        """Close the envs and end what was started."""


def rllib_config(make_env: MakeEnv, shelf: Shelf, config: RankerConfig, seed: int) -> PPOConfig:
    """Return the PPO configuration that both trainers share."""
    spec = RLModuleSpec(
        module_class=RankerModule,
        model_config={
            "scorer": config.scorer.model_dump(mode="json"),
            "item_features": list(shelf.item_features),
            "context_features": list(shelf.context_features),
            "entropy_bonus": config.entropy_coeff > 0,
        },
    )
    runners = max(1, config.num_env_runners)
    fragment = math.ceil(config.batch / (config.num_envs * runners))
    return (
        PPOConfig()
        .environment(
            env=_ENV_NAME,
            env_config={"make_env": make_env, "seed": seed},
            observation_space=shelf.observation_space,
            action_space=shelf.action_space,
            normalize_actions=False,
            clip_actions=False,
        )
        .env_runners(
            env_runner_cls=FastRunner if config.fast_runner else VectorRunner,
            num_env_runners=config.num_env_runners,
            num_envs_per_env_runner=config.num_envs,
            rollout_fragment_length=fragment,
        )
        .learners(
            num_learners=0,
            learner_class=RankerLearner,
            add_default_connectors_to_learner_pipeline=False,
            learner_connector=_Connector(config.gamma, config.lam),
        )
        .training(
            lr=config.lr,
            gamma=config.gamma,
            lambda_=config.lam,
            clip_param=config.clip,
            train_batch_size_per_learner=config.batch,
            minibatch_size=min(config.minibatch, config.batch),
            num_epochs=config.epochs,
            entropy_coeff=config.entropy_coeff,
            # Returns have any scale, and a clipped loss has no gradient.
            vf_clip_param=float("inf"),
            use_kl_loss=False,
        )
        .rl_module(rl_module_spec=spec)
        .debugging(seed=seed, log_level="ERROR")
    )


class _Connector:
    """Builds the learner connector; a class, because RLlib copies it to other processes."""

    def __init__(self, gamma: float, lam: float) -> None:
        self.gamma, self.lam = gamma, lam

    def __call__(self, *spaces: Any) -> SlateBatch:
        return SlateBatch(gamma=self.gamma, lam=self.lam)


class InProcess:
    """RLlib's runner and learner called by hand: no Ray cluster, no other process."""

    def __init__(self, config: PPOConfig) -> None:
        """Build the env runner and the learner."""
        self.config = config
        self.runner = config.env_runner_cls(config=config)
        self.learner = config.build_learner(env=self.runner.env.unwrapped)
        self.env_steps = 0
        self._push()

    def step(self) -> dict[str, float]:
        """Collect a batch, learn from it, hand the new weights to the runner."""
        episodes = self.runner.sample(num_timesteps=self.config.train_batch_size_per_learner)
        steps = sum(len(episode) for episode in episodes)
        sampled = self.runner.get_metrics()
        self.env_steps += steps
        learned = self.learner.update(
            episodes=episodes,
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self.env_steps},
            num_epochs=self.config.num_epochs,
            minibatch_size=self.config.minibatch_size,
            shuffle_batch_per_epoch=True,
        )
        self._push()
        return {"env_steps": steps, **_figures(sampled, learned)}

    def get_state(self) -> State:
        """Return the learner's weights and optimiser."""
        return _from_rllib(self.learner.get_state([COMPONENT_RL_MODULE, COMPONENT_OPTIMIZER]))

    def set_state(self, state: State) -> None:
        """Set the learner's state and the runner's weights."""
        self.learner.set_state(_to_rllib(state))
        self._push()

    def close(self) -> None:
        """Close the env."""
        self.runner.stop()

    def _push(self) -> None:
        weights = self.learner.get_state([COMPONENT_RL_MODULE])[COMPONENT_RL_MODULE]
        # Without a sequence number the runner takes them, whatever it has.
        self.runner.set_state({COMPONENT_RL_MODULE: weights})


class Distributed:
    """RLlib's algorithm with env runners in other processes, on a quiet local Ray."""

    def __init__(self, config: PPOConfig, make_env: MakeEnv) -> None:
        """Start Ray if nobody has, and build the algorithm.

        The workers import ``make_env`` by name: it must lie in a module on their path.
        """
        self.started_ray = not ray.is_initialized()
        if self.started_ray:
            _start_ray(config.num_env_runners + 1)
        # RLlib greets the user of its new API at warning level.
        logging.getLogger("ray.rllib").setLevel(logging.ERROR)
        register_env(_ENV_NAME, lambda context: make_env(config.num_envs_per_env_runner, 0))
        try:
            self.algorithm = config.build_algo()
        except BaseException:
            # Nobody holds this object yet, so nobody else can end what it started.
            self._stop_ray()
            raise

    def step(self) -> dict[str, float]:
        """Run one training iteration of the algorithm."""
        result = self.algorithm.train()
        sampled = result[ENV_RUNNER_RESULTS]
        figures = _figures(sampled, result[LEARNER_RESULTS])
        return {"env_steps": int(sampled[NUM_ENV_STEPS_SAMPLED]), **figures}

    def get_state(self) -> State:
        """Return the learner's weights and optimiser."""
        return _from_rllib(self.algorithm.learner_group.get_state()[COMPONENT_LEARNER])

    def set_state(self, state: State) -> None:
        """Set the learner's state and every runner's weights."""
        group = self.algorithm.learner_group
        group.set_state({COMPONENT_LEARNER: _to_rllib(state)})
        self.algorithm.env_runner_group.sync_weights(
            from_worker_or_learner_group=group, timeout_seconds=None
        )

    def close(self) -> None:
        """Stop the algorithm, and Ray if it was started here."""
        self.algorithm.stop()
        self._stop_ray()

    def _stop_ray(self) -> None:
        if self.started_ray:
            ray.shutdown()


def make_trainer(
    make_env: MakeEnv, shelf: Shelf, config: RankerConfig, seed: int
) -> InProcess | Distributed:
    """Return the trainer that ``config.num_env_runners`` asks for."""
    settings = rllib_config(make_env, shelf, config, seed)
    if config.num_env_runners:
        return Distributed(settings, make_env)
    return InProcess(settings)


def _start_ray(cpus: int) -> None:
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=256 * 1024**2,
    )


def _figures(sampled: Any, learned: Any) -> dict[str, float]:
    """Return the figures of one iteration; the mean return only if a session ended in it."""
    module = learned[DEFAULT_MODULE_ID]
    figures = {ours: _number(module[theirs]) for theirs, ours in _FIGURES.items()}
    if EPISODE_RETURN_MEAN in sampled:
        figures["return_sampled"] = _number(sampled[EPISODE_RETURN_MEAN])
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def _number(value: Any) -> float:
    """Return a figure that may still be one of RLlib's running statistics."""
    return float(value.peek() if hasattr(value, "peek") else value)


def _from_rllib(state: State) -> State:
    """Return a learner's state as tensors and plain values, safe to save without pickling."""
    prefix = "scorer."
    weights = state[COMPONENT_RL_MODULE][DEFAULT_MODULE_ID]
    return {
        "weights": {
            name.removeprefix(prefix): torch.as_tensor(array) for name, array in weights.items()
        },
        "optimizer": _plain(state[COMPONENT_OPTIMIZER]),
    }


def _to_rllib(state: State) -> State:
    weights = {f"scorer.{name}": tensor for name, tensor in state["weights"].items()}
    rllib: State = {COMPONENT_RL_MODULE: {DEFAULT_MODULE_ID: weights}}
    if "optimizer" in state:
        rllib[COMPONENT_OPTIMIZER] = state["optimizer"]
    return rllib


def _plain(value: Any) -> Any:
    """Return nested containers with arrays as tensors and numpy scalars as Python numbers."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if hasattr(value, "dtype"):
        return value.item() if value.ndim == 0 else torch.as_tensor(value)
    return value
