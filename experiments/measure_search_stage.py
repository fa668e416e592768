"""Relevance and revenue of rankers in search, side by side: the stage `search`.

Relevance is NDCG on the judged products (`experiments.measure_search`): each ranker orders them as
the first page of a search by shoppers drawn from the shop, and the mean over these shoppers is the
figure of a query. Revenue is what sessions of nothing but searches come to in the simulated shop,
where every ranker meets the same shoppers, queries and coin flips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from envs.clicks import ClickModel
from envs.observation import context_features, item_features
from envs.progress import Progress, silent
from envs.relevance import QUERY_SCORES
from envs.sessions import SessionState
from envs.similarity import SCENES, SCORES, ItemIndex
from envs.store import load_shop
from envs.world import World
from experiments.measure_search import (
    AT_LEAST,
    CUTOFF,
    FOLDS,
    JudgedQuery,
    best_mix,
    fold_of,
    judged_queries,
    ndcg,
    relevance,
    six_scores,
    tried_mixes,
)
from experiments.simulate import METRICS, Contestant, evaluate
from experiments.stages import StageContext
from policies.baselines import (
    Page,
    SlatePolicy,
    mix_policy,
    random_policy,
    ranker_policy,
    similarity_policy,
)
from policies.ranker.scorer import load_scorer
from policies.reasoner.book import load_book
from rewards.claims import ClaimChecker

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Shoppers that each judged query is asked by.
SHOPPERS = 32
#: Sessions of searches that every ranker serves.
SESSIONS = 2_000
#: Random fixed mixes that are tried.
MIXES = 300
#: Weights of how well an item matches the query, beside the trained ranker's own score.
MATCHING = (0.5, 1.0, 2.0)


def search_page(world: World, query: JudgedQuery, scores: F32, shoppers: I64) -> Page:
    """Return the first page of a search by S shoppers whose n candidates are the judged products.

    ``scores`` is (n, 6), ``shoppers`` (S,). Only the observation is there: a policy that reads
    hidden state has no place here.
    """
    count, n = len(shoppers), len(query.items)
    nothing = np.zeros(count, dtype=np.float32)
    no_class = np.zeros((count, world.n_classes), dtype=np.float32)
    level = world.price_level[shoppers]
    items = item_features(
        world.facts, np.tile(query.items, (count, 1)), np.tile(scores, (count, 1, 1)),
        world.segment[shoppers], level, exposure=no_class, clicked=no_class,
        likes=world.likes, shopper=shoppers,
    )  # fmt: skip
    # Nothing has been counted on a first page, so the units of the counts do not matter.
    context = context_features(
        np.full(count, SCENES.index("search")), nothing, nothing, nothing, nothing, level,
        slots=1, max_pages=1,
    )  # fmt: skip
    mask = np.ones((count, n), dtype=np.float32)
    observation = {"context": context, "items": items, "mask": mask}
    return Page(observation, world, cast(SessionState, None), cast(ClickModel, None))


def matching(policy: SlatePolicy, weight: float) -> SlatePolicy:
    """Return a policy that leans on how well items match the query: what relevance costs.

    Its score is z(policy) + weight z(match), each standardised over the available candidates of a
    page; match is the mean of the text, graph and scene scores.
    """

    def score(page: Page) -> F32:
        mask = page.observation["mask"]
        match = page.observation["items"][..., list(QUERY_SCORES)].mean(axis=-1)
        return _standard(policy.score(page), mask) + weight * _standard(match, mask)

    return SlatePolicy(f"{policy.name}+{weight:g}*match", score)


def _standard(values: F32, mask: F32) -> F32:
    """Mean 0 and deviation 1 over the candidates of ``mask`` in each row, 0 elsewhere, (B, N)."""
    there = mask > 0
    count = np.maximum(there.sum(axis=1, keepdims=True), 1)
    values = np.where(there, values, 0)
    apart = np.where(there, values - values.sum(axis=1, keepdims=True) / count, 0)
    deviation = np.sqrt((apart**2).sum(axis=1, keepdims=True) / count)
    return (apart / np.maximum(deviation, 1e-6)).astype(np.float32)


def policy_ndcg(
    policy: SlatePolicy, world: World, judged: Sequence[JudgedQuery], tables: Sequence[F32],
    shoppers: I64,
) -> F64:  # fmt: skip
    """NDCG of each query, the mean over the shoppers who ask it, (Q,) float64."""
    found = [
        ndcg(policy.score(search_page(world, query, table, shoppers)), query.ratings).mean()
        for query, table in zip(judged, tables)
    ]
    return np.array(found)


def search_only(world: World) -> World:
    """Return the same shop where every page answers a query."""
    always = {"start_home": 0.0, "start_search": 1.0, "follow_click": 0.0}
    return world.with_config(world.config.model_copy(update=always))


def measure_search(
    world: World,
    index: ItemIndex,
    judged: Sequence[JudgedQuery],
    policies: Sequence[SlatePolicy],
    *,
    sessions: int,
    seed: int,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Return relevance and revenue of each single score, their best mix, and ``policies``.

    Args:
        world: the shop, with the reasons that rankers read.
        index: what the scores of its queries are computed from.
        judged: `FOLDS` queries at least.
        policies: rankers that look at the observation alone.
        sessions: search sessions that each serves, 2 at least.
        seed: of the shoppers, the mixes, the resamples and the sessions.
        progress: told after each batch of sessions.

    Returns:
        ``rankers``: name -> metric -> {mean, low, high}; ``paired``: differences from the
        equal-weight mean, and of the last policy from all others; ``mix``: the best weights.
    """
    rng = np.random.default_rng(seed)
    shoppers = rng.integers(world.n_shoppers, size=SHOPPERS)
    tables = six_scores(index, judged)
    mix = best_mix(tables, judged, tried_mixes(MIXES, rng), fold_of(len(judged), rng))
    singles = [mix_policy(name, row) for name, row in zip(SCORES, np.eye(6, dtype=np.float32))]
    ordering = [*singles, similarity_policy(), *policies]
    by_ranker = {p.name: policy_ndcg(p, world, judged, tables, shoppers) for p in ordering}
    by_ranker["best_mix"] = mix.crossed
    # A random order is one big tie.
    by_ranker["random"] = np.array(
        [ndcg(np.zeros((1, len(q.items))), q.ratings)[0] for q in judged]
    )
    relevant = relevance(by_ranker, rng)
    field = [*ordering, mix_policy("best_mix", mix.weights), random_policy()]
    searching = search_only(world)
    earned = evaluate(
        [Contestant(policy.name, policy, searching) for policy in field],
        range(seed, seed + sessions),
        progress=progress,
    )
    pairs = _pairs(list(by_ranker), ordering[-1].name)
    figures, revenue = relevant.figures(), earned.figures()
    return {
        "rankers": {
            name: {"ndcg": figures[name]} | {metric: revenue[name][metric] for metric in METRICS}
            for name in by_ranker
        },
        "paired": [*relevant.paired(pairs), *earned.paired(pairs)],
        "mix": dict(zip(SCORES, mix.weights.tolist())),
    }


def _pairs(names: Sequence[str], last: str) -> list[tuple[str, str]]:
    """Each ranker against the equal-weight mean, and the last one against each other."""
    base = "similarity"
    against_base = [(name, base) for name in names if name != base]
    return against_base + [(last, name) for name in names if name not in (last, base)]


def table_lines(found: dict[str, Any]) -> list[str]:
    """Return relevance and revenue of each ranker as lines for a person, best relevance first."""
    rankers = found["rankers"]
    order = sorted(rankers, key=lambda name: -rankers[name]["ndcg"]["mean"])
    lines = [f"{'ranker':<18} NDCG@{CUTOFF} (95 %)          return of a search session (95 %)"]
    for name in order:
        parts = (rankers[name]["ndcg"], rankers[name]["return"])
        cells = (f"{p['mean']:.3f} ({p['low']:.3f} to {p['high']:.3f})" for p in parts)
        lines.append(f"{name:<18} " + "   ".join(cells))
    return lines


def run_search(context: StageContext) -> dict[str, Any]:
    """Measure the trained ranker's relevance and revenue in search, where people judged some."""
    shop = load_shop(context.inputs["catalogue"], context.inputs["similarity"])
    catalogue = shop.visitors.catalogue
    judged, left_out = judged_queries(catalogue)
    about = {"queries": len(judged), "left_out": left_out, "cutoff": CUTOFF}
    if len(judged) < FOLDS:
        context.say(
            f"{len(judged)} queries have {AT_LEAST} judged products or more: no relevance measured"
        )
        return about
    book = load_book(
        context.inputs["reasons"] / "ppo.parquet", catalogue,
        shop.visitors.profiles.n_segments, ClaimChecker(catalogue),
    )  # fmt: skip
    world = shop.world(context.config.shop).with_reasons(book.arrays)
    ranker = ranker_policy(load_scorer(context.inputs["rank"] / "scorer"))
    found = measure_search(
        world, shop.index, judged, [*(matching(ranker, w) for w in MATCHING), ranker],
        sessions=SESSIONS, seed=context.seed, progress=context.progress,
    )  # fmt: skip
    for line in table_lines(found):
        context.say(line)
    return {**about, "products": sum(len(query.items) for query in judged), **found}
