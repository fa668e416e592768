"""Candidate pools: the best by the mean, some explored, no item twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from envs.assemble import Shop, default_world, open_shop, synthetic_visitors
from envs.behaviour import ShopConfig
from envs.errors import UserError
from envs.pools import (
    Pools,
    build_pools,
    choose_pool,
    choose_pool_in_blocks,
    item_popularity,
    pool_owners,
)
from envs.shop import ShopVectorEnv
from envs.shoppers import ShopperConfig
from envs.similarity import (
    SimilarityConfig,
    item_anchors,
    query_anchors,
    score,
    shopper_anchors,
)
from envs.store import load_arrays, load_shop, save_arrays, save_similarity, save_visitors
from envs.synthetic import SyntheticConfig
from envs.world import World

EVEN = np.full(50, 0.02, dtype=np.float32)


def _scores(anchors: int) -> np.ndarray:
    return np.random.default_rng(1).random((anchors, 50, 6)).astype(np.float32)


def _choose(scores: np.ndarray, explore: float, popularity: np.ndarray = EVEN) -> np.ndarray:
    config = SimilarityConfig(pool=20, explore=explore)
    return choose_pool(scores, popularity, config, np.random.default_rng(2))


@pytest.fixture(scope="module")
def shop() -> Shop:
    rng = np.random.default_rng(3)
    visitors = synthetic_visitors(SyntheticConfig(items=120), ShopperConfig(shoppers=60), rng)
    return open_shop(visitors, SimilarityConfig(pool=30), rng)


@pytest.mark.parametrize("explore", [0.0, 0.2, 0.55, 1.0])
def test_a_pool_holds_distinct_items_and_its_share_of_the_best(explore: float) -> None:
    scores = _scores(200)
    pools = _choose(scores, explore)
    assert pools.shape == (200, 20)
    assert all(len(set(pool)) == 20 for pool in pools)
    best = np.argsort(-scores.mean(axis=-1), axis=1)[:, : 20 - round(explore * 20)]
    assert all(set(top) <= set(pool) for top, pool in zip(best, pools))


def test_explored_items_come_from_the_whole_rest() -> None:
    n = 2_000
    scores = np.tile(_scores(1), (n, 1, 1))
    order = np.argsort(-scores[0].mean(axis=-1))
    share = np.array([(_choose(scores, 0.4) == item).sum() for item in order]) / n
    np.testing.assert_array_equal(share[:12], 1)
    # Eight places for 38 items of even popularity; the band is 3 sigma over all of them.
    p = 8 / 38
    sigmas = norm.ppf(1 - 0.00135 / 38)
    assert (abs(share[12:] - p) < sigmas * np.sqrt(p * (1 - p) / n)).all()


def test_half_of_the_explored_places_go_by_popularity() -> None:
    n = 2_000
    scores = np.tile(_scores(1), (n, 1, 1))
    worst = int(scores[0].mean(axis=-1).argmin())
    popularity = EVEN.copy()
    popularity[worst] = 1e6
    assert (_choose(scores, 0.4, popularity) == worst).any(axis=1).all()
    # One explored place has no popular half: the even draw finds it in 1 of 31 pools.
    share = (_choose(scores, 0.05, popularity) == worst).any(axis=1).mean()
    assert abs(share - 1 / 31) < 3 * np.sqrt(1 / 31 * 30 / 31 / n)


def test_pools_are_shuffled() -> None:
    n = 2_000
    scores = np.tile(_scores(1), (n, 1, 1))
    place = (_choose(scores, 0.2) == scores[0].mean(axis=-1).argmax()).argmax(axis=1)
    # Uniform on 0..19: mean 9.5, variance (400 - 1) / 12.
    assert abs(place.mean() - 9.5) < 3 * np.sqrt(399 / 12 / n)


def test_a_pool_larger_than_the_shop_is_the_shop() -> None:
    config = SimilarityConfig(pool=80, explore=0.2)
    pools = choose_pool(_scores(5), EVEN, config, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(pools, axis=1), np.tile(np.arange(50), (5, 1)))


def test_every_anchor_has_its_row(shop: Shop) -> None:
    pools, visitors = shop.pools, shop.visitors
    counts = [60, 120, len(visitors.catalogue.queries)]
    assert pools.counts.tolist() == counts
    assert [pools.first_row(s) for s in range(3)] == [0, 60, 180]
    assert pools.items.shape == (sum(counts), 30)
    assert pools.scores.shape == (sum(counts), 30, 6)
    assert all(len(set(row)) == 30 for row in pools.items)


def test_hidden_relevance_says_what_it_promises(shop: Shop) -> None:
    pools, catalogue = shop.pools, shop.visitors.catalogue
    assert (pools.relevance >= 0).all()
    assert (pools.relevance <= 1 + 1e-6).all()
    assert (pools.relevance[:60] == 0).all(), "at home taste alone decides"
    x = catalogue.aspect_matrix
    for item in range(0, 120, 10):
        row = pools.items[60 + item]
        cosine = x[row] @ x[item] / np.linalg.norm(x[row], axis=1) / np.linalg.norm(x[item])
        same = catalogue.class_index[row] == catalogue.class_index[item]
        np.testing.assert_allclose(
            pools.relevance[60 + item], 0.5 * same + 0.5 * cosine, rtol=1e-4, atol=1e-6
        )


def test_pools_come_back_from_their_file(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "pools.safetensors"
    save_arrays(shop.pools, path)
    again = load_arrays(Pools, path)
    for name in ("items", "scores", "relevance", "counts"):
        kept, read = getattr(shop.pools, name), getattr(again, name)
        assert kept.dtype == read.dtype
        np.testing.assert_array_equal(kept, read)


def test_a_broken_file_of_pools_is_one_line(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "pools.safetensors"
    save_arrays(shop.pools, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        load_arrays(Pools, path)


def test_a_shop_from_its_files_is_the_same_shop(shop: Shop, tmp_path: Path) -> None:
    save_visitors(shop.visitors, tmp_path / "visitors")
    save_similarity(shop, tmp_path / "similarity")
    again = load_shop(tmp_path / "visitors", tmp_path / "similarity")
    fresh, read = (ShopVectorEnv(s.world(ShopConfig()), 16, seed=4) for s in (shop, again))
    first, second = fresh.reset(seed=4)[0], read.reset(seed=4)[0]
    for _ in range(10):
        for name in first:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        slates = np.argsort(-first["items"][..., 0], axis=1)[:, :5]
        first, second = fresh.step(slates)[0], read.step(slates)[0]
    queries = ["wireless headphones", "zzzz"]
    kept, found = (score(s.index, query_anchors(s.index, queries)) for s in (shop, again))
    np.testing.assert_array_equal(kept, found)


def test_popularity_is_a_smoothed_share(shop: Shop) -> None:
    profiles = shop.visitors.profiles
    popularity = item_popularity(profiles, 120)
    assert popularity.sum() == pytest.approx(1, rel=1e-5)
    assert popularity.min() > 0, "an item that nobody met can still be explored"
    count = np.bincount(profiles.history_items, minlength=120)
    np.testing.assert_array_equal(np.argsort(-count, kind="stable"),
                                  np.argsort(-popularity, kind="stable"))  # fmt: skip


def test_the_same_seed_gives_the_same_shop(small_world: World) -> None:
    again = default_world(items=120, shoppers=120)
    np.testing.assert_array_equal(again.pools.items, small_world.pools.items)
    np.testing.assert_array_equal(again.pools.scores, small_world.pools.scores)


def test_an_items_own_pool_leaves_it_out(small_world: World) -> None:
    pools = small_world.pools
    first = pools.first_row(1)
    own = np.arange(pools.counts[1])
    assert not (pools.items[first : first + len(own)] == own[:, None]).any()


def _inclusion_of_two(popularity: np.ndarray) -> np.ndarray:
    """Chance of each item to be among two drawn by popularity without replacement."""
    p = popularity / popularity.sum()
    return p + p * ((p / (1 - p)).sum() - p / (1 - p))


@pytest.mark.parametrize("in_blocks", [False, True], ids=["dense", "in blocks"])
def test_chances_of_explored_items_are_exact_either_way(shop: Shop, in_blocks: bool) -> None:
    n, own = 4_000, 5
    anchors = item_anchors(shop.index, np.full(n, own))
    popularity = np.random.default_rng(4).permutation(np.arange(1.0, 121) ** 1.5)
    popularity = (popularity / popularity.sum()).astype(np.float32)
    config, left = SimilarityConfig(pool=20, explore=0.2), np.full(n, own)
    rng = np.random.default_rng(5)
    mean = score(shop.index, item_anchors(shop.index, np.array([own])))
    if in_blocks:
        pools = choose_pool_in_blocks(shop.index, anchors, popularity, config, rng, left)
    else:
        pools = choose_pool(np.tile(mean, (n, 1, 1)), popularity, config, rng, left)
    assert all(len(set(pool)) == 20 for pool in pools)
    order = np.argsort(-mean[0].mean(axis=-1), kind="stable")
    order = order[order != own]
    share = np.array([(pools == item).sum() for item in order]) / n
    np.testing.assert_array_equal(share[:16], 1)
    # Of the 103 others two are drawn by popularity, then two evenly of the 101 left.
    two = _inclusion_of_two(popularity[order[16:]].astype(np.float64))
    p = two + (1 - two) * 2 / 101
    sigmas = norm.ppf(1 - 0.00135 / 103)
    assert (abs(share[16:] - p) < sigmas * np.sqrt(p * (1 - p) / n)).all()


def test_a_pool_of_the_whole_shop_is_found_in_blocks_too(shop: Shop) -> None:
    config = SimilarityConfig(pool=500, explore=1.0)
    anchors = item_anchors(shop.index, np.arange(10))
    even = np.full(120, 1 / 120, dtype=np.float32)
    pools = choose_pool_in_blocks(
        shop.index, anchors, even, config, np.random.default_rng(0), np.arange(10)
    )
    for own, pool in enumerate(pools):
        assert sorted(pool) == [i for i in range(120) if i != own]


def _open_in_blocks(shop: Shop, seed: int = 0, **settings: int) -> Pools:
    config = SimilarityConfig(pool=30, dense_items=0, **settings)
    visitors = shop.visitors
    return build_pools(
        visitors.catalogue, visitors.profiles, shop.index, config, np.random.default_rng(seed)
    )


def test_pools_in_blocks_hold_the_best_and_their_scores(shop: Shop) -> None:
    pools, visitors = _open_in_blocks(shop), shop.visitors
    queries = visitors.catalogue.queries["query"].tolist()
    tables = [
        score(shop.index, shopper_anchors(shop.index, visitors.profiles, np.arange(60))),
        score(shop.index, item_anchors(shop.index, np.arange(120))),
        score(shop.index, query_anchors(shop.index, queries)),
    ]
    tables[1][np.arange(120), np.arange(120)] = -1
    table = np.concatenate(tables)
    mean = table.mean(axis=-1)
    # 24 of the 30 are the best; an item tied with the last of them up to rounding may stand for it.
    last = -np.sort(-mean, axis=1)[:, 23:24]
    held = np.zeros(mean.shape, dtype=bool)
    np.put_along_axis(held, pools.items.astype(np.int64), True, axis=1)
    assert held[mean > last + 1e-6].all()
    np.testing.assert_allclose(
        pools.scores, np.take_along_axis(table, pools.items[..., None], axis=1), atol=1e-6
    )


def test_hidden_relevance_is_the_same_in_blocks(shop: Shop) -> None:
    # Relevance is a function of (anchor, item): compare where both kinds of pools hold the item.
    pools = _open_in_blocks(shop)
    compared = 0
    for row in range(60, len(pools.items)):
        of = dict(zip(shop.pools.items[row].tolist(), shop.pools.relevance[row].tolist()))
        for item, value in zip(pools.items[row].tolist(), pools.relevance[row].tolist()):
            if item in of:
                assert value == pytest.approx(of[item], abs=1e-6)
                compared += 1
    assert compared > 20 * 144


def test_in_blocks_the_seed_decides(shop: Shop) -> None:
    first, again, other = (_open_in_blocks(shop, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.items, again.items)
    np.testing.assert_array_equal(first.scores, again.scores)
    assert (first.items != other.items).any()


def test_owners_are_the_most_popular_and_one_of_each_class() -> None:
    classes = np.array([0, 0, 0, 1, 1, 2])
    popularity = np.array([0.3, 0.2, 0.2, 0.05, 0.15, 0.1], dtype=np.float32)
    assert pool_owners(classes, popularity, 1).tolist() == [0, 4, 5]
    assert pool_owners(classes, popularity, 4).tolist() == [0, 1, 4, 5]
    assert pool_owners(classes, popularity, 5).tolist() == [0, 1, 2, 4, 5]
    assert pool_owners(classes, popularity, 99).tolist() == [0, 1, 2, 3, 4, 5]


def test_items_without_a_pool_borrow_that_of_the_nearest_of_their_class(shop: Shop) -> None:
    pools, index = _open_in_blocks(shop, item_anchors=40), shop.index
    assert pools.counts.tolist() == [60, 40, len(shop.visitors.catalogue.queries)]
    assert pools.first_row(2) == 100
    assert len(pools.items) == pools.counts.sum()
    every = np.arange(120)
    lender = pools.owners[pools.similar_row(every) - 60]
    np.testing.assert_array_equal(lender[pools.owners], pools.owners)
    # By brute force: text and price alone, among the owners of the class.
    marks = score(index, item_anchors(index, every))
    near = marks[..., 0] + marks[..., 3]
    for item in set(every) - set(pools.owners):
        same = [o for o in pools.owners if index.class_index[o] == index.class_index[item]]
        assert lender[item] in same
        assert near[item, lender[item]] >= near[item, same].max() - 1e-6
    # The row is the lender's: its pool leaves the lender out and is scored beside it.
    rows = pools.similar_row(every)
    assert not (pools.items[rows] == lender[:, None]).any()
    expected = np.take_along_axis(marks[lender], pools.items[rows][..., None], axis=1)
    np.testing.assert_allclose(pools.scores[rows], expected, atol=1e-6)


def test_in_a_small_shop_every_item_has_its_own_row(shop: Shop) -> None:
    pools = shop.pools
    np.testing.assert_array_equal(pools.owners, np.arange(120))
    np.testing.assert_array_equal(pools.similar_row(np.array([[3, 119]])), [[63, 179]])


def test_progress_counts_up_to_its_total(shop: Shop) -> None:
    seen: list[tuple[int, int]] = []
    config = SimilarityConfig(pool=30, item_anchors=40, dense_items=100)
    open_shop(
        shop.visitors, config, np.random.default_rng(0), lambda done, n, _: seen.append((done, n))
    )
    total = 120 + 60 + 40 + len(shop.visitors.catalogue.queries)
    assert {n for _, n in seen} == {total}
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert done[-1] == total


def test_the_default_world_takes_other_settings() -> None:
    world = default_world(
        ShopConfig(candidates=15),
        synthetic=SyntheticConfig(items=60, locale="zh"),
        shoppers=ShopperConfig(shoppers=40, segments=3),
        similarity=SimilarityConfig(pool=25, item_anchors=20),
        seed=3,
    )
    assert world.config.candidates == 15
    assert world.pools.counts[:2].tolist() == [40, 20]
    assert world.pools.items.shape[1] == 25
    assert len(world.segment_aspects) == 3
    other = default_world(items=60, locale="zh", shoppers=40, seed=3)
    np.testing.assert_array_equal(other.quality, world.quality)
