"""Whether reasons name what put their item there: by hand, by enumeration, and at the extremes."""

from __future__ import annotations

import json
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from envs.similarity import SCORES
from experiments.measure_order import (
    Shown,
    figures,
    measure_order,
    random_hits,
    shown_items,
    shuffled_hits,
)
from experiments.measure_order_links import linking_facts, starting_mix
from experiments.shelves import first_pages
from policies.baselines import mix_policy, similarity_policy
from policies.explain import VARIETY, feature_groups
from policies.reasoner.book import ReasonBook, write_book
from rewards.claims import ClaimChecker, TextClaims
from tests.shop_at_hand import bare_world, small_shop

GROUPS = tuple(name for name in feature_groups() if name != VARIETY)
VISITORS = small_shop().visitors
CATALOGUE = VISITORS.catalogue


@cache
def book() -> ReasonBook:
    made, _ = write_book(
        CATALOGUE, VISITORS.profiles, ClaimChecker(CATALOGUE), None,
        np.arange(CATALOGUE.n_items), np.random.default_rng(0),
    )  # fmt: skip
    return made


@cache
def measured() -> dict[str, Any]:
    told = bare_world().with_reasons(book().arrays)
    weights = np.eye(len(SCORES), dtype=np.float32)
    sides = {
        "similarity": (told, similarity_policy(), book()),
        "by text": (told, mix_policy("text", weights[SCORES.index("text")]), book()),
        "by price": (told, mix_policy("price", weights[SCORES.index("price")]), book()),
    }
    return measure_order(small_shop(), sides, pages=24, seed=4)


def _shown(top: list[list[int]], named: list[list[int]], page: list[int]) -> Shown:
    def flags(rows: list[list[int]]) -> np.ndarray[Any, Any]:
        return np.array([[g in row for g in range(len(GROUPS))] for row in rows])

    return Shown(
        GROUPS, np.array(page), np.zeros(len(page), dtype=np.int64), flags(top), flags(named),
        [TextClaims((), 1)] * len(page),
    )  # fmt: skip


def test_the_random_floor_is_what_drawing_every_set_of_groups_gives() -> None:
    top, named = [[0, 1], [2], [], [3, 4], [1, 2]], [[0, 2, 5], [1], [0], [], [0, 1, 2, 3, 4, 5, 6]]
    found = random_hits(_shown(top, named, [0] * 5))
    for row, (lifts, says) in enumerate(zip(top, named)):
        draws = list(combinations(range(len(GROUPS)), len(says)))
        expected = np.mean([bool(set(draw) & set(lifts)) for draw in draws])
        assert found[row] == pytest.approx(expected)


def test_the_shuffled_floor_gives_an_item_the_other_reasons_of_its_page() -> None:
    # Page 0: three items; page 1: one alone, which has no other reason to be given.
    shown = _shown([[0], [1], [2], [0]], [[0], [0, 1], [3], [0]], [0, 0, 0, 1])
    np.testing.assert_allclose(shuffled_hits(shown), [0.5, 0.0, 0.0, np.nan])
    found = figures(shown)
    # Their own reasons: the first, the second and the last name what lifts them.
    assert found["named"]["value"] == pytest.approx(3 / 4)
    assert found["shuffled"]["value"] == pytest.approx(0.5 / 3)
    assert found["over_shuffled"]["value"] == pytest.approx((2 - 0.5) / 3)
    assert found["silent"] == 0
    assert found["factors"]["text"] == {"top": 0.5, "said": 0.75}


def test_reasons_that_are_all_alike_gain_nothing_over_shuffled_ones() -> None:
    rng = np.random.default_rng(1)
    page = np.repeat(np.arange(30), 4).tolist()
    top = [[int(rng.integers(len(GROUPS)))] for _ in page]
    found = figures(_shown(top, [[0, 2]] * len(page), page))
    assert found["over_shuffled"]["value"] == pytest.approx(0, abs=1e-12)
    # One group lifts each item, so both floors expect 2 in 8.
    assert found["random"]["value"] == pytest.approx(2 / len(GROUPS))


def test_no_reasons_no_figures() -> None:
    assert figures(_shown([], [], [])) == {"items": 0}


def test_an_order_by_text_is_named_by_every_fact_and_one_by_price_by_none() -> None:
    by_text, by_price = (measured()["policies"][name] for name in ("by text", "by price"))
    assert {name for name, one in by_text["factors"].items() if one["top"]} == {"text"}
    assert {name for name, one in by_price["factors"].items() if one["top"]} == {"price"}
    assert by_price["named"]["value"] == 0
    # Some items stand there although their text is below the page's mean: nothing lifts those.
    facts = by_text["factors"]["text"]
    assert by_text["named"]["value"] <= min(facts["top"], facts["said"])
    assert by_text["named"]["value"] >= facts["top"] + facts["said"] - 1 > 0.5


def test_the_measure_is_json_with_every_group_and_side() -> None:
    found = measured()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["groups"] == list(GROUPS)
    for one in found["policies"].values():
        assert one["items"] == 24 * bare_world().config.slots
        assert set(one["factors"]) == set(GROUPS)
        for name in ("named", "over_shuffled"):
            assert one[name]["low"] <= one[name]["value"] <= one[name]["high"]


def test_a_book_without_texts_is_left_out() -> None:
    empty = ReasonBook(book().table.assign(text=""), bare_world().reasons)
    sides = {"bare": (bare_world(), similarity_policy(), empty)}
    found = measure_order(small_shop(), sides, pages=3, seed=1)["policies"]["bare"]
    assert found == {"items": 0, "links": {"items": 0}}


def test_links_are_facts_that_the_starting_items_share() -> None:
    """By hand, with sets of (key, value) in place of sparse products."""
    world, shop = bare_world(), small_shop()
    state = first_pages(world, 9, 2)
    mix, met = starting_mix(shop, world, state), linking_facts(shop, world, state)
    facts = CATALOGUE.facts
    of_item = {
        item: {(row["aspect"], row["key"], row["value"]) for row in rows.to_dict("records")}
        for item, rows in facts.groupby("item_id")
    }
    ids = CATALOGUE.items["item_id"].tolist()
    seen = set()
    for page in range(9):
        start = [of_item.get(ids[i], set()) for i in mix[page].indices]
        shared = {(key, value) for own in start for _, key, value in own}
        for item in range(0, CATALOGUE.n_items, 7):
            expected = sorted(
                (CATALOGUE.aspects.index(aspect), (key, value) in shared)
                for aspect, key, value in of_item[ids[item]]
            )
            assert sorted(met.facts_of(page, item)) == expected
            seen |= {link for _, link in expected}
    assert seen == {False, True}


def test_pages_start_from_history_item_and_query() -> None:
    world, shop = bare_world(), small_shop()
    state = first_pages(world, 9, 2)
    mix = starting_mix(shop, world, state)
    np.testing.assert_allclose(mix.sum(axis=1), 1, atol=1e-5)
    profiles = VISITORS.profiles
    for page in range(9):
        shopper, met = int(state.shopper[page]), set(mix[page].indices.tolist())
        if state.scene[page] == 0:
            own = profiles.history_items[profiles.history_rows == shopper]
            assert met == set(own.tolist())
        elif state.scene[page] == 1:
            assert met == {int(world.last_item[shopper])}
        else:
            assert len(met) == shop.index.query_items


def test_the_items_are_those_on_the_shelf() -> None:
    world = bare_world().with_reasons(book().arrays)
    state = first_pages(world, 6, 4)
    shown = shown_items(
        small_shop(), world, similarity_policy(), book(), state, ClaimChecker(CATALOGUE)
    )
    assert np.bincount(shown.page).tolist() == [world.config.slots] * 6
    lookup, ids = book().lookup(), CATALOGUE.items["item_id"].tolist()
    for place, (page, item) in enumerate(zip(shown.page, shown.item)):
        segment = int(world.segment[state.shopper[page]])
        said = [claim.text for claim in shown.claims[place].claims if claim.supported]
        assert said == list(lookup[ids[item], segment]["claims"])
