"""A toy shop as a native vector env: small, seeded, with a best policy that is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, MultiDiscrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

TASTES = 4


class ToyShop(VectorEnv):
    """Shoppers with one of four tastes; a shown item is clicked if it has that aspect.

    ``context`` is the taste (one-hot) and noise; an item's first four features are its aspects,
    the fifth ("similarity") hints at fit, the rest are noise. A click in slot j counts
    ``0.8**j``; a session without clicks ends with probability 0.5, and all after 20 steps. Where
    it ``tells``, info holds what each slot earned.
    """

    def __init__(
        self,
        num_envs: int,
        seed: int,
        candidates: int = 20,
        slots: int = 5,
        features: int = 16,
        mode: AutoresetMode = AutoresetMode.NEXT_STEP,
        masked: float = 0.1,
        tells: bool = False,
    ) -> None:
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": mode}
        self.n, self.k, self.f, self.masked = candidates, slots, features, masked
        self.tells = tells
        self.single_observation_space = Dict(
            context=Box(-np.inf, np.inf, (TASTES + 2,)),
            items=Box(-np.inf, np.inf, (candidates, features)),
            mask=Box(0, 1, (candidates,)),
        )
        self.single_action_space = MultiDiscrete([candidates] * slots)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        names = [f"aspect_{i}" for i in range(TASTES)] + ["similarity"]
        self.item_feature_names = names + [f"noise_{i}" for i in range(features - len(names))]
        self.context_feature_names = [f"taste_{i}" for i in range(TASTES)] + ["hour", "day"]
        self._rng = np.random.default_rng(seed)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._taste = self._rng.integers(TASTES, size=self.num_envs)
        self._age = np.zeros(self.num_envs, dtype=int)
        self._done = np.zeros(self.num_envs, dtype=bool)
        return self._observe(), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        aspect = self._seen["items"][np.arange(self.num_envs), :, self._taste]
        shown = np.take_along_axis(aspect * self._seen["mask"], actions, axis=1)
        clicks = self._rng.random(shown.shape) < 0.8 * shown
        slot_reward = clicks * 0.8 ** np.arange(self.k)
        rewards = slot_reward.sum(1)
        self._age += 1
        leaving = ~clicks.any(1) & (self._rng.random(self.num_envs) < 0.5)
        truncated = (self._age >= 20) & ~leaving
        was_done = self._done
        rewards = np.where(was_done, 0.0, rewards)
        leaving, truncated = leaving & ~was_done, truncated & ~was_done
        self._age[was_done] = 0
        self._taste[was_done] = self._rng.integers(TASTES, size=int(was_done.sum()))
        self._done = leaving | truncated
        info = {"slot_reward": slot_reward} if self.tells else {}
        return self._observe(), rewards, leaving, truncated, info

    def _observe(self) -> dict[str, np.ndarray]:
        items = self._rng.random((self.num_envs, self.n, self.f), dtype=np.float32)
        items[..., :TASTES] = items[..., :TASTES] < 0.15
        fit = items[np.arange(self.num_envs), :, self._taste]
        items[..., TASTES] = 0.2 * fit + 0.8 * items[..., TASTES]
        context = self._rng.random((self.num_envs, TASTES + 2), dtype=np.float32)
        context[:, :TASTES] = np.eye(TASTES, dtype=np.float32)[self._taste]
        mask = (self._rng.random((self.num_envs, self.n)) >= self.masked).astype(np.float32)
        mask[:, : self.k] = 1.0
        self._seen = {"context": context, "items": items, "mask": mask}
        return self._seen


def make_toy(num_envs: int, seed: int) -> VectorEnv:
    return ToyShop(num_envs, seed)


def make_shop(num_envs: int, seed: int) -> VectorEnv:
    """A smaller one. It lies here because Ray's workers import it by name."""
    return ToyShop(num_envs, seed, candidates=10, slots=2, features=8)


def make_telling_shop(num_envs: int, seed: int) -> VectorEnv:
    """The smaller one, which tells what each slot earned."""
    return ToyShop(num_envs, seed, candidates=10, slots=2, features=8, tells=True)
