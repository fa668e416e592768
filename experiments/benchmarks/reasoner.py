"""Seconds of the PPO stage: of a cycle and where they go, and of measuring what came of it.

On the default shop, with a model of its size. CPU seconds stand beside those of the clock, since
the latter mean little on a busy machine.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from envs.assemble import Shop, open_shop, synthetic_visitors
from envs.behaviour import ShopConfig
from envs.files import read_json
from envs.progress import silent
from envs.shoppers import ShopperConfig
from envs.similarity import SimilarityConfig
from envs.synthetic import SyntheticConfig
from experiments.benchmarks.timing import row
from experiments.config import Config
from experiments.measure_panel import draw_panel
from experiments.measure_ppo import BEST_OF, measure_ppo
from experiments.stages import StageContext
from policies.reasoner.config import PpoConfig
from policies.reasoner.train import train_ppo
from rewards.claims import ClaimChecker
from rewards.clicks import ClickReward, ClickRewardConfig
from rewards.mix import RewardMix
from rewards.mix_config import RewardConfig
from sft.corpus import Corpus, CorpusConfig, build_corpus
from sft.train import Pair, train_sft
from sft.train_config import SftConfig

#: Parts that the trainer times; what is left of its steps is the update (loss and gradient). The
#: policy knows the log-probs of what it writes: they are read anew only where vLLM writes.
PARTS = ("generate", "reward", "logprobs", "reference", "critic")
#: Updates of a short SFT: few, but then texts end about where they end in the real thing.
_SFT = SftConfig(base_steps=60, adapter_steps=4, evaluations=1)
_PAIRS = 2_048


def measure(repeats: int) -> list[dict[str, Any]]:
    """Train ``repeats`` cycles with the default settings; one before them is not counted.

    Then measure the result as the stage does, once.
    """
    rng = np.random.default_rng(0)
    visitors = synthetic_visitors(SyntheticConfig(), ShopperConfig(), rng)
    shop = open_shop(visitors, SimilarityConfig(), rng)
    world = shop.world(ShopConfig())
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
    ends: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train_sft(train, held, _SFT, folder / "sft", folder / "sft-work", seed=0)
        train_ppo(
            folder / "sft", rows, reward, config, folder / "out", folder / "work", seed=0,
            progress=lambda done, total, figures: ends.append(_clocks()),
        )  # fmt: skip
        curve = read_json(folder / "out" / "curve.json")[1:]
        started = _clocks()
        described_panel = _measure_result(folder, shop, mix, corpus)
        measuring = np.subtract(_clocks(), started)
    length = np.mean([figures["length"] for figures in curve])
    described = f"{config.completions} completions of {length:.0f} tokens, nano model"
    walls, cpu = np.diff(ends, axis=0).T
    return [
        *(
            row(part, "seconds_per_cycle", "s", described, values)
            for part, values in _by_part(curve, walls).items()
        ),
        row("total", "cpu_seconds_per_cycle", "s", described, cpu.tolist()),
        row("measuring", "seconds", "s", described_panel, [float(measuring[0])]),
        row("measuring", "cpu_seconds", "s", described_panel, [float(measuring[1])]),
    ]


def _clocks() -> tuple[float, float]:
    """Return the seconds of the clock and those of this process."""
    return time.perf_counter(), time.process_time()


def _measure_result(folder: Path, shop: Shop, mix: RewardMix, corpus: Corpus) -> str:
    """Measure the writer in ``folder`` as the PPO stage does; return what was written for it."""
    config, rng = Config(name="bench"), np.random.default_rng(1)
    panel = draw_panel(config.measure, shop.visitors, corpus.held_items, rng)

    def nothing(_: str) -> None:
        """Say nothing."""

    context = StageContext(
        config=config, out=folder / "out", work=folder / "work", inputs={"sft": folder / "sft"},
        metrics_of=lambda _: {}, seed=0, progress=silent, say=nothing, warn=nothing,
    )  # fmt: skip
    measure_ppo(context, shop, mix, panel, rng)
    return f"{panel.count} prompts, {panel.samples} samples, best of {BEST_OF}, held-out shops"


def _by_part(curve: list[dict[str, float]], walls: np.ndarray) -> dict[str, list[float]]:
    """Return the seconds of each part in each cycle; ``walls (cycles,)`` are whole cycles."""
    seconds = {part: [one.get(f"seconds_{part}", 0.0) for one in curve] for part in PARTS}
    steps = np.array([one["seconds"] for one in curve])
    update = steps - np.sum(list(seconds.values()), axis=0)
    # Outside the steps: the optimiser's own work, fetching prompts, logs.
    rest = np.maximum(walls - steps, 0)
    return {"total": walls.tolist(), **seconds, "update": update.tolist(), "rest": rest.tolist()}
