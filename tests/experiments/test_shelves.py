"""Shelves of the report: one page, two orders, each with its reasons."""

from __future__ import annotations

import json
from functools import cache

import numpy as np

from envs import sessions
from envs.clicks import make_click_model
from envs.similarity import SCENES, SCORES
from envs.world import World
from experiments.shelves import first_pages, shelves
from policies.baselines import Page, mix_policy, popularity_policy, similarity_policy
from policies.explain import feature_groups
from policies.explain_reason import named_groups
from policies.reasoner.book import ReasonBook, write_book
from rewards.claims import ClaimChecker
from sft.tasks import segment_likes
from sft.tasks.briefs import LIKES
from tests.shop_at_hand import bare_world, small_shop

COUNT, SEED = 6, 4
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
def shown() -> list[dict]:
    told = bare_world().with_reasons(book().arrays)
    return shelves(
        small_shop(), (bare_world(), similarity_policy(), None),
        (told, popularity_policy(), book()), COUNT, SEED,
    )  # fmt: skip


def test_first_pages_take_scenes_in_turn() -> None:
    state = first_pages(bare_world(), COUNT, SEED)
    assert state.scene.tolist() == [0, 1, 2, 0, 1, 2]
    assert (state.page == 0).all()
    assert len(set(state.key.tolist())) == COUNT


def test_no_shelves() -> None:
    sides = (bare_world(), similarity_policy(), None)
    assert shelves(small_shop(), sides, sides, 0, SEED) == []


def test_a_page_names_its_shopper_and_its_scene() -> None:
    state = first_pages(bare_world(), COUNT, SEED)
    likes = segment_likes(CATALOGUE, VISITORS.profiles)
    for row, page in enumerate(shown()):
        shopper = int(state.shopper[row])
        assert page["shopper"] == VISITORS.profiles.shopper_ids[shopper]
        assert page["segment"] == VISITORS.profiles.segment[shopper]
        assert page["likes"] == likes[page["segment"]]
        assert page["scene"] == SCENES[state.scene[row]]
        assert (page["query"] is not None) == (page["scene"] == "search")
        assert (page["anchor"] is not None) == (page["scene"] == "similar")
        if page["query"] is not None:
            assert page["query"] in CATALOGUE.queries["query"].tolist()
        if page["anchor"] is not None:  # the item the shopper met last
            last = bare_world().last_item[shopper]
            assert page["anchor"] == CATALOGUE.items["title"].iloc[last]


def _top(world: World, name: str) -> list[list[str]]:
    state = first_pages(world, COUNT, SEED)
    model = make_click_model("position", 5, world.config.clicks)
    page = Page(sessions.observe(world, state), world, state, model)
    policy = similarity_policy() if name == "before" else popularity_policy()
    _, items = sessions.candidates(world, state)
    chosen = np.take_along_axis(items, policy.slates(page), axis=1)
    return CATALOGUE.items["item_id"].to_numpy()[chosen].tolist()


def test_both_sides_order_the_same_candidates() -> None:
    for side in ("before", "after"):
        found = [[card["item_id"] for card in page[side]] for page in shown()]
        assert found == _top(bare_world(), side)


def test_cards_tell_what_the_catalogue_and_the_book_say() -> None:
    told = book().lookup()
    about = CATALOGUE.items.set_index("item_id")
    for page in shown():
        for side in ("before", "after"):
            for card in page[side]:
                item = about.loc[card["item_id"]]
                assert (card["title"], card["brand"]) == (item["title"], item["brand"])
                assert (card["price"], card["currency"]) == (item["price"], CATALOGUE.currency)
                assert list(card["scores"]) == list(SCORES)
                assert all(0 <= score <= 1 for score in card["scores"].values())
        for card in page["before"]:
            assert (card["reason"], card["source"], card["claims"]) == ("", "none", [])
        for card in page["after"]:
            record = told[card["item_id"], page["segment"]]
            assert card["reason"] == record["text"]
            assert card["claims"] == list(record["claims"])
            assert card["source"] == "fallback"


def test_scores_are_those_the_policy_saw() -> None:
    """A policy of one score alone puts its cards in falling order of that score."""
    for place, name in enumerate(SCORES):
        policy = mix_policy("one", np.eye(len(SCORES), dtype=np.float32)[place])
        side = (bare_world(), policy, None)
        for page in shelves(small_shop(), side, side, 3, SEED):
            marks = [card["scores"][name] for card in page["before"]]
            assert marks == sorted(marks, reverse=True)


def test_it_is_json() -> None:
    assert json.loads(json.dumps(shown(), allow_nan=False)) == shown()


def test_contributions_of_a_fixed_mix_are_its_weighted_scores_over_the_pages_mean() -> None:
    world = bare_world()
    state = first_pages(world, 3, SEED)
    page = sessions.observe(world, state)
    side = (world, similarity_policy(), None)
    for row, shelf in enumerate(shelves(small_shop(), side, side, 3, SEED)):
        mask = page["mask"][row] > 0
        mean = page["items"][row, mask, : len(SCORES)].mean(axis=0)
        for card in shelf["before"]:
            assert tuple(card["contributions"]) == tuple(feature_groups())
            for place, name in enumerate(SCORES):
                gap = (card["scores"][name] - mean[place]) / len(SCORES)
                assert abs(card["contributions"][name] - gap) < 1e-5
            assert abs(card["contributions"]["rest"]) < 1e-6
            assert card["named"] == []


def test_cards_say_what_their_reason_names() -> None:
    checker = ClaimChecker(CATALOGUE)
    met: set[str] = set()
    for page in shown():
        likes = VISITORS.profiles.liked(page["segment"], LIKES)
        for card in page["after"]:
            found = checker.check(CATALOGUE.item_position[card["item_id"]], card["reason"])
            named = named_groups(card["reason"], found, CATALOGUE.aspects, likes)
            assert set(card["named"]) == named
            met |= named
    assert {"text", "graph", "reason"} <= met
