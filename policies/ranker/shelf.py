"""What a ranker needs to know of an env, checked once, and how it is evaluated there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Dict, MultiDiscrete
from gymnasium.vector import AutoresetMode, VectorEnv

from envs.errors import UserError
from policies.ranker.plackett_luce import sample_slates, top_k
from policies.ranker.scorer import SlateScorer

#: ``make_env(num_envs, seed)`` returns a fresh native vector env.
MakeEnv = Callable[[int, int], VectorEnv]

# An evaluation stops here even if a session goes on: a shop where nobody leaves must not hang.
_LONGEST = 1000


@dataclass(frozen=True)
class Shelf:
    """The form of an env: spaces, slots and the names of its features."""

    observation_space: Dict
    action_space: MultiDiscrete
    slots: int
    item_features: tuple[str, ...]
    context_features: tuple[str, ...]


def require_next_step(env: VectorEnv) -> None:
    """Raise `UserError` unless the env resets itself in the step *after* an episode's end.

    With any other autoreset mode RLlib would take the first observation of the next episode
    for the last one of this episode, silently.
    """
    mode = env.metadata.get("autoreset_mode")
    if mode != AutoresetMode.NEXT_STEP:
        raise UserError(
            f"{type(env.unwrapped).__name__}: metadata['autoreset_mode'] must be"
            f" AutoresetMode.NEXT_STEP for the ranker to learn from it, not {mode}."
        )


def read_shelf(env: VectorEnv) -> Shelf:
    """Return the form of an env, or raise `UserError` where a ranker cannot act in it."""
    require_next_step(env)
    space, actions, inner = env.single_observation_space, env.single_action_space, env.unwrapped
    name = type(inner).__name__
    if not isinstance(space, Dict) or set(space.keys()) != {"context", "items", "mask"}:
        raise UserError(
            f"{name}: single_observation_space must be Dict(context, items, mask), not {space}."
        )
    candidates, width = space["items"].shape or (0, 0)
    if not isinstance(actions, MultiDiscrete) or set(actions.nvec) != {candidates}:
        raise UserError(
            f"{name}: single_action_space must be MultiDiscrete([{candidates}] * slots), one"
            f" candidate a slot, not {actions}."
        )
    item_features = tuple(inner.item_feature_names)
    context_features = tuple(inner.context_feature_names)
    if len(actions.nvec) > candidates:
        raise UserError(
            f"{name}: a slate has {len(actions.nvec)} slots, but a page only {candidates}"
            f" candidates; show fewer items or offer more candidates."
        )
    for what, names, size in (
        ("item_feature_names", item_features, width),
        ("context_feature_names", context_features, (space["context"].shape or (0,))[0]),
    ):
        if len(names) != size:
            raise UserError(
                f"{name}.{what}: {len(names)} names for {size} columns; name every column once."
            )
    return Shelf(space, actions, len(actions.nvec), item_features, context_features)


def observe(
    env: VectorEnv, scorer: SlateScorer, slots: int, steps: int, seed: int
) -> dict[str, torch.Tensor]:
    """Return observations ``(steps * B, ...)`` met while sampling slates from the scorer."""
    generator = torch.Generator().manual_seed(seed)
    seen, _ = env.reset(seed=seed)
    met = []
    for _ in range(steps):
        met.append(_tensors(seen))
        with torch.no_grad():
            slates = sample_slates(
                scorer.logits(**met[-1]), met[-1]["mask"], slots, generator=generator
            )
        seen = env.step(slates.numpy())[0]
    return {name: torch.cat([one[name] for one in met]) for name in met[0]}


def mean_return(
    env: VectorEnv,
    scorer: SlateScorer,
    slots: int,
    seed: int,
    generator: torch.Generator | None = None,
) -> float:
    """Return the mean undiscounted return of one whole session in each env.

    Each page shows the most probable slate, or one sampled with ``generator`` where it is given.
    One session an env: counting as many as fit in a number of steps would favour short ones.
    The same seed meets the same shoppers, so that two scorers, or both ways to show slates, are
    compared in pairs.
    """
    seen, _ = env.reset(seed=seed)
    earned = np.zeros(env.num_envs)
    going = np.arange(env.num_envs)
    # What a row shows whose session is over counts for nothing, but must be a slate.
    slates = np.tile(np.arange(slots), (env.num_envs, 1))
    for _ in range(_LONGEST):
        slates[going] = _choose(scorer, seen, going, slots, generator)
        seen, rewards, terminated, truncated, _ = env.step(slates)
        earned[going] += rewards[going]
        going = going[~(terminated | truncated)[going]]
        if not len(going):
            break
    return float(earned.mean())


# Rows scored at once: their hidden layers fit the cache, which those of a whole batch would not.
_TOGETHER = 1024


@torch.no_grad()
def _choose(
    scorer: SlateScorer, seen: Any, rows: np.ndarray, slots: int, generator: torch.Generator | None
) -> np.ndarray:
    """Return the slates ``(len(rows), slots)`` of some rows of a batch of observations."""
    slates = []
    for start in range(0, len(rows), _TOGETHER):
        chunk = rows[start : start + _TOGETHER]
        inputs = {name: torch.from_numpy(array[chunk]) for name, array in seen.items()}
        logits, mask = scorer.logits(**inputs), inputs["mask"]
        slates.append(
            top_k(logits, mask, slots)
            if generator is None
            else sample_slates(logits, mask, slots, generator)
        )
    return torch.cat(slates).numpy()


def _tensors(seen: Any) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in seen.items()}
