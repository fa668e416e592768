"""Who orders the items when a round's reasons are trained."""

from __future__ import annotations

from envs.assemble import Shop
from envs.world import World
from experiments.stages import StageContext
from policies.baselines import SlatePolicy, ranker_policy, similarity_policy
from policies.ranker.scorer import load_scorer
from policies.reasoner.book import load_book
from rewards.claims import ClaimChecker


def current_ranker(context: StageContext, shop: Shop) -> tuple[World, SlatePolicy]:
    """Return the shop as it is now, and who orders its pages.

    That is similarity, without reasons; for a stage that has ``rank`` and ``reasons`` among its
    inputs, that ranker, beside the reasons that PPO wrote.
    """
    bare = shop.world(context.config.shop)
    if "rank" not in context.inputs:
        return bare, similarity_policy()
    visitors = shop.visitors
    book = load_book(
        context.inputs["reasons"] / "ppo.parquet",
        visitors.catalogue,
        visitors.profiles.n_segments,
        ClaimChecker(visitors.catalogue),
    )
    scorer = load_scorer(context.inputs["rank"] / "scorer")
    return bare.with_reasons(book.arrays), ranker_policy(scorer)
