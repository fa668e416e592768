"""Stages that rank and judge: ranker, simulation, off-policy evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from envs.assemble import Shop
from envs.feedback import write_feedback
from envs.files import write_json
from envs.shop import ShopVectorEnv
from envs.similarity import SCORES
from envs.store import load_shop
from envs.world import World
from experiments.config import Config, OpeConfig
from experiments.ope.evaluate import Estimate, evaluate
from experiments.ope.models import fit_slate_model
from experiments.ope.shop_log import Logits, ShopLog, log_sessions
from experiments.shelves import shelves
from experiments.simulate import (
    TRAINING_SEEDS,
    Contestant,
    compare,
    interval,
    search_mix,
    search_stay,
)
from experiments.stages import StageContext
from policies.baselines import (
    mix_policy,
    oracle_policy,
    popularity_policy,
    random_policy,
    ranker_policy,
    scorer_logits,
    similarity_policy,
)
from policies.ranker.scorer import SlateScorer, load_scorer, save_scorer
from policies.ranker.train import train_ranker
from policies.reasoner.book import ReasonBook, load_book
from rewards.claims import ClaimChecker


@dataclass(frozen=True)
class Opened:
    """A shop with both reason books."""

    shop: Shop
    books: dict[str, ReasonBook]
    world: World
    #: The shop without reasons.
    bare: World

    def with_book(self, name: str) -> World:
        """Return the shop that shows the reasons of ``sft`` or ``ppo``."""
        return self.world if name == "ppo" else self.bare.with_reasons(self.books[name].arrays)


def open_books(context: StageContext) -> Opened:
    """Load the shop and the books that the stage names among its inputs."""
    shop = load_shop(context.inputs["catalogue"], context.inputs["similarity"])
    checker = ClaimChecker(shop.visitors.catalogue)
    books = {
        name: load_book(
            context.inputs["reasons"] / f"{name}.parquet",
            shop.visitors.catalogue,
            shop.visitors.profiles.n_segments,
            checker,
        )
        for name in ("sft", "ppo")
    }
    bare = shop.world(context.config.shop)
    return Opened(shop, books, bare.with_reasons(books["ppo"].arrays), bare)


def run_rank(context: StageContext) -> dict[str, Any]:
    """Train the ranker in the shop that shows the PPO reasons."""
    world = open_books(context).world
    result = train_ranker(
        lambda count, seed: ShopVectorEnv(world, count, seed),
        context.config.rank,
        context.work,
        context.progress,
        context.seed,
    )
    save_scorer(result.scorer, context.out / "scorer")
    write_json(context.out / "curve.json", result.curve)
    return {
        "iterations": len(result.curve) - 1,
        "env_steps": result.curve[-1]["env_steps"],
        "return_start": result.curve[0]["return_topk"],
        "return_best": result.best_return,
    }


def contestants(
    opened: Opened, scorer: SlateScorer, config: Config, rng: np.random.Generator
) -> list[Contestant]:
    """Return every policy of the comparison; fixed mix and oracle are searched on training seeds.

    All but the 2x2 and ``similarity+none`` show the PPO reasons, so that only the order differs.
    """
    world, settings = opened.world, config.simulate
    weights = search_mix(
        world, settings.search_mixes, settings.search_sessions, TRAINING_SEEDS, rng
    )
    stay = search_stay(world, settings.search_sessions, TRAINING_SEEDS)
    ranker, similarity = ranker_policy(scorer), similarity_policy()
    return [
        Contestant("similarity+none", similarity, opened.bare),
        Contestant("similarity+sft", similarity, opened.with_book("sft")),
        Contestant("ranker+sft", ranker, opened.with_book("sft")),
        *(
            Contestant(policy.name, policy, world)
            for policy in (
                random_policy(),
                popularity_policy(),
                similarity,
                mix_policy("best_mix", weights),
                ranker,
                oracle_policy(stay),
            )
        ),
    ]


#: Pairs whose differences are reported: a minus b.
PAIRS = (
    ("ranker", "similarity"),
    ("ranker", "best_mix"),
    ("ranker", "popularity"),
    ("ranker", "random"),
    ("oracle", "ranker"),
    ("similarity", "similarity+sft"),
    ("ranker", "ranker+sft"),
    ("ranker+sft", "similarity+sft"),
    ("similarity+sft", "similarity+none"),
    ("ranker", "similarity+none"),
)


def run_simulate(context: StageContext) -> dict[str, Any]:
    """Play every policy on the same sessions."""
    config: Config = context.config
    opened = open_books(context)
    scorer = load_scorer(context.inputs["rank"] / "scorer")
    rng = np.random.default_rng(context.seed)
    context.say("searching the best fixed mix and the oracle's horizon on training sessions")
    field = contestants(opened, scorer, config, rng)
    figures, pairs = compare(field, PAIRS, config.simulate.sessions, config.seed, context.progress)
    write_json(
        context.out / "shelves.json",
        shelves(
            opened.shop,
            (opened.with_book("sft"), similarity_policy(), opened.books["sft"]),
            (opened.world, ranker_policy(scorer), opened.books["ppo"]),
            config.simulate.shelves,
            config.seed,
        ),
    )
    means = {name: figure["return"]["mean"] for name, figure in figures.items()}
    for name, other in (("similarity", "similarity+ppo"), ("ranker", "ranker+ppo")):
        figures[other] = figures[name]
    for pair in pairs:
        if pair["metric"] == "return" and pair["a"] == "ranker" and float(pair["low"]) <= 0:
            context.warn(f"the interval of ranker minus {pair['b']} covers 0: no difference shown")
    best = max(means, key=lambda name: means[name])
    if best != "oracle":
        context.warn(f"{best} beats the oracle, which looks one page ahead only")
    span = means["oracle"] - means["similarity"]
    return {
        "sessions": config.simulate.sessions,
        "policies": figures,
        "paired": pairs,
        "share_of_oracle": (means["ranker"] - means["similarity"]) / span if span > 0 else None,
    }


def _mean_similarity(weight: float) -> Logits:
    def logits(observation: dict[str, np.ndarray]) -> np.ndarray:
        return weight * observation["items"][..., : len(SCORES)].mean(axis=-1)

    return logits


def _ranker_logits(scorer: SlateScorer, spread: float) -> Logits:
    def logits(observation: dict[str, np.ndarray]) -> np.ndarray:
        scores = scorer_logits(scorer, observation)
        return scores * (spread / np.maximum(scores.std(axis=1, keepdims=True), 1e-6))

    return logits


def evaluate_shop_log(
    log: ShopLog, config: OpeConfig, rng: np.random.Generator
) -> tuple[pd.DataFrame, list[Estimate]]:
    """Fit the reward model and estimate the target's value; return the log with both models."""
    predictions = fit_slate_model(
        log.logged_features, log.rewards, log.target_features, log.sessions, rng=rng
    )
    frame = log.frame.assign(**predictions.columns())
    return frame, evaluate(frame, list(config.estimators), rng=rng)


def run_ope(context: StageContext) -> dict[str, Any]:
    """Log sessions under a stochastic policy, estimate the ranker's value, and ask the shop."""
    config: Config = context.config
    opened = open_books(context)
    scorer = load_scorer(context.inputs["rank"] / "scorer")
    visitors = opened.shop.visitors
    context.say(f"logging {config.ope.sessions:,} sessions under sampled similarity slates")
    log = log_sessions(
        opened.world,
        _mean_similarity(config.ope.logging_weight),
        _ranker_logits(scorer, config.ope.target_spread),
        sessions_count=config.ope.sessions,
        model_slates=config.ope.model_slates,
        truth_slates=config.ope.truth_slates,
        item_ids=visitors.catalogue.items["item_id"].tolist(),
        shopper_ids=visitors.profiles.shopper_ids,
        seed=TRAINING_SEEDS // 2 + config.seed,
        logging_name=f"plackett_luce(weight={config.ope.logging_weight:g}) over similarity",
        progress=context.progress,
    )
    context.say("fitting the reward model and estimating")
    frame, estimates = evaluate_shop_log(log, config.ope, np.random.default_rng(context.seed))
    write_feedback(frame, context.out / "log.parquet")
    truth = interval(log.truth)
    trusted = next((e for e in estimates if e.estimator == "DR"), estimates[-1])
    verdict = _verdict(trusted, truth["mean"])
    if not trusted.conclusive or not trusted.low <= truth["mean"] <= trusted.high:
        context.warn(verdict)
    return {
        "logging": "Plackett-Luce over the equal-weight similarity",
        "target": f"the trained ranker, sampled with scores of spread {config.ope.target_spread:g}",
        "slates": len(log.truth),
        "truth": truth["mean"],
        "truth_low": truth["low"],
        "truth_high": truth["high"],
        "logging_value": float(log.logging_truth.mean()),
        "estimates": [estimate.as_dict() for estimate in estimates],
        "verdict": verdict,
    }


def _verdict(estimate: Estimate, truth: float) -> str:
    said = (
        f"{estimate.estimator} says {estimate.value:.4f} (95 % {estimate.low:.4f} to "
        f"{estimate.high:.4f}); the true value is {truth:.4f}"
    )
    if not estimate.conclusive:
        return f"{said}. {estimate.warnings[0]}"
    if estimate.low <= truth <= estimate.high:
        return f"{said}, inside the interval"
    return (
        f"{said}, OUTSIDE the interval: one interval in twenty misses even when all is well; "
        "otherwise weights are heavy-tailed or the reward model is biased"
    )
