"""MMR: the greedy rule of the paper, by hand and by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from envs import sessions
from envs.clicks import make_click_model
from envs.counter_rng import new_keys
from policies.baselines import Page, similarity_policy
from policies.best_page import top_slates
from policies.mmr import ItemLikeness, mmr_policy, mmr_scores
from tests.shop_at_hand import bare_world, small_shop

N, K = 7, 4


def some_page(rows: int = 20) -> Page:
    world = bare_world()
    state = sessions.start(world, new_keys(np.random.default_rng(0), rows))
    model = make_click_model(world.config.click_model, world.config.slots, world.config.clicks)
    return Page(sessions.observe(world, state), world, state, model)


def made_up(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    alike = rng.random((rows, N, N))
    alike = ((alike + alike.transpose(0, 2, 1)) / 2).astype(np.float32)
    mask = (rng.random((rows, N)) < 0.8).astype(np.float32)
    mask[:, :K] = 1  # enough to fill the slate
    return rng.random((rows, N)).astype(np.float32), alike, mask


def greedy(relevance: np.ndarray, alike: np.ndarray, mask: np.ndarray, trade_off: float) -> list:
    """Carbonell and Goldstein's definition, one page in plain Python."""
    slate: list[int] = []
    for _ in range(K):
        left = [i for i in range(N) if mask[i] and i not in slate]
        worth = {
            i: trade_off * relevance[i]
            - (1 - trade_off) * max((alike[j, i] for j in slate), default=0.0)
            for i in left
        }
        slate.append(max(left, key=lambda i: worth[i]))
    return slate


@pytest.mark.parametrize("trade_off", [0.0, 0.3, 0.7, 1.0])
def test_the_slate_is_the_greedy_one(trade_off: float) -> None:
    relevance, alike, mask = made_up(200)
    if trade_off == 0:
        # The first item is then a tie of all, which the first candidate wins here and there.
        relevance = np.zeros_like(relevance)
    scores = mmr_scores(relevance, alike, mask, K, trade_off)
    slates = top_slates(scores, K, mask)
    wanted = [greedy(*page, trade_off) for page in zip(relevance, alike, mask, strict=True)]
    np.testing.assert_array_equal(slates, wanted)


def test_scores_fall_along_the_slate_and_the_rest_lies_below() -> None:
    relevance, alike, mask = made_up(200, seed=1)
    scores = mmr_scores(relevance, alike, mask, K, 0.5)
    slates = top_slates(scores, K, mask)
    chosen = np.take_along_axis(scores, slates, axis=1)
    assert (np.diff(chosen, axis=1) <= 0).all()
    rest = np.where(mask > 0, scores, -np.inf)
    np.put_along_axis(rest, slates, -np.inf, axis=1)
    assert (rest.max(axis=1) <= chosen[:, -1]).all()


def test_candidates_may_stand_in_any_order() -> None:
    relevance, alike, mask = made_up(50, seed=2)
    order = np.random.default_rng(3).permutation(N)
    whole = mmr_scores(relevance, alike, mask, K, 0.4)[:, order]
    moved = mmr_scores(relevance[:, order], alike[:, order][:, :, order], mask[:, order], K, 0.4)
    np.testing.assert_array_equal(moved, whole)


def test_too_few_candidates_leave_the_rest_as_it_is() -> None:
    relevance, alike, mask = made_up(30, seed=4)
    mask[:, 2:] = 0
    scores = mmr_scores(relevance, alike, mask, K, 0.4)
    assert np.isfinite(scores).all()
    first = np.where(mask > 0, relevance, -1).argmax(axis=1)
    assert (top_slates(scores, K, mask)[:, 0] == first).all()


def test_relevance_alone_is_the_similarity_shelf() -> None:
    shown, likeness = some_page(), ItemLikeness.of(small_shop())
    np.testing.assert_array_equal(
        mmr_policy(likeness, 1.0).slates(shown), similarity_policy().slates(shown)
    )


def test_likeness_is_the_mean_of_class_brand_and_text() -> None:
    likeness = ItemLikeness(
        kind=np.array([0, 0, 1]), brand=np.array([5, 6, 5]),
        embedding=np.array([[1, 0], [0.6, 0.8], [-1, 0]], dtype=np.float32),
    )  # fmt: skip
    found = likeness.among(np.array([[0, 1, 2], [2, 2, 0]]))
    np.testing.assert_allclose(found[0], [[1, 1.6 / 3, 1 / 3], [1.6 / 3, 1, 0], [1 / 3, 0, 1]])
    np.testing.assert_allclose(found[1, 0], [1, 1, 1 / 3])


def test_the_shop_s_own_likeness_reads_its_catalogue() -> None:
    shop, rng = small_shop(), np.random.default_rng(0)
    items = rng.integers(80, size=(5, 6))
    found = ItemLikeness.of(shop).among(items)
    table, text = shop.visitors.catalogue.items, shop.index.embedding
    for page, row in zip(found, items, strict=True):
        for a, first in enumerate(row):
            for b, second in enumerate(row):
                same = sum(
                    table[c].iloc[first] == table[c].iloc[second] for c in ("class", "brand")
                )
                cosine = max(0.0, float(text[first] @ text[second]))
                assert page[a, b] == pytest.approx((same + min(cosine, 1.0)) / 3, abs=1e-6)


def test_more_weight_on_difference_shows_more_classes() -> None:
    shown, likeness = some_page(200), ItemLikeness.of(small_shop())

    def classes(trade_off: float) -> float:
        slates = mmr_policy(likeness, trade_off).slates(shown)
        kinds = likeness.kind[np.take_along_axis(shown.items, slates, axis=1)]
        return float(np.mean([len(set(row)) for row in kinds.tolist()]))

    assert classes(0.3) > classes(0.7) > classes(1.0)
