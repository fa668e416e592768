"""Contributions are the Shapley values of a page's score: the axioms, closed forms, brute force."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from math import factorial
from typing import Any

import numpy as np
import pytest
import torch

from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES, REASON_FEATURES
from envs.similarity import SCORES
from policies.baselines import scorer_logits
from policies.explain import (
    REASON,
    REST,
    VARIETY,
    explain,
    feature_groups,
    shapley_weights,
    top_groups,
)
from policies.ranker.config import ScorerConfig
from policies.ranker.scorer import SlateScorer

Array = np.ndarray[Any, Any]
Page = dict[str, Array]
#: Three players on five columns; the last column is nobody's.
TINY = {"one": (0, 2), "two": (1,), "three": (3,)}


def _page(rows: int, candidates: int, features: int, seed: int = 0) -> Page:
    rng = np.random.default_rng(seed)
    mask = np.ones((rows, candidates), dtype=np.float32)
    mask[:, -1] = 0
    items = rng.normal(size=(rows, candidates, features)).astype(np.float32)
    # Padding may hold anything.
    items[:, -1] = np.nan
    context = rng.normal(size=(rows, len(CONTEXT_FEATURES))).astype(np.float32)
    return {"context": context, "items": items, "mask": mask}


def _tangled(page: Page) -> Array:
    """Score with products of features and of the other candidates, so that nothing is linear."""
    items = np.nan_to_num(page["items"])
    own = items[..., 0] * items[..., 1] + np.maximum(items[..., 2], items[..., 3])
    shelf = items.mean(axis=1)
    return own * (1 + shelf[:, None, 1]) + items[..., 4] * page["context"][:, :1]


def _places(*rows: list[int]) -> Array:
    return np.array(rows, dtype=np.int64)


def _worth(page: Page, row: int, place: int, members: frozenset[str]) -> float:
    """Score one item by hand with the features of a coalition and the page's means for the rest."""
    items = page["items"][row].copy()
    mean = items[page["mask"][row] > 0].mean(axis=0)
    for name, columns in TINY.items():
        if name not in members:
            items[place, list(columns)] = mean[list(columns)]
    one = {"items": items[None], "context": page["context"][row : row + 1]}
    return float(_tangled(one)[0, place])


def test_equals_the_average_over_all_orders_of_joining() -> None:
    """Shapley's own definition: what a player adds, averaged over the orders in which they come."""
    page, places = _page(2, 4, 5), _places([0, 2], [1, 0])
    found = explain(_tangled, page, places, TINY)
    assert found.groups == tuple(TINY)
    for row in range(2):
        for slot in range(2):
            added = dict.fromkeys(TINY, 0.0)
            for order in permutations(TINY):
                met: frozenset[str] = frozenset()
                for name in order:
                    before = _worth(page, row, places[row, slot], met)
                    met |= {name}
                    added[name] += _worth(page, row, places[row, slot], met) - before
            expected = {name: total / factorial(len(TINY)) for name, total in added.items()}
            assert found.named(row, slot) == pytest.approx(expected, abs=1e-5)
            base = _worth(page, row, places[row, slot], frozenset())
            assert found.base[row, slot] == pytest.approx(base, abs=1e-5)


def test_contributions_sum_to_the_score_less_that_of_an_average_candidate() -> None:
    page, places = _page(3, 6, 5, seed=1), _places([4, 0, 1], [1, 2, 3], [3, 0, 4])
    found = explain(_tangled, page, places, TINY)
    score = np.take_along_axis(_tangled(page), places, axis=1)
    np.testing.assert_allclose(found.contributions.sum(axis=2) + found.base, score, atol=1e-5)


def test_a_group_that_the_score_does_not_read_contributes_nothing() -> None:
    def blind(page: Page) -> Array:
        return page["items"][..., 0] * page["items"][..., 3]

    found = explain(blind, _page(2, 5, 5, seed=2), _places([0, 3], [1, 2]), TINY)
    np.testing.assert_allclose(found.contributions[..., 1], 0, atol=1e-12)
    assert (abs(found.contributions[..., [0, 2]]) > 0.01).any()


def test_groups_with_the_same_part_in_the_score_contribute_the_same() -> None:
    page = _page(2, 5, 2, seed=3)
    page["items"][..., 1] = page["items"][..., 0]

    def product(page: Page) -> Array:
        return page["items"][..., 0] * page["items"][..., 1]

    found = explain(product, page, _places([0, 1], [2, 3]), {"one": (0,), "two": (1,)})
    np.testing.assert_allclose(found.contributions[..., 0], found.contributions[..., 1], atol=1e-6)


def test_a_linear_score_has_its_closed_form() -> None:
    page, places = _page(3, 7, 5, seed=4), _places([0, 5], [1, 2], [4, 3])
    weights = np.array([0.5, -2.0, 1.0, 3.0, 7.0], dtype=np.float32)
    found = explain(lambda p: p["items"] @ weights, page, places, TINY)
    mean = page["items"][:, :-1].mean(axis=1)
    for row in range(3):
        for slot in range(2):
            gap = (page["items"][row, places[row, slot]] - mean[row]) * weights
            by_hand = [gap[0] + gap[2], gap[1], gap[3]]
            np.testing.assert_allclose(found.contributions[row, slot], by_hand, atol=1e-5)


def _scorer() -> SlateScorer:
    generator = torch.Generator().manual_seed(5)
    scorer = SlateScorer(ScorerConfig(hidden=8), ITEM_FEATURES, CONTEXT_FEATURES, generator)
    with torch.no_grad():
        # A scorer starts linear: its last layer is zero.
        scorer.score_out.weight.normal_(generator=generator)
        scorer.skip.normal_(generator=generator)
    return scorer


def _counted(scorer: SlateScorer, sizes: list[int]) -> Callable[[Page], Array]:
    def logits(page: Page) -> Array:
        sizes.append(len(page["mask"]))
        return scorer_logits(scorer, page)

    return logits


def test_a_trained_ranker_is_explained_over_all_groups() -> None:
    scorer, sizes = _scorer(), list[int]()
    page, places = _page(2, 9, len(ITEM_FEATURES), seed=6), _places([3, 0, 7], [1, 2, 5])
    groups = feature_groups()
    found = explain(_counted(scorer, sizes), page, places, groups)
    assert found.groups == (*SCORES, REASON, REST, VARIETY)
    # Giving way to others is told from the page itself: eight players.
    assert sum(sizes) == 2 * 3 * 2**8 + 2
    score = np.take_along_axis(scorer_logits(scorer, page), places, axis=1)
    np.testing.assert_allclose(found.contributions.sum(axis=2) + found.base, score, atol=1e-4)


def test_other_candidates_of_a_page_and_other_pages_do_not_mix() -> None:
    """A page explained beside others is explained as it is alone."""
    page, places = _page(3, 6, len(ITEM_FEATURES), seed=7), _places([0, 1], [2, 3], [4, 0])
    logits = _counted(_scorer(), [])
    together = explain(logits, page, places, feature_groups())
    for row in range(3):
        one = {name: array[row : row + 1] for name, array in page.items()}
        alone = explain(logits, one, places[row : row + 1], feature_groups())
        np.testing.assert_allclose(
            alone.contributions[0], together.contributions[row], rtol=1e-4, atol=1e-5
        )


def test_groups_hold_every_feature_once() -> None:
    groups = feature_groups()
    assert sorted(c for own in groups.values() for c in own) == list(range(len(ITEM_FEATURES)))
    assert [ITEM_FEATURES[c] for c in groups[REASON]] == list(REASON_FEATURES)
    assert all(groups[name] == (ITEM_FEATURES.index(name),) for name in SCORES)
    assert feature_groups(("quality", "novelty", "text")) == {
        "text": (2,), "quality": (0,), REST: (1,)
    }  # fmt: skip


def test_weights_of_a_game_of_two() -> None:
    # v(nobody), v(first), v(second), v(both): each averages what it adds alone and to the other.
    np.testing.assert_allclose(
        shapley_weights(2).T, [[-0.5, 0.5, -0.5, 0.5], [-0.5, -0.5, 0.5, 0.5]]
    )


def test_top_groups_lift_and_lead() -> None:
    found = top_groups(np.array([[0.1, 3.0, 2.0, 2.0], [-1.0, 0.0, 0.2, -3.0]]), 2)
    assert found.tolist() == [[False, True, True, False], [False, False, True, False]]


def test_misuse_is_named() -> None:
    page = _page(1, 4, 5)
    with pytest.raises(ValueError, match="masked"):
        explain(_tangled, page, _places([3]), TINY)
    with pytest.raises(ValueError, match="share a column"):
        explain(_tangled, page, _places([0]), {"one": (0, 1), "two": (1,)})
    with pytest.raises(ValueError, match=r"logits of \(24, 1\)"):
        explain(lambda p: p["mask"][:, :1], page, _places([0, 1, 2]), TINY)


def test_the_scorers_own_linear_parts_agree() -> None:
    """A linear scorer knows what each feature adds; over the page's mean that is the same."""
    generator = torch.Generator().manual_seed(8)
    scorer = SlateScorer(ScorerConfig(kind="linear"), ITEM_FEATURES, CONTEXT_FEATURES, generator)
    with torch.no_grad():
        scorer.skip.normal_(generator=generator)
        scorer.weight_out.weight.normal_(generator=generator)
    page, places = _page(2, 6, len(ITEM_FEATURES), seed=9), _places([0, 4], [2, 1])
    found = explain(lambda p: scorer_logits(scorer, p), page, places, feature_groups())
    tensors = [torch.from_numpy(page[name]) for name in ("context", "items", "mask")]
    with torch.no_grad():
        parts = scorer.contributions(*tensors).numpy()
    # Whether an item gives way is asked against a class that was never shown, not the page's mean.
    never = page["items"].copy()
    never[..., ITEM_FEATURES.index("class_exposure")] = 0
    with torch.no_grad():
        unseen = scorer.contributions(tensors[0], torch.from_numpy(never), tensors[2]).numpy()
    for row in range(2):
        gap = parts[row, places[row]] - parts[row, :-1].mean(axis=0)
        lost = parts[row, places[row]] - unseen[row, places[row]]
        by_group = [
            (lost if name == VARIETY else gap)[:, list(columns)].sum(axis=1)
            for name, columns in feature_groups().items()
        ]
        np.testing.assert_allclose(found.contributions[row], np.stack(by_group, 1), atol=1e-4)


def test_what_an_item_loses_in_a_crowd_is_variety_and_nothing_else() -> None:
    """By hand: three of one class, one alone; the price of a better one is 2, of exposure 0.5."""
    config = ScorerConfig(kind="linear", baseline_features=("text",), baseline_weight=1.0)
    scorer = SlateScorer(config, ITEM_FEATURES, CONTEXT_FEATURES)
    with torch.no_grad():
        scorer.prices.bias.copy_(torch.tensor([2.0, 0.5]))
    items = np.zeros((1, 4, len(ITEM_FEATURES)), dtype=np.float32)
    items[0, :, ITEM_FEATURES.index("text")] = [4.0, 3.0, 2.0, 1.0]
    items[0, :, ITEM_FEATURES.index("class_code")] = [1, 1, 1, 2]
    items[0, :, ITEM_FEATURES.index("class_exposure")] = [0.2, 0.2, 0.2, 0.0]
    context = np.zeros((1, len(CONTEXT_FEATURES)), dtype=np.float32)
    page = {"context": context, "items": items, "mask": np.ones((1, 4), dtype=np.float32)}
    found = explain(
        lambda p: scorer_logits(scorer, p), page, _places([0, 1, 2, 3]), feature_groups()
    )
    told = [found.named(0, place) for place in range(4)]
    assert [one[VARIETY] for one in told] == pytest.approx([-0.1, -2.1, -4.1, 0.0], abs=1e-5)
    assert [one["text"] for one in told] == pytest.approx([1.5, 0.5, -0.5, -1.5], abs=1e-5)
    assert all(abs(one[REST]) < 1e-6 for one in told)
