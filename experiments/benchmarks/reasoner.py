"""Seconds of a PPO cycle and where they go, on the default shop's model size."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from envs.assemble import open_shop, synthetic_visitors
from envs.behaviour import ShopConfig
from envs.files import read_json
from envs.shoppers import ShopperConfig
from envs.similarity import SimilarityConfig
from envs.synthetic import SyntheticConfig
from experiments.benchmarks.timing import row
from policies.reasoner.config import PpoConfig
from policies.reasoner.train import train_ppo
from rewards.claims import ClaimChecker
from rewards.clicks import ClickReward, ClickRewardConfig
from rewards.mix import RewardConfig, RewardMix
from sft.corpus import CorpusConfig, build_corpus
from sft.train import Pair, SftConfig, train_sft

#: Parts that the trainer times; what is left of its steps is the update (loss and gradient).
PARTS = ("generate", "reward", "logprobs", "reference", "critic")
#: Updates of a short SFT: few, but then texts end about where they end in the real thing.
_SFT = SftConfig(base_steps=60, adapter_steps=4, evaluations=1)
_PAIRS = 2_048


def measure(repeats: int) -> list[dict[str, Any]]:
    """Train ``repeats`` cycles with the default settings; one before them is not counted."""
    rng = np.random.default_rng(0)
    visitors = synthetic_visitors(SyntheticConfig(), ShopperConfig(), rng)
    world = open_shop(visitors, SimilarityConfig(), rng).world(ShopConfig())
    clicks = ClickReward(world, ClickRewardConfig(), np.ones(len(world.quality), np.float32), rng)
    mix = RewardMix(ClaimChecker(visitors.catalogue), clicks, RewardConfig(), 1.0)
    corpus = build_corpus(visitors.catalogue, visitors.profiles, CorpusConfig(pairs=_PAIRS), rng)
    train, held = (
        [Pair(one.prompt, one.completion) for one in part] for part in (corpus.train, corpus.held)
    )
    rows = [{"prompt": p.prompt, "item": p.item, "segment": p.segment} for p in corpus.train]

    def reward(_: list[str], texts: list[str], columns: dict[str, list[Any]]) -> Any:
        return mix.score(columns["item"], columns["segment"], texts).total

    config = PpoConfig(cycles=repeats + 1, checkpoint_every=repeats + 2)
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train_sft(train, held, _SFT, folder / "sft", folder / "sft-work", seed=0)
        train_ppo(
            folder / "sft", rows, reward, config, folder / "out", folder / "work", seed=0,
            progress=lambda done, total, figures: ends.append(time.perf_counter()),
        )  # fmt: skip
        curve = read_json(folder / "out" / "curve.json")[1:]
    length = np.mean([figures["length"] for figures in curve])
    described = f"{config.completions} completions of {length:.0f} tokens, nano model"
    seconds = _by_part(curve, np.diff(ends))
    return [
        row(part, "seconds_per_cycle", "s", described, values) for part, values in seconds.items()
    ]


def _by_part(curve: list[dict[str, float]], walls: np.ndarray) -> dict[str, list[float]]:
    """Return the seconds of each part in each cycle; ``walls (cycles,)`` are whole cycles."""
    seconds = {part: [one[f"seconds_{part}"] for one in curve] for part in PARTS}
    steps = np.array([one["seconds"] for one in curve])
    update = steps - np.sum(list(seconds.values()), axis=0)
    # Outside the steps: the optimiser's own work, fetching prompts, logs.
    rest = np.maximum(walls - steps, 0)
    return {"total": walls.tolist(), **seconds, "update": update.tolist(), "rest": rest.tolist()}
