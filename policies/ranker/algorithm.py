"""RLlib's algorithm, in this process or with worker processes, behind one interface."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import ray
import torch
from ray.rllib.algorithms import AlgorithmConfig
from ray.rllib.core import (
    COMPONENT_LEARNER,
    COMPONENT_OPTIMIZER,
    COMPONENT_RL_MODULE,
    DEFAULT_MODULE_ID,
)
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    EPISODE_RETURN_MEAN,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)
from ray.tune.registry import register_env

from envs.errors import UserError
from policies.ranker.config import RankerConfig
from policies.ranker.rllib import ENV_NAME, FIGURES, rllib_config
from policies.ranker.shelf import MakeEnv, Shelf

State = dict[str, Any]

_STARTS = 8

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


class InProcess:
    """RLlib's runner and learner called by hand: no Ray cluster, no other process."""

    def __init__(self, config: AlgorithmConfig) -> None:
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
        return {"env_steps": steps, **_figures(sampled, learned, FIGURES["ppo"])}

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

    def __init__(
        self, config: AlgorithmConfig, make_env: MakeEnv, figures: Mapping[str, str],
        address: str | None,
    ) -> None:  # fmt: skip
        """Start Ray, or join the cluster at ``address``, if nobody has; build the algorithm.

        The workers import ``make_env`` by name: it must lie in a module on their path.
        """
        self.figures = figures
        self.started_ray = not ray.is_initialized()
        if self.started_ray:
            start_ray(config.num_env_runners + config.num_learners + 1, address)
        # RLlib greets the user of its new API at warning level.
        logging.getLogger("ray.rllib").setLevel(logging.ERROR)
        register_env(ENV_NAME, lambda context: make_env(config.num_envs_per_env_runner, 0))
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
        figures = _figures(sampled, result.get(LEARNER_RESULTS, {}), self.figures)
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
        return Distributed(settings, make_env, FIGURES[config.algorithm], config.address)
    return InProcess(settings)


def start_ray(cpus: int, address: str | None = None) -> None:
    """Start a quiet Ray of ``cpus`` here, or join the cluster at ``address``.

    Raises `UserError` where no cluster answers there, or this machine is too busy to start one.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_register_timeout_seconds", "300")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        memory = 256 * 1024**2
        quiet |= {"include_dashboard": False, "object_store_memory": memory}
        _start_again_and_again(lambda: ray.init(num_cpus=cpus, **quiet))
        return
    try:
        with _stderr_closed():
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"Ray at {address!r} cannot be joined ({first}); start one there with `ray start"
            f" --head`, or leave the address out to use this machine."
        ) from error


def _start_again_and_again(start: Callable[[], Any]) -> None:
    """Start Ray; more than once, because on a busy machine it gives up.

    Seen with 2.60: the raylet ends itself where an agent, a Python process of its own, has not
    told its port within 15 s, and the driver then waits 30 s in vain. No setting makes either
    longer. The next try finds the agent's files in memory.
    """
    for _ in range(_STARTS):
        try:
            with _stderr_closed():
                start()
            return
        except Exception as error:
            # Ray raises its bare Exception here, with nothing but a text to know it by.
            if "timed out" not in str(error):
                raise
            ray.shutdown()
    raise UserError(
        f"Ray did not start in {_STARTS} tries: this machine is too busy; try again later, or"
        f" train without Ray (rank.num_env_runners: 0)."
    )


@contextmanager
def _stderr_closed() -> Iterator[None]:
    """Keep Ray's C++ from announcing its log level: it writes to the file, not to `sys.stderr`."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _figures(sampled: Any, learned: Any, names: Mapping[str, str]) -> dict[str, float]:
    """Return the figures of one iteration, as far as it has any: the mean return only if a
    session ended in it, those of an update only if one was finished."""
    module = learned.get(DEFAULT_MODULE_ID, {})
    figures = {ours: _number(module[theirs]) for theirs, ours in names.items() if theirs in module}
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
        # APPO's target network is not kept: it starts from the weights again.
        "weights": {
            name.removeprefix(prefix): torch.as_tensor(array)
            for name, array in weights.items()
            if name.startswith(prefix)
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
