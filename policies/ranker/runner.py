"""Env runners: RLlib's own on a native vector env, and one that steps whole arrays."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import torch
from gymnasium.wrappers.vector import DictInfoToList
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.env.utils.infinite_lookback_buffer import InfiniteLookbackBuffer
from ray.rllib.utils.metrics import (
    EPISODE_LEN_MEAN,
    EPISODE_RETURN_MEAN,
)

from policies.ranker.distribution import sample_with_log_prob
from policies.ranker.shelf import MakeEnv, require_next_step

# Distance of two workers' seeds: more rows than an env will have.
_APART = 1_000_000

Arrays = dict[str, np.ndarray]


class VectorRunner(SingleAgentEnvRunner):
    """RLlib's runner, with an env made by ``env_config['make_env']`` instead of a registry."""

    env: Any

    def make_env(self) -> None:
        """Make the vector env; each worker's has its own seed."""
        if self.env is not None:
            self.env.close()
        make: MakeEnv = self.config.env_config["make_env"]
        # RLlib's own seeds are one apart; an env may give each of its rows the next seed.
        seed = int(self.config.env_config["seed"]) + _APART * (self.worker_index or 0)
        self._seed = seed
        self.num_envs = self.config.num_envs_per_env_runner
        env = make(self.num_envs, seed)
        require_next_step(env)
        self.env = DictInfoToList(env)
        self._needs_initial_reset = True


class FastRunner(VectorRunner):
    """A runner that steps whole arrays and builds each episode chunk once a fragment.

    RLlib's runner appends every observation of every env to a Python list. Here the arrays of a
    fragment are stacked and cut along the env axis. Infos and per-episode callbacks are left
    out: the ranker uses neither. Draws the same random numbers as `VectorRunner`.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Build the runner as RLlib does."""
        super().__init__(**kwargs)
        self._seen: Arrays | None = None

    def _sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool,
        random_actions: bool = False,
        force_reset: bool = False,
    ) -> list[SingleAgentEpisode]:
        """Return episode chunks with at least ``num_timesteps`` real steps in them."""
        if num_timesteps is None or random_actions:
            # The stock paths: whole episodes, and random actions, where speed does not matter.
            self._seen = None
            self._needs_initial_reset = True
            return super()._sample(
                num_timesteps=num_timesteps,
                num_episodes=num_episodes,
                explore=explore,
                random_actions=random_actions,
                force_reset=force_reset,
            )
        if force_reset or self._needs_initial_reset or self._seen is None:
            self._reset()
        fragment = _Fragment(self._seen)
        while fragment.real_steps < num_timesteps:
            self._step(fragment, explore)
        chunks, returns = self._cut(fragment)
        self._log(fragment.real_steps, returns)
        return chunks

    def _reset(self) -> None:
        seed = self._seed if self._needs_initial_reset else None
        self._seen, _ = self.env.env.reset(seed=seed)
        self._needs_initial_reset = False
        self._resetting = np.zeros(self.num_envs, dtype=bool)
        self._ids = [uuid.uuid4().hex for _ in range(self.num_envs)]
        self._age = np.zeros(self.num_envs, dtype=np.int64)
        self._earned = np.zeros(self.num_envs)

    def _step(self, fragment: _Fragment, explore: bool) -> None:
        assert self._seen is not None
        batch = {Columns.OBS: {name: torch.from_numpy(a) for name, a in self._seen.items()}}
        forward = self.module.forward_exploration if explore else self.module.forward_inference
        logits = forward(batch)[Columns.ACTION_DIST_INPUTS]
        slates, log_probs = sample_with_log_prob(logits, self.module.slots, greedy=not explore)
        # Inside the info wrapper, which would build a dictionary for every env and step.
        seen, rewards, terminated, truncated, _ = self.env.env.step(slates.numpy())
        fragment.add(
            seen,
            {
                "real": ~self._resetting,
                "terminated": terminated,
                "truncated": truncated,
                Columns.REWARDS: np.asarray(rewards, dtype=np.float32),
                Columns.ACTIONS: slates.numpy(),
                Columns.ACTION_LOGP: log_probs.numpy(),
                Columns.ACTION_DIST_INPUTS: logits.numpy(),
            },
        )
        # An env that ended ignores its next action and returns a first observation instead.
        self._resetting = terminated | truncated
        self._seen = seen

    def _cut(self, fragment: _Fragment) -> tuple[list[SingleAgentEpisode], list[tuple[int, float]]]:
        """Return all episode chunks of a fragment, and (length, return) of those that ended."""
        seen, columns = fragment.by_env()
        chunks, ended = [], []
        for env, start, stop in _runs(columns["real"]):
            rewards = columns[Columns.REWARDS][env, start:stop]
            terminated = bool(columns["terminated"][env, stop - 1])
            truncated = bool(columns["truncated"][env, stop - 1])
            chunks.append(
                self._chunk(env, start, stop, terminated, truncated, seen, columns),
            )
            self._age[env] += stop - start
            self._earned[env] += float(rewards.sum())
            if terminated or truncated:
                ended.append((int(self._age[env]), float(self._earned[env])))
                self._ids[env] = uuid.uuid4().hex
                self._age[env], self._earned[env] = 0, 0.0
        return chunks, ended

    def _chunk(
        self,
        env: int,
        start: int,
        stop: int,
        terminated: bool,
        truncated: bool,
        seen: Arrays,
        columns: Arrays,
    ) -> SingleAgentEpisode:
        steps = stop - start
        outputs = {
            name: _Steps(columns[name][env, start:stop])
            for name in (Columns.ACTION_LOGP, Columns.ACTION_DIST_INPUTS)
        }
        return SingleAgentEpisode(
            id_=self._ids[env],
            observations=_Steps(
                {name: array[env, start : stop + 1] for name, array in seen.items()}
            ),
            infos=[{}] * (steps + 1),
            actions=_Steps(columns[Columns.ACTIONS][env, start:stop]),
            rewards=_Steps(columns[Columns.REWARDS][env, start:stop]),
            extra_model_outputs=outputs,
            terminated=terminated,
            truncated=truncated,
            t_started=int(self._age[env]),
            len_lookback_buffer=0,
        )

    def _log(self, real_steps: int, ended: list[tuple[int, float]]) -> None:
        """Log what RLlib's algorithm reads, once a fragment instead of once an episode."""
        self._log_env_steps(metric=self._metrics_num_env_steps_sampled, num_steps=real_steps)
        self._increase_sampled_metrics(real_steps, len(ended))
        if ended:
            lengths, returns = np.mean(ended, axis=0)
            self.metrics.log_value(EPISODE_LEN_MEAN, float(lengths), window=1)
            self.metrics.log_value(EPISODE_RETURN_MEAN, float(returns), window=1)


class _Steps(InfiniteLookbackBuffer):
    """The data of a finished chunk: an array, or arrays by name.

    RLlib measures named arrays by flattening them as a tree, six times a chunk: a sixth of the
    training time. All have one length here, so the first one's will do.
    """

    def len_incl_lookback(self) -> int:
        """Return the number of steps."""
        data = self.data
        return len(next(iter(data.values())) if isinstance(data, dict) else data)


class _Fragment:
    """Whole-array steps of all envs, kept as lists until they are stacked once."""

    def __init__(self, first: Arrays | None) -> None:
        assert first is not None
        self.real_steps = 0
        self._seen = [_copied(first)]
        self._columns: list[Arrays] = []

    def add(self, seen: Arrays, columns: Arrays) -> None:
        """Append one step: the next observation, and what was done and earned."""
        self._seen.append(_copied(seen))
        self._columns.append(_copied(columns))
        self.real_steps += int(columns["real"].sum())

    def by_env(self) -> tuple[Arrays, Arrays]:
        """Return observations ``(B, T+1, ...)`` and the other columns ``(B, T, ...)``."""
        return _stack(self._seen), _stack(self._columns)


def _copied(arrays: Arrays) -> Arrays:
    """Copy, because an env may write its next step into the same arrays."""
    return {name: np.array(array) for name, array in arrays.items()}


def _stack(steps: list[Arrays]) -> Arrays:
    """Stack along a new second axis, so that one env's steps lie side by side."""
    return {name: np.stack([step[name] for step in steps], axis=1) for name in steps[0]}


def _runs(real: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (env, start, stop) of each unbroken run of true values in ``(B, T)`` bool."""
    edges = np.diff(np.pad(real.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, stops = np.argwhere(edges == 1), np.argwhere(edges == -1)
    return [(int(env), int(start), int(stop)) for (env, start), (_, stop) in zip(starts, stops)]
