"""Stages that write for the shop: PPO and the reason books."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.assemble import Shop
from envs.store import load_shop
from envs.world import World
from experiments.config import Config
from experiments.measure_panel import Panel, draw_panel
from experiments.measure_ppo import measure_ppo
from experiments.rounds_ranker import current_ranker
from experiments.shop_reward import shop_reward
from experiments.shop_training import references, train_in_shop, training_rows
from experiments.stages import StageContext
from experiments.steps_sft import make_corpus as make_corpus
from experiments.steps_sft import run_sft as run_sft
from policies.baselines import similarity_policy
from policies.reasoner.backends import TextBackend, transformers_backend
from policies.reasoner.book import save_book, write_book
from policies.reasoner.generate import load_reasoner
from policies.reasoner.resume import write_in_chunks
from policies.reasoner.sampling import Sampling
from rewards.claims import ClaimChecker
from rewards.mix import RewardMix
from sft.corpus import Corpus
from sft.ranks import on_main

#: Batches of reasons in a chunk: what a kill loses at most.
_BATCHES = 4


def held_out_panel(config: Config, shop: Shop, corpus: Corpus, rng: np.random.Generator) -> Panel:
    """Draw (item, segment) pairs of held-out items."""
    return draw_panel(config.measure, shop.visitors, corpus.held_items, rng)


def make_reward(config: Config, shop: Shop, world: World, seed: int) -> RewardMix:
    """Ask the shop what reasons are worth where the similarity ranker puts the items."""
    checker = ClaimChecker(shop.visitors.catalogue)
    return shop_reward(world, similarity_policy(), checker, config.reward, seed)


def run_ppo(context: StageContext) -> dict[str, Any]:
    """Optimise the SFT writer against the shop, then measure both on held-out items."""
    config: Config = context.config
    shop = load_shop(context.inputs["catalogue"], context.inputs["similarity"])
    visitors = shop.visitors
    corpus = make_corpus(config, visitors.catalogue, visitors.profiles)
    checker = ClaimChecker(visitors.catalogue)
    world, policy = current_ranker(context, shop)
    mix = shop_reward(world, policy, checker, config.reward, context.seed, references(corpus))
    rows = training_rows(visitors, corpus, np.random.default_rng(context.seed))
    trained = train_in_shop(context, context.inputs["sft"], rows, mix, config.ppo)
    rng = np.random.default_rng([config.seed, 2])
    panel = held_out_panel(config, shop, corpus, rng)
    measured = on_main(lambda: measure_ppo(context, shop, mix, panel, rng))
    return {"training": trained, **measured}


def run_reasons(context: StageContext) -> dict[str, Any]:
    """Write the books of both writers for every item that a pool can show."""
    config: Config = context.config
    shop = load_shop(context.inputs["catalogue"], context.inputs["similarity"])
    visitors = shop.visitors
    checker = ClaimChecker(visitors.catalogue)
    items = np.unique(shop.pools.items).astype(np.int64)
    metrics: dict[str, Any] = {"items": len(items)}
    sampling = Sampling(
        config.ppo.max_new_tokens, temperature=config.book.temperature, seed=context.seed
    )
    for turn, name in enumerate(("sft", "ppo")):
        backend = transformers_backend(
            *load_reasoner(context.inputs[name]), sampling, config.book.batch_size
        )

        def write(prompts: list[str], backend: TextBackend = backend, turn: int = turn,
                  name: str = name) -> list[str]:  # fmt: skip
            def chunk(rows: range) -> list[str]:
                return [one[0] for one in backend(prompts[rows.start : rows.stop], rows)]

            return write_in_chunks(
                context.work / f"{name}.jsonl", name, len(prompts),
                _BATCHES * config.book.batch_size, chunk,
                lambda done, total, figures: context.progress(
                    turn * total + done, 2 * total, figures
                ),
            )  # fmt: skip

        rng = np.random.default_rng(context.seed)
        book, counts = write_book(visitors.catalogue, visitors.profiles, checker, write, items, rng)
        save_book(book, context.out / f"{name}.parquet")
        metrics[name] = counts
        context.say(f"{name}: {counts['texts']:,} reasons, {counts['fallbacks']:,} by the fallback")
    return metrics
