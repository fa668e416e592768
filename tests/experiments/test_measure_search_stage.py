"""Relevance and revenue side by side; a ranker sees a judged query as the shop shows it."""

from __future__ import annotations

import numpy as np
import pytest

from envs import sessions
from envs.behaviour import ShopConfig
from envs.shop import ShopVectorEnv
from envs.similarity import SCENES
from envs.world import World
from experiments.measure_search import JudgedQuery, ndcg, six_scores
from experiments.measure_search_stage import (
    matching,
    measure_search,
    policy_ndcg,
    search_only,
    search_page,
    table_lines,
)
from policies.baselines import Page, SlatePolicy, similarity_policy
from tests.shop_at_hand import small_shop

SEARCH = SCENES.index("search")


@pytest.fixture(scope="module")
def world() -> World:
    return small_shop().world(ShopConfig())


def _judged(count: int) -> list[JudgedQuery]:
    rng = np.random.default_rng(0)
    texts = small_shop().visitors.catalogue.queries["query"].tolist()
    ratings = [3.0, 3.0, 2.0, 1.0, 1.0, *([0.0] * 9)]
    return [
        JudgedQuery(row, texts[row], rng.permutation(80)[:14], rng.permutation(ratings))
        for row in range(count)
    ]


def test_a_judged_query_looks_like_the_first_page_of_a_search(world: World) -> None:
    env = ShopVectorEnv(search_only(world), 12)
    observation, _ = env.reset(seed=4)
    _, items = sessions.candidates(env.world, env.state)
    queries = small_shop().visitors.catalogue.queries["query"].tolist()
    for row in range(12):
        place = int(env.state.anchor[row]) - world.pools.first_row(SEARCH)
        query = JudgedQuery(place, queries[place], items[row].astype(np.int64), np.ones(1))
        table = six_scores(small_shop().index, [query])[0]
        page = search_page(world, query, table, env.state.shopper[[row]])
        for name in ("context", "items", "mask"):
            # Scores of a pool and of pairs agree up to rounding.
            np.testing.assert_allclose(
                page.observation[name][0], observation[name][row], atol=2e-6, err_msg=name
            )


def test_search_only_never_leaves_the_search(world: World) -> None:
    env = ShopVectorEnv(search_only(world), 50)
    observation, _ = env.reset(seed=1)
    clicks = 0
    for _ in range(8):
        assert (env.state.scene == SEARCH).all()
        page = Page(observation, env.world, env.state, env.click_model)
        observation, *_, info = env.step(similarity_policy().slates(page))
        clicks += int(info["clicks"].sum())
    assert clicks > 0, "a click may lead elsewhere, so there must have been some"


def test_a_policy_is_measured_as_its_scores_are(world: World) -> None:
    judged = _judged(6)
    tables = six_scores(small_shop().index, judged)
    found = policy_ndcg(similarity_policy(), world, judged, tables, np.arange(5))
    expected = [
        ndcg(table.mean(axis=1)[None], query.ratings)[0] for table, query in zip(tables, judged)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_policy_that_reads_the_shopper_counts_as_the_mean_over_shoppers(world: World) -> None:
    judged, shoppers = _judged(3), np.arange(7)
    tables = six_scores(small_shop().index, judged)
    gap = SlatePolicy("cheap", lambda page: -page.observation["items"][..., 7])
    found = policy_ndcg(gap, world, judged, tables, shoppers)
    alone = [policy_ndcg(gap, world, judged, tables, np.array([u])) for u in shoppers]
    np.testing.assert_allclose(found, np.mean(alone, axis=0))
    assert np.ptp(alone, axis=0).max() > 0, "shoppers of other price levels get other orders"


def test_relevance_and_revenue_of_all_rankers(world: World) -> None:
    judged = _judged(10)
    known = {(q.row, int(i)): r for q in judged for i, r in zip(q.items, q.ratings)}
    best = SlatePolicy("ranker", lambda page: page.observation["items"][..., 0])
    found = measure_search(world, small_shop().index, judged, [best], sessions=60, seed=2)
    rankers, paired = found["rankers"], found["paired"]
    assert list(rankers["ranker"]) == [
        "ndcg",
        "return",
        "ctr",
        "purchases",
        "session_length",
        "trust",
    ]
    # This ranker reads the text score alone.
    assert rankers["ranker"] == rankers["text"]
    assert rankers["random"]["ndcg"]["mean"] == pytest.approx(
        np.mean([ndcg(np.zeros((1, 14)), q.ratings)[0] for q in judged])
    )
    assert len(known) == 140
    for pair in paired:
        means = [rankers[pair[side]][pair["metric"]]["mean"] for side in "ab"]
        assert pair["diff"] == pytest.approx(means[0] - means[1], abs=1e-9)
    assert {(p["a"], p["b"]) for p in paired} >= {("ranker", "best_mix"), ("scene", "similarity")}
    again = measure_search(world, small_shop().index, judged, [best], sessions=60, seed=2)
    assert again == found
    lines = table_lines(found)
    assert len(lines) == 1 + len(rankers)
    order = [float(line[19:24]) for line in lines[1:]]
    assert order == sorted(order, reverse=True)


def test_matching_leans_on_the_query_the_more_the_heavier(world: World) -> None:
    env = ShopVectorEnv(search_only(world), 20)
    observation, _ = env.reset(seed=6)
    observation["mask"][:, 3] = 0
    page = Page(observation, env.world, env.state, env.click_model)
    match = observation["items"][..., [0, 2, 4]].mean(axis=-1)
    # A masked candidate may score anything: it must not move the others.
    quality_alone = np.where(observation["mask"] > 0, observation["items"][..., 5], -1e9)
    other = SlatePolicy("other", lambda page: quality_alone)
    seen = np.delete(match, 3, axis=1)
    ties = []
    for weight in (0.0, 1.0, 1e4):
        scores = np.delete(matching(other, weight).score(page), 3, axis=1)
        ties.append(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(scores, seen)]))
    assert ties[0] < ties[1] < ties[2]
    assert ties[2] == pytest.approx(1, abs=1e-3)
    quality = np.delete(observation["items"][..., 5], 3, axis=1)
    alone = np.delete(matching(other, 0.0).score(page), 3, axis=1)
    np.testing.assert_allclose(
        alone, (quality - quality.mean(1, keepdims=True)) / quality.std(1, keepdims=True), atol=1e-4
    )
