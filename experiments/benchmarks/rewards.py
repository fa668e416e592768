"""Speed of the reward: texts checked, guarded and valued."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from envs.assemble import open_shop, synthetic_visitors
from envs.behaviour import ShopConfig
from envs.shoppers import ShopperConfig
from envs.similarity import SimilarityConfig
from envs.synthetic import SyntheticConfig
from experiments.benchmarks.timing import rate
from rewards.claims import ClaimChecker
from rewards.clicks import ClickReward, ClickRewardConfig
from rewards.mix import RewardMix
from rewards.mix_config import RewardConfig
from sft.corpus import CorpusConfig, build_corpus


def measure(repeats: int) -> list[dict[str, Any]]:
    """Reasons of the corpus of the default shop."""
    rng = np.random.default_rng(0)
    visitors = synthetic_visitors(SyntheticConfig(), ShopperConfig(), rng)
    world = open_shop(visitors, SimilarityConfig(), rng).world(ShopConfig())
    clicks = ClickReward(world, ClickRewardConfig(), np.ones(len(world.quality), np.float32), rng)
    mix = RewardMix(ClaimChecker(visitors.catalogue), clicks, RewardConfig(), 1.0)
    pairs = build_corpus(
        visitors.catalogue, visitors.profiles, CorpusConfig(pairs=4_096), rng
    ).train
    items, segments = ([getattr(p, name) for p in pairs] for name in ("item", "segment"))
    texts = [pair.completion for pair in pairs]

    def score() -> int:
        mix.score(items, segments, texts)
        return len(texts)

    clocks = {"reasons_per_second": time.perf_counter, "reasons_per_cpu_second": time.process_time}
    return [
        rate("mix", metric, "reasons/s", "default shop", score, repeats, clock)
        for metric, clock in clocks.items()
    ]
