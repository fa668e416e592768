"""Stages that rank and judge: ranker, simulation, off-policy evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from envs.assemble import Shop
from envs.errors import UserError
from envs.feedback import write_feedback
from envs.files import write_json
from envs.shop import ShopVectorEnv
from envs.store import load_shop
from envs.world import World
from experiments.config import Config, OpeConfig
from experiments.measure_order import measure_order
from experiments.ope.evaluate import Estimate
from experiments.ope.evaluate import evaluate as estimate
from experiments.ope.models import fit_slate_model
from experiments.ope.shop_log import Logits, ShopLog, log_sessions
from experiments.ope.shop_logs import similarity_logits
from experiments.rankers_intervals import share_of_gap
from experiments.shelves import shelves
from experiments.simulate import (
    TRAINING_SEEDS,
    Contestant,
    Evaluation,
    Figure,
    evaluate,
    interval,
    search_mix,
    search_stay,
)
from experiments.stages import StageContext
from experiments.trained_baselines import Trained, Training, train_baseline
from policies.baselines import (
    SlatePolicy,
    mix_policy,
    oracle_policy,
    popularity_policy,
    random_policy,
    ranker_policy,
    scorer_logits,
    similarity_policy,
)
from policies.constraints import ConstraintsConfig, constrained
from policies.linear_scores import save_linear
from policies.oracles import myopic_policy
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

    def under(self, config: ConstraintsConfig) -> Opened:
        """Return the same where every slate keeps rules."""
        catalogue = self.shop.visitors.catalogue
        world, bare = (constrained(w, catalogue, config) for w in (self.world, self.bare))
        return replace(self, world=world, bare=bare)


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


#: Baselines that learn, or are searched for, and take part in the comparison. Thompson sampling is
#: left to `shelftalk simulate`: frozen, it is another LinUCB.
LEARNED = ("mmr", "linucb", "click_regression")


def learned_baselines(opened: Opened, context: StageContext) -> dict[str, Trained]:
    """Train `LEARNED` on training sessions; one that cannot be learned is left out with a warning.

    What is linear is kept as NAME.json.
    """
    found = {}
    training = Training(opened.shop, opened.world, context.config, context.seed, context.progress)
    for name in LEARNED:
        context.say(f"training the baseline {name}")
        try:
            found[name] = train_baseline(name, training)
        except UserError as error:  # a tiny shop's log may hold no click
            context.warn(f"left out of the comparison: {error}")
            continue
        linear = found[name].linear
        if linear is not None:
            save_linear(linear, context.out / f"{name}.json")
    return found


def contestants(
    opened: Opened,
    scorer: SlateScorer,
    learned: Sequence[SlatePolicy],
    config: Config,
    rng: np.random.Generator,
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
                *learned,
                ranker,
                myopic_policy(),
                oracle_policy(stay),
            )
        ),
    ]


#: Pairs whose differences are reported: a minus b.
PAIRS = (
    ("ranker", "similarity"),
    ("ranker", "best_mix"),
    ("ranker", "mmr"),
    ("ranker", "linucb"),
    ("ranker", "click_regression"),
    ("ranker", "popularity"),
    ("ranker", "random"),
    ("myopic", "ranker"),
    ("oracle", "ranker"),
    ("similarity", "similarity+sft"),
    ("ranker", "ranker+sft"),
    ("ranker+sft", "similarity+sft"),
    ("similarity+sft", "similarity+none"),
    ("ranker", "similarity+none"),
)
#: Policies that look at hidden state: the best of all others is news.
ANCHORS = ("myopic", "oracle")


def run_simulate(context: StageContext) -> dict[str, Any]:
    """Play every policy on the same sessions."""
    config: Config = context.config
    opened = open_books(context).under(config.constraints)
    scorer = load_scorer(context.inputs["rank"] / "scorer")
    learned = learned_baselines(opened, context)
    rng = np.random.default_rng(context.seed)
    context.say("searching the best fixed mix and the oracle's horizon on training sessions")
    field = contestants(opened, scorer, [one.policy for one in learned.values()], config, rng)
    seeds = range(config.seed, config.seed + config.simulate.sessions)
    found = evaluate(field, seeds, progress=context.progress)
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
    context.say("asking whether reasons name what put their items there")
    sides = {
        f"{policy.name}+{name}": (opened.with_book(name), policy, opened.books[name])
        for policy in (similarity_policy(), ranker_policy(scorer))
        for name in ("sft", "ppo")
    }
    return {
        "sessions": config.simulate.sessions,
        **_judged(found, context),
        "baselines": {name: one.figures for name, one in learned.items()},
        "order": measure_order(opened.shop, sides, seed=config.seed),
    }


def _judged(found: Evaluation, context: StageContext) -> dict[str, Any]:
    """Return figures, differences and shares of the ways to the anchors; warn where they say so."""
    figures = found.figures()
    pairs = found.paired([pair for pair in PAIRS if set(pair) <= found.played.keys()])
    means = {name: figure["return"]["mean"] for name, figure in figures.items()}
    for name, other in (("similarity", "similarity+ppo"), ("ranker", "ranker+ppo")):
        figures[other] = figures[name]
    for pair in pairs:
        if pair["metric"] != "return" or pair["a"] != "ranker":
            continue
        if float(pair["high"]) < 0:
            context.warn(f"{pair['b']} beats the ranker: the interval lies below 0")
        elif float(pair["low"]) <= 0:
            context.warn(f"the interval of ranker minus {pair['b']} covers 0: no difference shown")
    best = max(means, key=lambda name: means[name])
    if best not in ANCHORS:
        context.warn(f"{best} beats the oracle, which looks one page ahead only")
    span = means["oracle"] - means["similarity"]
    return {
        "policies": figures,
        "paired": pairs,
        "share_of_oracle": (means["ranker"] - means["similarity"]) / span if span > 0 else None,
        "share_of_myopic": share_of_way(found, "similarity", "ranker", "myopic"),
    }


def share_of_way(found: Evaluation, start: str, reached: str, end: str) -> Figure | None:
    """Return how much of the return from start to end was gone, with its paired interval.

    None where the way is not surely longer than nothing.
    """
    first, here, last = (found.played[name].reward for name in (start, reached, end))
    share = share_of_gap(first, here[None], last)
    if share is None:
        return None
    return {"mean": share.value, "low": share.both[0], "high": share.both[1]}


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
    return frame, estimate(frame, list(config.estimators), rng=rng)


def run_ope(context: StageContext) -> dict[str, Any]:
    """Log sessions under a stochastic policy, estimate the ranker's value, and ask the shop."""
    config: Config = context.config
    opened = open_books(context).under(config.constraints)
    scorer = load_scorer(context.inputs["rank"] / "scorer")
    visitors = opened.shop.visitors
    context.say(f"logging {config.ope.sessions:,} sessions under sampled similarity slates")
    log = log_sessions(
        opened.world,
        similarity_logits(config.ope.logging_weight),
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
