"""How a writer writes for the panel of a comparison, and how far it went from SFT."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.algorithms_bench import Bench
from experiments.measure_panel import Said, ask, sampler
from policies.reasoner.backends import transformers_backend
from policies.reasoner.best_of import best_of
from policies.reasoner.config import PpoConfig
from policies.reasoner.generate import load_reasoner
from policies.reasoner.measure import sequence_log_probs
from policies.reasoner.sampling import Sampling

#: SFT texts of which the best is taken.
BEST_OF = 16


@dataclass(frozen=True)
class Written:
    """What a writer wrote for the panel."""

    said: Said
    #: KL from the SFT writer, nats a text; None without a model.
    kl: float | None
    #: CPU seconds that the writing took, models loaded.
    cpu_seconds: float


def by_rules(bench: Bench, seed: int) -> Written:
    """Let the rule-based writer write."""
    judge, started = bench.judge(), time.process_time()
    said = judge.rules(np.random.default_rng(seed))
    return Written(said, None, time.process_time() - started)


def by_sampling(bench: Bench, writer: Path, config: PpoConfig, seed: int) -> Written:
    """Let the writer in a folder sample one text for each row of the panel."""
    write = sampler(*load_reasoner(writer), config, bench.panel.samples)
    started = time.process_time()
    said = ask(write, bench.panel, seed)
    spent = time.process_time() - started
    return Written(said, texts_kl(bench, writer, said.texts, config), spent)


def by_choice(bench: Bench, writer: Path, config: PpoConfig, seed: int) -> Written:
    """Take the best of `BEST_OF` texts of each row, by the reward that the others are trained on.

    Its KL is the most that it can be: log n - (n - 1) / n nats a text (Beirami et al. 2024,
    arXiv:2401.01879, theorem 1).
    """
    panel = bench.panel
    chosen = Sampling(config.max_new_tokens, config.temperature, seed=seed)
    backend = transformers_backend(*load_reasoner(writer), chosen)

    def best(prompts: Sequence[str], segments: NDArray[np.int64]) -> list[str]:
        def reward(rows: NDArray[np.int64], texts: list[str]) -> NDArray[np.float32]:
            return bench.home.score(panel.items[rows], segments[rows], texts).total

        return best_of(backend, reward, prompts, BEST_OF).texts

    started = time.process_time()
    said = Said(best(panel.prompts, panel.segments), best(panel.other_prompts, panel.others))
    spent = time.process_time() - started
    return Written(said, math.log(BEST_OF) - (BEST_OF - 1) / BEST_OF, spent)


def texts_kl(bench: Bench, writer: Path, texts: Sequence[str], config: PpoConfig) -> float:
    """KL of the writer that wrote ``texts`` from the SFT writer, in nats a text.

    The mean of log pi(text) - log pi_sft(text) over the writer's own texts for the panel, both at
    the sampling temperature: unbiased.
    """
    after, before = (
        sequence_log_probs(
            *load_reasoner(folder), bench.panel.prompts, texts, temperature=config.temperature
        )
        for folder in (writer, bench.sft)
    )
    return float((after - before).mean())
