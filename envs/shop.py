"""The shop as Gymnasium environments: a native batch, and one of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs import sessions
from envs.clicks import make_click_model
from envs.counter_rng import Keys, fold, new_keys
from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES
from envs.sessions import Outcome, SessionState, available, candidates
from envs.world import World

Observation = dict[str, NDArray[np.float32]]

#: Wider than any feature ever is: Gymnasium's checker warns of infinite bounds.
_LIMIT = 1e6


def shop_spaces(world: World) -> tuple[spaces.Dict, spaces.MultiDiscrete]:
    """Return the single observation and action space of a shop."""
    count, slots = world.config.candidates, world.config.slots

    def box(low: float, high: float, *shape: int) -> spaces.Box:
        return spaces.Box(low, high, shape, dtype=np.float32)

    observation = spaces.Dict(
        context=box(-_LIMIT, _LIMIT, len(CONTEXT_FEATURES)),
        items=box(-_LIMIT, _LIMIT, count, len(ITEM_FEATURES)),
        mask=box(0, 1, count),
    )
    return observation, spaces.MultiDiscrete([count] * slots)


class SlateSpace(spaces.MultiDiscrete):
    """Ordered slates of k distinct candidates 0..N-1: what `ShopEnv` takes without an error."""

    def __init__(self, candidates: int, slots: int) -> None:
        super().__init__([candidates] * slots)

    def sample(self, mask: Any = None, probability: Any = None) -> NDArray[np.int64]:
        """Draw a slate, (k,) int64; every ordered slate is as likely.

        Args:
            mask: the observation's mask, (N,): only candidates where it is 1 are drawn.
            probability: not supported.

        Raises:
            ValueError: for a mask of another shape or with fewer than k ones, or probabilities.
        """
        count, slots = int(self.nvec[0]), len(self.nvec)
        allowed = np.arange(count) if mask is None else np.flatnonzero(mask)
        if probability is not None or (mask is not None and np.shape(mask) != (count,)):
            raise ValueError(
                f"a slate is drawn as a whole: give no probability and a ({count},) mask"
            )
        if len(allowed) < slots:
            raise ValueError(
                f"a slate needs {slots} candidates, but the mask allows {len(allowed)}"
            )
        return self.np_random.permutation(allowed)[:slots]

    def contains(self, x: Any) -> bool:
        """Say whether ``x`` is a slate of distinct candidates."""
        return super().contains(x) and len(np.unique(x)) == len(self.nvec)


class ShopVectorEnv(VectorEnv[Any, Any, Any]):
    """B sessions stepped as arrays.

    Observation: ``context (B, C_ctx)``, ``items (B, N, F)``, ``mask (B, N)``, float32. Action:
    ``(B, k)`` candidate positions, an ordered slate. A duplicate or masked candidate is shown once
    or not at all, and counted in ``info["illegal_slots"]``. Autoreset is NEXT_STEP: the step after
    an end ignores its action, gives reward 0 and the first observation of a new session.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012
    item_feature_names = ITEM_FEATURES
    context_feature_names = CONTEXT_FEATURES

    def __init__(self, world: World, num_envs: int, seed: int | None = None) -> None:
        self.world = world
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = shop_spaces(world)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        config = world.config
        self.click_model = make_click_model(config.click_model, config.slots, config.clicks)
        self._row_keys = row_keys([None] * num_envs if seed is None else seed, num_envs)
        self._episode = np.zeros(num_envs, dtype=np.int64)
        self._over = np.zeros(num_envs, dtype=bool)
        self.state: SessionState = self._new_sessions(np.arange(num_envs))

    def _new_sessions(self, rows: NDArray[np.int64]) -> SessionState:
        return sessions.start(self.world, fold(self._row_keys[rows], self._episode[rows]))

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:  # fmt: skip
        """Start new sessions in all rows; row b of ``seed`` s gets the sessions of seed s + b.

        A row whose seed is None goes on with its own next session.
        """
        self._episode += 1
        if seed is not None:
            self._row_keys = row_keys(seed, self.num_envs, self._row_keys)
            self._episode[[s is not None for s in _row_seeds(seed, self.num_envs)]] = 0
        self.state = self._new_sessions(np.arange(self.num_envs))
        self._over[:] = False
        return sessions.observe(self.world, self.state), {}

    def step(
        self, actions: Any
    ) -> tuple[
        Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Show one slate to each shopper; rows that had ended start anew instead."""
        slates = self.checked(actions)
        resting = self._over.copy()
        state, outcome, items = sessions.show(self.world, self.click_model, self.state, slates)
        terminated = outcome.left & ~resting
        truncated = (state.page >= self.world.config.max_pages) & ~terminated & ~resting
        rows = np.flatnonzero(resting)
        if len(rows):
            self._episode[rows] += 1
            state.put(rows, self._new_sessions(rows))
        self.state, self._over = state, terminated | truncated
        reward = np.where(resting, 0.0, outcome.reward).astype(np.float64)
        info = _info(outcome, items, ~resting)
        return sessions.observe(self.world, state), reward, terminated, truncated, info

    def checked(self, actions: Any) -> NDArray[np.int64]:
        """Return ``actions`` as slates (B, k) int64; ValueError for another shape or range."""
        slates = np.asarray(actions, dtype=np.int64)
        config = self.world.config
        if slates.shape != (self.num_envs, config.slots):
            raise ValueError(
                f"actions must have shape ({self.num_envs}, {config.slots}), one slate a shopper, "
                f"but have {slates.shape}"
            )
        if slates.min() < 0 or slates.max() >= config.candidates:
            raise ValueError(
                f"actions must be candidate positions 0..{config.candidates - 1}, but range "
                f"from {slates.min()} to {slates.max()}"
            )
        return slates


def _row_seeds(seed: int | Sequence[int | None], count: int) -> list[int | None]:
    seeds: list[int | None] = (
        [*seed] if isinstance(seed, Sequence) else [int(seed) + b for b in range(count)]
    )
    if len(seeds) != count:
        raise ValueError(f"seed must be an integer or {count} of them, but {len(seeds)} were given")
    return seeds


def row_keys(seed: int | Sequence[int | None], count: int, old: Keys | None = None) -> Keys:
    """Return one key a row: row b of an integer seed s has the key of seed s + b.

    A row whose seed is None keeps its ``old`` key, or gets one from the system's entropy.
    """
    return np.array(
        [
            old[b] if s is None and old is not None else new_keys(np.random.default_rng(s), 1)[0]
            for b, s in enumerate(_row_seeds(seed, count))
        ],
        dtype=np.uint64,
    )


def _info(outcome: Outcome, items: NDArray[np.int64], live: NDArray[np.bool_]) -> dict[str, Any]:
    """Per-row arrays, with Gymnasium's ``_name`` companions that say which rows count."""
    arrays: dict[str, Any] = {
        "items": items,
        "clicks": outcome.clicks,
        "purchases": outcome.purchases,
        "slot_reward": outcome.slot_reward,
        "illegal_slots": (~outcome.shown).sum(axis=1),
        **{f"reward_{name}": part for name, part in outcome.parts.items()},
    }
    return arrays | {f"_{name}": live.copy() for name in arrays}


class ShopEnv(gym.Env[Any, Any]):
    """One shopper at a time: row 0 of a batch of one, with errors where the batch counts."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, world: World) -> None:
        self._batch = ShopVectorEnv(world, 1)
        self._running = False
        self.observation_space = self._batch.single_observation_space
        # Slates that may be shown: a random policy that samples here meets no error.
        self.action_space = SlateSpace(world.config.candidates, world.config.slots)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start a new session."""
        super().reset(seed=seed)
        observation, info = self._batch.reset(seed=None if seed is None else [seed])
        self._running = True
        return _first_row(observation), info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Show one slate.

        Raises:
            ValueError: for a slate with a duplicate or masked candidate, one out of range, or of
                another length.
            ResetNeeded: before the first reset and after a session's end.
        """
        if not self._running:
            raise ResetNeeded("no session is running; call reset() before step()")
        slates = self._batch.checked(np.asarray(action)[None])
        if len(np.unique(slates)) < slates.size:
            raise ValueError(f"a slate must hold distinct candidates, but was {slates[0].tolist()}")
        state = self._batch.state
        mask = available(state, candidates(self._batch.world, state)[1])[0]
        if not mask[slates[0]].all():
            raise ValueError(
                f"slate {slates[0].tolist()} holds a candidate that observation['mask'] rules out "
                "(bought in this session); draw with action_space.sample(mask=...)"
            )
        observation, reward, terminated, truncated, info = self._batch.step(slates)
        self._running = not (terminated[0] or truncated[0])
        details = {name: rows[0] for name, rows in info.items() if not name.startswith("_")}
        return (
            _first_row(observation), float(reward[0]), bool(terminated[0]), bool(truncated[0]),
            details,
        )  # fmt: skip


def _first_row(observation: Observation) -> Observation:
    return {name: rows[0] for name, rows in observation.items()}


def make_shop(world: World | None = None) -> ShopEnv:
    """Entry point of ``gymnasium.make("shelftalk/Shop-v0", world=...)``."""
    return ShopEnv(world or _default_world())


def make_shop_vector(
    world: World | None = None, num_envs: int = 1, seed: int | None = None
) -> ShopVectorEnv:
    """Vector entry point of ``gymnasium.make_vec("shelftalk/Shop-v0", ...)``."""
    return ShopVectorEnv(world or _default_world(), num_envs, seed)


def _default_world() -> World:
    from envs.assemble import default_world  # builds a whole shop: only where it is asked for

    return default_world()


ENV_ID = "shelftalk/Shop-v0"


def register_shop() -> None:
    """Register `ENV_ID` with Gymnasium, once."""
    if ENV_ID not in gym.registry:
        gym.register(
            ENV_ID,
            entry_point="envs.shop:make_shop",
            vector_entry_point="envs.shop:make_shop_vector",
            disable_env_checker=True,
        )


register_shop()
