"""Speed of the shop: one step is one shopper shown one slate."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from envs.assemble import default_world
from envs.observation import CONTEXT_FEATURES
from envs.shop import ShopEnv, ShopVectorEnv
from envs.world import World
from experiments.benchmarks.simulator_worlds import random_world
from experiments.benchmarks.timing import rate, row

_ROWS, _STEPS = 1_000, 100
#: Numbers of items whose costs are compared.
_FEW, _MANY = 1_000, 1_000_000


def measure(repeats: int) -> list[dict[str, Any]]:
    """Random precomputed actions, resets included."""
    world = default_world(items=1_000, shoppers=1_000)
    config = world.config
    what = f"{_ROWS} shoppers, {config.slots} of {config.candidates}"
    batch, bytes_a_step = _batch_steps(world)
    single = _single_steps(world)
    cpu, wall = time.process_time, time.perf_counter
    rows = [
        rate("batch", "steps_per_second", "steps/s", what, batch, repeats, wall),
        rate("batch", "steps_per_cpu_second", "steps/s", what, batch, repeats, cpu),
        rate("single", "steps_per_second", "steps/s", "one ShopEnv", single, repeats, wall),
        rate("single", "steps_per_cpu_second", "steps/s", "one ShopEnv", single, repeats, cpu),
        row("batch", "observation_bytes_per_step", "bytes", what, [bytes_a_step]),
        row("process", "peak_memory", "MiB", f"both of the above, {what}", [_peak_mebibytes()]),
    ]
    return [*rows, _many_items(repeats), *_start_up()]


def _orders(world: World, *shape: int) -> np.ndarray:
    """Random orders of the candidates, (*shape, N) int64."""
    return np.random.default_rng(0).random((*shape, world.config.candidates)).argsort(-1)


def _batch_steps(world: World) -> tuple[Callable[[], int], float]:
    """Return what steps a batch, and the bytes of observation that it writes a step."""
    envs = ShopVectorEnv(world, _ROWS, seed=0)
    actions = np.ascontiguousarray(_orders(world, _STEPS, _ROWS)[..., : world.config.slots])
    observation, _ = envs.reset()

    def steps() -> int:
        for action in actions:
            envs.step(action)
        return _STEPS * _ROWS

    return steps, sum(part.nbytes for part in observation.values()) / _ROWS


def _single_steps(world: World) -> Callable[[], int]:
    env = ShopEnv(world)
    observation, _ = env.reset(seed=0)
    orders, slots = _orders(world, 20 * _STEPS), world.config.slots
    bought = CONTEXT_FEATURES.index("purchases")

    def steps() -> int:
        nonlocal observation
        for order in orders:
            slate = order[:slots]
            if observation["context"][bought] > 0:  # what was bought may not be shown again
                slate = order[observation["mask"][order] > 0][:slots]
            observation, _, terminated, truncated, _ = env.step(slate)
            if terminated or truncated:
                observation, _ = env.reset()
        return len(orders)

    return steps


def _peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB


def _many_items(repeats: int) -> dict[str, Any]:
    """CPU time of a step among many items over that among few; the runs alternate.

    The worlds are random arrays that differ in nothing but the number of items.
    """
    steps = [
        _batch_steps(random_world(items, np.random.default_rng(1)))[0] for items in (_FEW, _MANY)
    ]
    ratios = []
    for repeat in range(repeats + 1):
        took = []
        for run in steps:
            started = time.process_time()
            run()
            took.append(time.process_time() - started)
        if repeat:  # the first pays for caches
            ratios.append(took[1] / took[0])
    what = f"{_MANY:,} items over {_FEW:,}, CPU time of a step"
    return row("items", "cost_ratio", "1", what, ratios)


_FIRST_STEP = """
import time
started = time.process_time()
from envs.assemble import default_world
from envs.shop import ShopVectorEnv
world = default_world(items=100, shoppers=100)
envs = ShopVectorEnv(world, 1, seed=0)
envs.reset()
envs.step(envs.action_space.sample())
print(time.process_time() - started)
"""


def _start_up() -> list[dict[str, Any]]:
    """CPU seconds until a fresh process has taken a step: kernels compiled, and read from disk."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        seconds = [
            float(
                subprocess.run(
                    [sys.executable, "-c", _FIRST_STEP],
                    env=environment, cwd=Path(__file__).parents[2], check=True,
                    capture_output=True, text=True,
                ).stdout
            )
            for _ in range(2)
        ]  # fmt: skip
    what = "imports, a shop of 100 items, one step"
    return [
        row("first_step_ever", "cpu_seconds", "s", f"{what}; kernels compiled", seconds[:1]),
        row("first_step", "cpu_seconds", "s", f"{what}; kernels from disk", seconds[1:]),
    ]
