"""Speed of the ranker: slates collected, slates learned from, and one page ordered."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from envs.assemble import default_world
from envs.shop import ShopVectorEnv
from envs.similarity import SCORES
from experiments.benchmarks.timing import row
from policies.ranker.config import RankerConfig, ScorerConfig, WarmStartConfig
from policies.ranker.rllib import rllib_config
from policies.ranker.scorer import SlateScorer, recommend
from policies.ranker.shelf import MakeEnv, Shelf, read_shelf
from policies.ranker.train import isolated_randomness, train_ranker

_ITEMS = 1_000
#: The settings that a run has unless its config says otherwise.
# What is measured is PPO; a warm start happens once, before it.
_CONFIG = RankerConfig(
    scorer=ScorerConfig(baseline_features=SCORES), warm_start=WarmStartConfig(slates=0)
)
_CANDIDATES, _SLOTS, _CALLS = 100, 5, 1_000


def measure(repeats: int) -> list[dict[str, Any]]:
    """Both runners, training end to end, and pages of 100 candidates; one torch thread."""
    world = default_world(items=_ITEMS, shoppers=_ITEMS)

    def make_env(count: int, seed: int) -> VectorEnv:
        return ShopVectorEnv(world, count, seed)

    with isolated_randomness(0):
        with closing(make_env(1, 0)) as env:
            shelf = read_shelf(env)
        page = f"{shelf.slots} of {world.config.candidates}"
        return [
            *_sampling("fast runner", _CONFIG, make_env, shelf, page, repeats),
            *_sampling(
                "RLlib's runner",
                _CONFIG.model_copy(update={"fast_runner": False}),
                make_env, shelf, page, repeats,
            ),
            *_training(make_env, page, repeats),
            *_recommending(shelf, repeats),
        ]  # fmt: skip


def _sampling(
    name: str, config: RankerConfig, make_env: MakeEnv, shelf: Shelf, page: str, repeats: int
) -> list[dict[str, Any]]:
    """Steps of sampled slates, episodes included; one call collects one batch."""
    settings = rllib_config(make_env, shelf, config, seed=0)
    runner = settings.env_runner_cls(config=settings)
    marks, steps = [], [0.0]
    try:
        for _ in range(repeats + 2):
            marks.append(_now())
            chunks = runner.sample(num_timesteps=config.batch)
            steps.append(steps[-1] + sum(len(chunk) for chunk in chunks))
    finally:
        runner.stop()
    # The first batch pays for caches and imports.
    what = f"{config.num_envs} envs, {page}"
    return _rates(name, "sample", what, marks[1:], steps[1:-1])


def _training(make_env: MakeEnv, page: str, repeats: int) -> list[dict[str, Any]]:
    """Steps of whole cycles: batches, updates, one evaluation in both ways, one checkpoint."""
    cycle = _CONFIG.eval_every
    config = _CONFIG.model_copy(update={"iterations": cycle * (repeats + 1)})
    ends: list[Mark] = []
    with tempfile.TemporaryDirectory() as work:
        curve = train_ranker(
            make_env, config, Path(work),
            lambda done, total, figures: ends.append(_now()),
        ).curve  # fmt: skip
    steps = [one["env_steps"] or 0.0 for one in curve]
    what = f"{config.scorer.kind}, batches of {config.batch}, {config.epochs} epochs, {page}"
    # The first cycle pays for caches and imports.
    return _rates("ppo", "train", what, ends[cycle::cycle], steps[cycle::cycle])


#: Seconds of the wall clock and of this process's CPU time.
Mark = tuple[float, float]


def _now() -> Mark:
    return time.perf_counter(), time.process_time()


def _rates(
    name: str, verb: str, what: str, marks: list[Mark], steps: list[float]
) -> list[dict[str, Any]]:
    """Steps between neighbouring marks by both clocks; on a busy machine the second one counts."""
    done = np.diff(steps)
    return [
        row(name, f"{verb}_steps_per_{clock}", f"steps/{unit}", what, list(done / took))
        for clock, unit, took in zip(
            ("second", "cpu_second"), ("s", "CPU s"), np.diff(np.array(marks), axis=0).T
        )
    ]


def _recommending(shelf: Shelf, repeats: int) -> list[dict[str, Any]]:
    """Milliseconds to order one page, by kind of scorer."""
    rng = np.random.default_rng(0)
    context = rng.standard_normal((1, len(shelf.context_features)), dtype=np.float32)
    items = rng.standard_normal((1, _CANDIDATES, len(shelf.item_features)), dtype=np.float32)
    mask = np.ones((1, _CANDIDATES), dtype=np.float32)
    rows = []
    for kind in ("deep_sets", "attention", "linear"):
        config = ScorerConfig.model_validate({"kind": kind})
        scorer = SlateScorer(config, shelf.item_features, shelf.context_features).eval()
        timed = [
            _milliseconds(partial(recommend, scorer, context, items, mask, _SLOTS))
            for _ in range(repeats + 1)
        ][1:]
        for metric, share in (("recommend_ms_p50", 50), ("recommend_ms_p99", 99)):
            found = [float(np.percentile(one, share)) for one in timed]
            what = f"{_SLOTS} of {_CANDIDATES}, one page, {_CALLS} calls"
            rows.append(row(kind, metric, "ms", what, found))
    return rows


def _milliseconds(call: Callable[[], Any]) -> np.ndarray:
    """Return how long each of many calls took, ``(calls,)``."""
    took = np.empty(_CALLS)
    for at in range(_CALLS):
        started = time.perf_counter()
        call()
        took[at] = 1000 * (time.perf_counter() - started)
    return took
