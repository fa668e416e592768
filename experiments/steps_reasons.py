"""Stages that write: SFT, PPO and the reason books."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.assemble import Shop
from envs.files import write_json
from envs.store import load_shop, load_visitors
from envs.world import World
from experiments.config import Config
from experiments.simulate import examination_under, interval
from experiments.stages import StageContext
from policies.baselines import similarity_policy
from policies.reasoner.book import prompts_for, save_book, write_book
from policies.reasoner.fallback import fallback_reason
from policies.reasoner.generate import generate, load_reasoner
from policies.reasoner.measure import sequence_log_probs
from policies.reasoner.train import train_ppo
from rewards.claims import ClaimChecker, claim_precision
from rewards.clicks import ClickReward
from rewards.mix import RewardMix, Scored, uplift_spread
from rewards.words import tokens
from sft.corpus import Corpus, ReasonPair, build_corpus
from sft.corpus_split import TaskPair
from sft.metrics.variety import distinct
from sft.tasks import item_briefs, segment_likes
from sft.train import Pair, train_sft

#: Sessions that show where the present ranker puts each item.
_PLACEMENT_SESSIONS = 1_000
#: Samples shown in the report.
_SHOWN = 20


def make_corpus(config: Config, shop_catalogue: Any, profiles: Any) -> Corpus:
    """Write the corpus; the same one in every stage that asks, by the run's seed."""
    rng = np.random.default_rng([config.seed, 1])
    return build_corpus(shop_catalogue, profiles, config.corpus, rng)


def _pairs(written: Sequence[ReasonPair] | Sequence[TaskPair]) -> list[Pair]:
    return [Pair(pair.prompt, pair.completion) for pair in written]


def run_sft(context: StageContext) -> dict[str, Any]:
    """Train the base (where it is made on the spot) and its adapter on the corpus."""
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
        adapter_pairs=adapter,
    )  # fmt: skip
    return {
        "base_model": config.sft.base.model,
        "pairs": len(base),
        "pairs_honest": len(adapter),
        **metrics,
    }


@dataclass(frozen=True)
class Panel:
    """Held-out prompts that writers are compared on, each ``samples`` times in a row."""

    items: NDArray[np.int64]
    segments: NDArray[np.int64]
    prompts: list[str]
    samples: int

    def per_prompt(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean over the samples of each prompt, (prompts,)."""
        return values.reshape(-1, self.samples).mean(axis=1).astype(np.float64)


def held_out_panel(config: Config, shop: Shop, corpus: Corpus, rng: np.random.Generator) -> Panel:
    """Draw (item, segment) pairs of held-out items."""
    visitors, samples = shop.visitors, config.measure.samples
    items = np.repeat(rng.choice(corpus.held_items, config.measure.prompts), samples)
    drawn = rng.integers(visitors.profiles.n_segments, size=config.measure.prompts)
    segments = np.repeat(drawn, samples)
    prompts = prompts_for(visitors.catalogue, visitors.profiles, items, segments)
    return Panel(items, segments, prompts, samples)


def make_reward(config: Config, shop: Shop, world: World, seed: int) -> RewardMix:
    """Ask the shop what reasons are worth where the similarity ranker puts the items."""
    rng = np.random.default_rng(seed)
    examination = examination_under(world, similarity_policy(), _PLACEMENT_SESSIONS, seed)
    clicks = ClickReward(world, config.reward.clicks, examination, rng)
    spread = uplift_spread(clicks, world.aspects, len(world.segment_aspects), rng)
    return RewardMix(ClaimChecker(shop.visitors.catalogue), clicks, config.reward, spread)


def run_ppo(context: StageContext) -> dict[str, Any]:
    """Optimise the SFT writer against the shop, then measure both on held-out items."""
    config: Config = context.config
    shop = load_shop(context.inputs["catalogue"], context.inputs["similarity"])
    visitors = shop.visitors
    corpus = make_corpus(config, visitors.catalogue, visitors.profiles)
    mix = make_reward(config, shop, shop.world(config.shop), context.seed)

    # Facts in the order that the book's prompts have: what is trained is what is asked later.
    known = sorted({(pair.item, pair.segment) for pair in corpus.train})
    order = np.random.default_rng(context.seed).permutation(len(known))
    items, segments = np.array(known)[order].T
    prompts = prompts_for(visitors.catalogue, visitors.profiles, items, segments)
    rows = [
        {"prompt": prompt, "item": int(i), "segment": int(s)}
        for prompt, i, s in zip(prompts, items, segments)
    ]

    def uplift_reward(
        _: list[str], completions: list[str], columns: dict[str, list[Any]]
    ) -> NDArray[np.float32]:
        return mix.score(columns["item"], columns["segment"], completions).total

    trained = train_ppo(
        context.inputs["sft"], rows, uplift_reward, config.ppo, context.out, context.work,
        context.seed, context.progress,
    )  # fmt: skip
    panel = held_out_panel(config, shop, corpus, np.random.default_rng([config.seed, 2]))
    return {"training": trained, **_measure(context, shop, mix, panel)}


def _measure(context: StageContext, shop: Shop, mix: RewardMix, panel: Panel) -> dict[str, Any]:
    """Compare fresh samples of SFT and PPO, paired by held-out prompt."""
    config: Config = context.config
    texts, models = {}, {}
    for name, folder in (("sft", context.inputs["sft"]), ("ppo", context.out)):
        context.say(f"writing {len(panel.prompts):,} held-out reasons with {name}")
        models[name] = load_reasoner(folder)
        texts[name] = generate(
            *models[name], panel.prompts, max_new_tokens=config.ppo.max_new_tokens,
            temperature=config.ppo.temperature, seed=context.seed + 1,
        )  # fmt: skip
    before, after = (mix.score(panel.items, panel.segments, texts[n]) for n in ("sft", "ppo"))
    log_ratio = np.subtract(
        *(
            sequence_log_probs(
                *models[name], panel.prompts, texts["ppo"], temperature=config.ppo.temperature
            )
            for name in ("ppo", "sft")
        )
    )

    briefs = item_briefs(shop.visitors.catalogue)
    likes = segment_likes(shop.visitors.catalogue, shop.visitors.profiles)
    rng = np.random.default_rng(context.seed)
    rules = [fallback_reason(briefs[i], likes[s], rng) for i, s in zip(panel.items, panel.segments)]
    by_rule = mix.score(panel.items, panel.segments, rules)
    gain = panel.per_prompt(after.uplift) - panel.per_prompt(before.uplift)
    shown = range(0, min(len(panel.prompts), _SHOWN * panel.samples), panel.samples)
    write_json(
        context.out / "samples.json",
        [
            {
                "title": briefs[panel.items[i]].title,
                "likes": likes[panel.segments[i]],
                "facts": [list(fact) for fact in briefs[panel.items[i]].facts],
                "sft": texts["sft"][i].strip(),
                "ppo": texts["ppo"][i].strip(),
                "fallback": rules[i],
                "sft_reward": float(before.uplift[i]),
                "ppo_reward": float(after.uplift[i]),
                "sft_veto": before.vetoes[i],
                "ppo_veto": after.vetoes[i],
            }
            for i in shown
        ],
    )
    figures = {
        "temperature": config.ppo.temperature,
        "unit": "expected reward per impression, in median margins of the catalogue",
        "prompts": len(panel.prompts) // panel.samples,
        "samples": panel.samples,
        "gain": interval(gain),
        "reward_fallback": float(by_rule.uplift.mean()),
        "kl": float(log_ratio.mean()),
    }
    for when, scored, said in (("before", before, texts["sft"]), ("after", after, texts["ppo"])):
        figures |= {f"{name}_{when}": value for name, value in _quality(scored, said).items()}
    _warn_about(context, figures)
    return figures


def _quality(scored: Scored, texts: Sequence[str]) -> dict[str, float]:
    return {
        "reward": float(scored.uplift.mean()),
        "claim_precision": claim_precision(scored.checked),
        "distinct2": distinct([tokens(text) for text in texts], 2),
        "unique_share": len(set(texts)) / len(texts),
        "veto_rate": float(np.mean([why is not None for why in scored.vetoes])),
        "words": float(np.mean([found.words for found in scored.checked])),
        "claims": float(np.mean([len(found.claims) for found in scored.checked])),
    }


def _warn_about(context: StageContext, figures: dict[str, Any]) -> None:
    """Say in plain words what a reader must not miss."""
    if figures["gain"]["low"] <= 0:
        context.warn("the interval of the PPO gain covers 0: PPO is not shown to help")
    if figures["claim_precision_after"] < 0.98:
        context.warn(
            f"claim precision after PPO is {figures['claim_precision_after']:.3f}, below 0.98; "
            "vetoed reasons are replaced by the fallback"
        )
    if figures["distinct2_after"] < 0.8 * figures["distinct2_before"]:
        context.warn(
            f"variety fell: distinct-2 went from {figures['distinct2_before']:.3f} to "
            f"{figures['distinct2_after']:.3f}"
        )


def run_reasons(context: StageContext) -> dict[str, Any]:
    """Write the books of both writers for every item that a pool can show."""
    config: Config = context.config
    shop = load_shop(context.inputs["catalogue"], context.inputs["similarity"])
    visitors = shop.visitors
    checker = ClaimChecker(visitors.catalogue)
    items = np.unique(shop.pools.items).astype(np.int64)
    metrics: dict[str, Any] = {"items": len(items)}
    for turn, name in enumerate(("sft", "ppo")):
        model, tokenizer = load_reasoner(context.inputs[name])

        def write(prompts: list[str], model: Any = model, tokenizer: Any = tokenizer,
                  turn: int = turn) -> list[str]:  # fmt: skip
            return generate(
                model, tokenizer, prompts,
                max_new_tokens=config.ppo.max_new_tokens,
                temperature=config.book.temperature,
                batch_size=config.book.batch_size,
                seed=context.seed,
                progress=lambda done, total, figures: context.progress(
                    turn * total + done, 2 * total, figures
                ),
            )  # fmt: skip

        rng = np.random.default_rng(context.seed)
        book, counts = write_book(visitors.catalogue, visitors.profiles, checker, write, items, rng)
        save_book(book, context.out / f"{name}.parquet")
        metrics[name] = counts
        context.say(f"{name}: {counts['texts']:,} reasons, {counts['fallbacks']:,} by the fallback")
    return metrics
