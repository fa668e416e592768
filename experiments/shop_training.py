"""Reinforcement learning of the SFT writer against the reward of a shop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from envs.assemble import Visitors
from experiments.stages import StageContext
from policies.reasoner.book import prompts_for
from policies.reasoner.config import PpoConfig
from policies.reasoner.train import train_ppo
from rewards.mix import RewardMix, Scored
from sft.corpus import Corpus

#: Prompts that are written for, not learned from, while a training goes on.
WATCHED = 192
#: A prompt with the item and the segment that its reward is asked about.
Row = dict[str, Any]


def training_rows(visitors: Visitors, corpus: Corpus, rng: np.random.Generator) -> list[Row]:
    """Return a row for each (item, segment) of the corpus' training side, in random order.

    Facts stand in the order that the book's prompts have: what is trained is what is asked later.
    """
    known = np.array(sorted({(pair.item, pair.segment) for pair in corpus.train}))
    items, segments = known[rng.permutation(len(known))].T
    prompts = prompts_for(visitors.catalogue, visitors.profiles, items, segments)
    return [
        {"prompt": prompt, "item": int(i), "segment": int(s)}
        for prompt, i, s in zip(prompts, items, segments)
    ]


def references(corpus: Corpus) -> list[tuple[int, str]]:
    """Return item and text of the corpus' reasons, of whose honest ones good wording is learned."""
    return [(pair.item, pair.completion) for pair in corpus.train]


class ShopReward:
    """The shop's reward as the trainer asks for it: it learns from training batches alone."""

    __name__ = "shop"

    def __init__(self, mix: RewardMix) -> None:
        """Wrap ``mix``; what it learns is kept in the trainer's checkpoints."""
        self._mix = mix
        self.state, self.load = mix.state, mix.load

    def __call__(self, _: list[str], texts: list[str], columns: dict[str, list[Any]]) -> Scored:
        """Score texts and remember nothing."""
        return self._mix.score(columns["item"], columns["segment"], texts)

    def learn(self, _: list[str], texts: list[str], columns: dict[str, list[Any]]) -> Scored:
        """Score a batch of the training, and learn from it what good wording is."""
        return self._mix.learn(columns["item"], columns["segment"], texts)


def train_in_shop(
    context: StageContext, sft: Path, rows: Sequence[Row], mix: RewardMix, config: PpoConfig
) -> dict[str, Any]:
    """Train the writer in ``sft`` on the rows; write it to the stage's output.

    The first rows are kept back: on them, and not on the items that measure the result, the policy
    is watched and its best adapter chosen.

    Args:
        context: the stage: where to write, to keep checkpoints and to report, and its seed.
        sft: folder of the SFT writer.
        rows: see `training_rows`.
        mix: the reward.
        config: algorithm and budget.

    Returns:
        The figures of `policies.reasoner.train.train_ppo`.
    """
    kept_back = min(WATCHED, len(rows) // 10)
    trained = train_ppo(
        sft, rows[kept_back:], ShopReward(mix), config, context.out, context.work, context.seed,
        context.progress, held_prompts=rows[:kept_back],
    )  # fmt: skip
    for alarm in trained["alarms"]:
        context.warn(
            f"alarm {alarm['name']} in cycle {alarm['cycle']}: {alarm['value']:.3g} is beyond its "
            f"limit {alarm['limit']:.3g}"
            + (", training was stopped" if alarm["action"] == "stop" else "")
        )
    return trained
