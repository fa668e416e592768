"""The shop as Gymnasium environments: a native batch, and one of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from envs.counter_rng import Keys, fold_each, new_keys
from envs.errors import UserError
from envs.kernels import all_within
from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES, REASON_FEATURES
from envs.sessions import Outcome, SessionState
from envs.world import World

Observation = dict[str, NDArray[np.float32]]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Wider than any feature ever is: Gymnasium's checker warns of infinite bounds.
_LIMIT = 1e6


def shop_spaces(world: World) -> tuple[spaces.Dict, spaces.Space[Any]]:
    """Return the single observation and action space of a shop.

    Actions are slates, ``MultiDiscrete([N] * k)``; where the agent chooses the reasons too they
    are ``Dict(slate=MultiDiscrete([N] * k), reason=MultiDiscrete([R] * k))``.

    Raises:
        UserError: if reasons are to be chosen, but the world has none to choose from.
    """
    config = world.config
    count, slots = config.candidates, config.slots

    def box(low: float, high: float, *shape: int) -> spaces.Box:
        return spaces.Box(low, high, shape, dtype=np.float32)

    seen: dict[str, spaces.Space[Any]] = {
        "context": box(-_LIMIT, _LIMIT, len(CONTEXT_FEATURES)),
        "items": box(-_LIMIT, _LIMIT, count, len(ITEM_FEATURES)),
        "mask": box(0, 1, count),
    }
    slates = spaces.MultiDiscrete([count] * slots)
    if config.reasons != "choice":
        return spaces.Dict(seen), slates
    variants = len(world.variants)
    if not variants:
        raise UserError(
            "shop.reasons is 'choice', but this world has no reasons to choose from; give it some "
            "with world.with_variants([...]), or set shop.reasons to 'book' or 'none'"
        )
    seen["reasons"] = box(-_LIMIT, _LIMIT, count, variants, len(REASON_FEATURES))
    reasons = spaces.MultiDiscrete([variants] * slots)
    return spaces.Dict(seen), spaces.Dict(slate=slates, reason=reasons)


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


@dataclass(frozen=True)
class ShopSnapshot:
    """Where a shop env stands; what its action space would sample is no part of it."""

    state: SessionState
    #: Key and number of the running session of each row, and whether it is over, (B,).
    row_keys: Keys
    episode: I64
    over: Bools


class ShopVectorEnv(VectorEnv[Any, Any, Any]):
    """B sessions stepped as arrays.

    Observation: ``context (B, C_ctx)``, ``items (B, N, F)``, ``mask (B, N)``, float32; with
    ``shop.reasons: choice`` also ``reasons (B, N, R, 4)``. Every step returns new arrays. Action:
    ``(B, k)`` candidate positions, an ordered slate; with ``choice`` a dictionary of ``slate`` and
    ``reason (B, k)``, which of the R reasons stands beside each. A duplicate or masked candidate is
    shown once or not at all, and counted in ``info["illegal_slots"]``. Autoreset is NEXT_STEP: the
    step after an end ignores its action, gives reward 0 (in every part of it too) and the first
    observation of a new session.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012
    item_feature_names = ITEM_FEATURES
    context_feature_names = CONTEXT_FEATURES
    reason_feature_names = REASON_FEATURES

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
        self._everyone = np.arange(num_envs)
        self.state: SessionState = self._new_sessions()

    def _new_sessions(self) -> SessionState:
        keys = fold_each(self._row_keys, self._episode, self._everyone)
        return sessions.start(self.world, keys)

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
        self.state = self._new_sessions()
        self._over[:] = False
        return sessions.observe(self.world, self.state), {}

    def step(
        self, actions: Any
    ) -> tuple[
        Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Show one slate to each shopper; rows that had ended start anew instead."""
        slates, variants = self._read(actions)
        before, resting = self.state, self._over
        state, outcome, items = sessions.show(
            self.world, self.click_model, before, slates, variants, resting
        )
        terminated, truncated = self._ends(state, outcome)
        truncated &= ~resting
        rows = np.flatnonzero(resting)
        if len(rows):
            self._episode[rows] += 1
            keys = fold_each(self._row_keys, self._episode, rows)
            sessions.start_in(self.world, state, rows, keys)
        self.state, self._over = state, terminated | truncated
        info = _info(before, outcome, items, ~resting)
        reward = outcome.reward.astype(np.float64)
        return sessions.observe(self.world, state), reward, terminated, truncated, info

    def _ends(self, state: SessionState, outcome: Outcome) -> tuple[Bools, Bools]:
        """Terminated (gone for good) and truncated (pages or visits run out), (B,)."""
        cut = outcome.cut | (state.page >= self.world.config.max_pages)
        return outcome.gone, cut & ~outcome.gone

    def _read(self, actions: Any) -> tuple[I64, I64 | None]:
        """Return slates and, where they are chosen, reasons, both (B, k) int64.

        Raises:
            ValueError: for another shape, range or form.
        """
        config = self.world.config
        if config.reasons != "choice":
            return self._checked(actions, "actions", "slate", config.candidates), None
        if not isinstance(actions, dict) or set(actions) != {"slate", "reason"}:
            raise ValueError(
                "actions must be a dictionary of 'slate' and 'reason' where shop.reasons is "
                f"'choice', but are {sorted(actions) if isinstance(actions, dict) else actions!r}"
            )
        slates = self._checked(actions["slate"], "actions['slate']", "slate", config.candidates)
        reasons = actions["reason"]
        chosen = self._checked(reasons, "actions['reason']", "reason", len(self.world.variants))
        return slates, chosen

    def _checked(self, values: Any, name: str, what: str, count: int) -> I64:
        array = np.ascontiguousarray(values, dtype=np.int64)
        expected = (self.num_envs, self.world.config.slots)
        if array.shape != expected:
            each = "one slate a shopper" if what == "slate" else "one reason a slot"
            raise ValueError(f"{name} must have shape {expected}, {each}, but have {array.shape}")
        if not all_within(array, count):
            positions = "candidate positions" if what == "slate" else "reasons"
            raise ValueError(
                f"{name} must be {positions} 0..{count - 1}, but range from {array.min()} to "
                f"{array.max()}"
            )
        return array

    def snapshot(self) -> ShopSnapshot:
        """Return where this env stands, to `restore` it later, here or in another env."""
        return ShopSnapshot(
            self.state.copy(), self._row_keys.copy(), self._episode.copy(), self._over.copy()
        )

    def restore(self, snapshot: ShopSnapshot) -> Observation:
        """Go back to where ``snapshot`` was taken and return the observation there.

        The same actions lead to the same future; other slates meet the same luck item by item.

        Raises:
            ValueError: for a snapshot of another number of rows.
        """
        if len(snapshot.over) != self.num_envs:
            raise ValueError(
                f"the snapshot has {len(snapshot.over)} rows, but this env has {self.num_envs}"
            )
        self.state, self._row_keys = snapshot.state.copy(), snapshot.row_keys.copy()
        self._episode, self._over = snapshot.episode.copy(), snapshot.over.copy()
        return sessions.observe(self.world, self.state)

    def clone(self) -> ShopVectorEnv:
        """Return another env that stands where this one does and has the same future."""
        twin = ShopVectorEnv(self.world, self.num_envs, seed=0)
        twin.restore(self.snapshot())
        return twin


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


def _rows_of(before: SessionState, outcome: Outcome, items: I64) -> dict[str, Any]:
    """What ``info`` tells of a shown page; every array has B rows."""
    return {
        "items": items,
        "clicks": outcome.clicks,
        "purchases": outcome.purchases,
        "slot_reward": outcome.slot_reward,
        "visit": before.visit,
        "day": before.day,
        **{f"reward_{name}": part for name, part in outcome.parts.items()},
    }


def _info(before: SessionState, outcome: Outcome, items: I64, live: Bools) -> dict[str, Any]:
    """Per-row arrays, with Gymnasium's ``_name`` companions that say which rows count."""
    arrays = _rows_of(before, outcome, items)
    arrays["illegal_slots"] = np.where(live, (~outcome.shown).sum(axis=1), 0)
    return arrays | {f"_{name}": live.copy() for name in arrays}


class ShopEnv(gym.Env[Any, Any]):
    """One shopper at a time: row 0 of a batch of one, with errors where the batch counts."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, world: World) -> None:
        self._batch = ShopVectorEnv(world, 1)
        self._batch._over[:] = True
        self._max_pages = world.config.max_pages
        self.observation_space = self._batch.single_observation_space
        # Slates that may be shown: a random policy that samples here meets no error.
        slates = SlateSpace(world.config.candidates, world.config.slots)
        single = self._batch.single_action_space
        self.action_space = (
            spaces.Dict(slate=slates, reason=single["reason"])
            if isinstance(single, spaces.Dict)
            else slates
        )

    @property
    def world(self) -> World:
        """The fixed side of the shop."""
        return self._batch.world

    @property
    def state(self) -> SessionState:
        """The session, hidden state and all: a batch of one."""
        return self._batch.state

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start a new session."""
        super().reset(seed=seed)
        observation, info = self._batch.reset(seed=None if seed is None else [seed])
        return _first_row(observation), info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Show one slate.

        Raises:
            ValueError: for a slate with a duplicate or masked candidate, one out of range, or of
                another length.
            ResetNeeded: before the first reset and after a session's end.
        """
        batch = self._batch
        if batch._over[0]:
            raise ResetNeeded("no session is running; call reset() before step()")
        slates, variants = batch._read(_as_batch(action))
        before = batch.state
        state, outcome, items = sessions.show(
            batch.world, batch.click_model, before, slates, variants
        )
        if not all(outcome.shown[0].tolist()):  # nothing has been changed yet
            raise ValueError(_why_illegal(slates[0].tolist()))
        # The same as `ShopVectorEnv._ends`, without NumPy's call costs.
        terminated = bool(outcome.gone[0])
        out_of_pages = state.page[0] >= self._max_pages
        truncated = not terminated and bool(outcome.cut[0] or out_of_pages)
        batch.state, batch._over[0] = state, terminated or truncated
        details = {name: rows[0] for name, rows in _rows_of(before, outcome, items).items()}
        details["illegal_slots"] = 0
        return (
            _first_row(sessions.observe(batch.world, state)), float(outcome.reward[0]),
            terminated, truncated, details,
        )  # fmt: skip

    def snapshot(self) -> ShopSnapshot:
        """Return where this env stands, to `restore` it later, here or in another env."""
        return self._batch.snapshot()

    def restore(self, snapshot: ShopSnapshot) -> Observation:
        """Go back to where ``snapshot`` was taken; see `ShopVectorEnv.restore`."""
        return _first_row(self._batch.restore(snapshot))

    def clone(self) -> ShopEnv:
        """Return another env that stands where this one does and has the same future."""
        twin = ShopEnv(self.world)
        twin.restore(self.snapshot())
        return twin


def _as_batch(action: Any) -> Any:
    """Return one action as a batch of one."""
    if isinstance(action, dict):
        return {name: np.asarray(part)[None] for name, part in action.items()}
    return np.asarray(action)[None]


def _why_illegal(slate: list[int]) -> str:
    if len(set(slate)) < len(slate):
        return f"a slate must hold distinct candidates, but was {slate}"
    return (
        f"slate {slate} holds a candidate that observation['mask'] rules out (bought in this "
        "session); draw with action_space.sample(mask=...)"
    )


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
