"""Speed of the shop: one step is one shopper shown one slate."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from envs.assemble import default_world
from envs.shop import ShopEnv, ShopVectorEnv
from experiments.benchmarks.timing import rate

_ROWS, _STEPS = 1_000, 20


def measure(repeats: int) -> list[dict[str, Any]]:
    """Random precomputed actions, resets included."""
    world = default_world(items=1_000, shoppers=1_000)
    config = world.config
    rng = np.random.default_rng(0)
    batch = ShopVectorEnv(world, _ROWS, seed=0)
    orders = rng.random((_STEPS, _ROWS, config.candidates)).argsort(-1)
    actions = orders[..., : config.slots]

    def steps() -> int:
        for action in actions:
            batch.step(action)
        return _STEPS * _ROWS

    single = ShopEnv(world)
    observation, _ = single.reset(seed=0)

    def one_by_one() -> int:
        nonlocal observation
        chosen = orders[0, :200]
        for order in chosen:
            # The single env refuses what was bought in the session.
            slate = order[observation["mask"][order] > 0][: config.slots]
            observation, _, terminated, truncated, _ = single.step(slate)
            if terminated or truncated:
                observation, _ = single.reset()
        return len(chosen)

    what = f"{_ROWS} shoppers, {config.slots} of {config.candidates}"
    return [
        rate("batch", "steps_per_second", "steps/s", what, steps, repeats),
        rate("batch", "steps_per_cpu_second", "steps/s", what, steps, repeats, time.process_time),
        rate("single", "steps_per_second", "steps/s", "one ShopEnv", one_by_one, repeats),
    ]
