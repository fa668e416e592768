"""The SFT stage: the corpus, the training, and what the writer is like before any reinforcement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from envs.store import load_visitors
from experiments.config import Config
from experiments.measure_sft import measure_sft
from experiments.stages import StageContext
from rewards.claims import ClaimChecker
from sft.corpus import Corpus, ReasonPair, build_corpus
from sft.corpus_split import TaskPair
from sft.ranks import on_main
from sft.train import Pair, train_sft


def make_corpus(config: Config, shop_catalogue: Any, profiles: Any) -> Corpus:
    """Write the corpus; the same one in every stage that asks, by the run's seed."""
    rng = np.random.default_rng([config.seed, 1])
    return build_corpus(shop_catalogue, profiles, config.corpus, rng)


def _pairs(written: Sequence[ReasonPair] | Sequence[TaskPair]) -> list[Pair]:
    return [Pair(pair.prompt, pair.completion) for pair in written]


def run_sft(context: StageContext) -> dict[str, Any]:
    """Train the base (where it is made on the spot) and its adapter on the corpus; measure them."""
    config: Config = context.config
    visitors = load_visitors(context.inputs["catalogue"])
    corpus = make_corpus(config, visitors.catalogue, visitors.profiles)
    checker = ClaimChecker(visitors.catalogue)
    honest = [p for p in corpus.train if not checker.check(p.item, p.completion).unsupported]
    more = corpus.more
    base = _pairs(corpus.train) + _pairs(corpus.made_up) + _pairs(more.train)
    adapter = _pairs(honest) + _pairs(more.train)
    held = _pairs(corpus.held) + _pairs(more.held)
    if more.held:
        # The first of them are measured during training: all tasks in their shares.
        order = np.random.default_rng([config.seed, 3]).permutation(len(held))
        held = [held[i] for i in order]
    metrics = train_sft(
        base, held, config.sft, context.out, context.work, context.seed, context.progress,
        adapter_pairs=adapter, warn=context.warn,
    )  # fmt: skip
    return {
        "base_model": config.sft.base.model,
        "pairs": len(base),
        "pairs_honest": len(adapter),
        **metrics,
        **on_main(lambda: measure_sft(context, visitors, checker, corpus)),
    }
