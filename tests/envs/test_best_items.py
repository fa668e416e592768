"""Block by block finds what looking at everything at once finds, for every scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs import best_items as module
from envs.assemble import Shop
from envs.best_items import best_items
from envs.similarity import (
    SCENES,
    Anchors,
    item_anchors,
    query_anchors,
    score,
    score_pairs,
    shopper_anchors,
)
from tests.shop_at_hand import small_shop


def _anchors(shop: Shop, scene: str) -> Anchors:
    if scene == "home":
        return shopper_anchors(shop.index, shop.visitors.profiles, np.arange(40))
    if scene == "similar":
        return item_anchors(shop.index, np.arange(80))
    queries = shop.visitors.catalogue.queries["query"].tolist()
    return query_anchors(shop.index, [*queries, "words that nobody sells", ""])


@pytest.fixture(params=[16, 30, 8_192])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks smaller than what is kept, blocks that do not divide the shop, and one block."""
    monkeypatch.setattr(module, "_BLOCK", request.param)
    return request.param


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("count", [1, 25, 79])
def test_the_best_are_those_of_dense_scoring(scene: str, count: int, block: int) -> None:
    shop = small_shop()
    anchors = _anchors(shop, scene)
    mean = score(shop.index, anchors).mean(axis=-1)
    own = np.arange(len(mean)) if scene == "similar" else None
    found = best_items(shop.index, anchors, count, own)
    assert found.shape == (len(mean), count)
    assert all(len(set(row)) == count for row in found)
    if own is not None:
        assert not (found == own[:, None]).any()
        mean[own, own] = -1
    # By value, best first: where two items tie up to rounding, either may stand.
    expected = -np.sort(-mean, axis=1)[:, :count]
    np.testing.assert_allclose(np.take_along_axis(mean, found, axis=1), expected, atol=1e-6)


def test_of_equal_items_the_first_is_kept(block: int) -> None:
    shop = small_shop()
    index, same = shop.index, [3] * 80
    twin = replace(
        index,
        # A matrix product rounds by the place of a row, so that its twins could differ in a bit.
        embedding=0 * index.embedding,
        graph=index.graph[same],
        price_z=index.price_z[same],
        quality=index.quality[same],
        class_index=index.class_index[same],
        behaviour=0 * index.behaviour,
    )
    anchors = item_anchors(twin, np.array([3]))
    assert best_items(twin, anchors, 20).tolist() == [list(range(20))]


@pytest.mark.parametrize("scene", SCENES)
def test_scores_of_pairs_are_those_of_dense_scoring(scene: str) -> None:
    shop = small_shop()
    anchors = _anchors(shop, scene)
    n = anchors.mix.shape[0]
    items = np.random.default_rng(0).integers(80, size=(n, 7))
    expected = np.take_along_axis(score(shop.index, anchors), items[..., None], axis=1)
    np.testing.assert_allclose(score_pairs(shop.index, anchors, items), expected, atol=1e-6)
