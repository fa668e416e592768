"""The click reward where click models make neighbours matter, against brute force."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import get_args

import numpy as np
import pytest

from envs import sessions
from envs.behaviour import ShopConfig, next_trust
from envs.clicks import ClickModel, ClickModelName, make_click_model
from envs.counter_rng import new_keys
from envs.reasons import ReasonTable
from envs.sessions import Appeal
from envs.shoppers import Population
from envs.world import World
from rewards.clicks import ClickReward, ClickRewardConfig
from rewards.placement import NODES, Pages, Placement, click_worth, placement_on
from tests.shop_at_hand import bare_world

SLOTS, SHOPPER, TRUST_VALUE = 4, 3, 0.7
MODELS: tuple[ClickModelName, ...] = get_args(ClickModelName)
#: Models under which a page gets one click at most.
SINGLE: tuple[ClickModelName, ...] = ("cascade", "mnl")
EVERY_CLICK = np.array(list(product([False, True], repeat=SLOTS)))


def model_of(name: ClickModelName) -> ClickModel:
    return make_click_model(name, SLOTS, ShopConfig().clicks)


def world_of(name: ClickModelName) -> World:
    """A shop of attractive items in which every shopper is the same one.

    Relevance is the same everywhere too, so that the mean over pools is that of any page, and a
    search asks no more of it than other scenes, because the reward is asked outside of scenes.
    """
    world = bare_world()
    row = {key: values[SHOPPER] for key, values in vars(world.population).items()}
    people = {
        key: np.broadcast_to(value, (world.n_shoppers, *np.shape(value))).copy()
        for key, value in row.items()
    }
    alike = replace(
        world,
        population=Population(**people),
        segment=np.full(world.n_shoppers, 2),
        segment_aspects=world.segment_aspects[:3],
        pools=replace(world.pools, relevance=np.full_like(world.pools.relevance, 0.3)),
        reasons=blank(world),
    )
    config = ShopConfig(
        click_model=name, slots=SLOTS, bias=-3.0, buy_bias=-2.0, w_click=0.3, w_search=0
    )
    return alike.with_config(config)


def blank(world: World) -> ReasonTable:
    items, aspects = world.aspects.shape
    shape = (items, 3)
    return ReasonTable(*(np.zeros(s, dtype=np.float32) for s in ((*shape, aspects), shape, shape)))


def some_reasons(world: World, seed: int) -> ReasonTable:
    """A reason beside every item, some of them lying, some claiming nothing."""
    rng = np.random.default_rng(seed)
    items, aspects = world.aspects.shape
    lies = rng.integers(0, 2, size=(items, 3)).astype(np.float32)
    claims = (rng.random((items, 3, aspects)) < 0.15).astype(np.float32)
    return ReasonTable(claims, lies, np.full((items, 3), 21.0, dtype=np.float32))


@dataclass
class Seen:
    """One page of a session's first step."""

    items: np.ndarray
    appeal: Appeal
    trust: float


def page_in(world: World, seed: int) -> Seen:
    """The first candidates of a fresh session, as the shop itself sees them."""
    state = sessions.start(world, new_keys(np.random.default_rng(seed), 1))
    columns, items = sessions.candidates(world, state)
    columns, items = columns[:, :SLOTS], items[:, :SLOTS]
    found = sessions.appeal(world, state, columns, items)
    return Seen(items, found, float(state.trust[0]))


def by_hand(world: World, model: ClickModel, page: Seen) -> float:
    """Expected reward and worth of trust of a page, over all its 2^k click vectors."""
    shop, appeal = world.config, page.appeal
    chance = np.exp(
        model.log_likelihood(EVERY_CLICK, np.repeat(appeal.attraction, len(EVERY_CLICK), axis=0))
    )
    assert chance.sum() == pytest.approx(1)
    gain = shop.w_buy * world.margin[page.items[0]].astype(np.float64) * appeal.purchase[0]
    total = 0.0
    for clicks, p in zip(EVERY_CLICK, chance):
        lied = (clicks & (appeal.unsupported[0] > 0)).sum()
        kept = (clicks & (appeal.unsupported[0] == 0) & appeal.claimed[0]).sum()
        trust = next_trust(shop, page.trust, float(lied), float(kept)) - page.trust
        total += p * ((clicks * (shop.w_click + gain)).sum() + TRUST_VALUE * trust)
    return total


def ours(world: World, model: ClickModel, page: Seen, slot: int, told: ReasonTable) -> float:
    """The click reward of the reason beside one item of the page."""
    item = page.items[:, slot]
    worth = click_worth(
        world, page.items, np.array([page.trust], np.float32), page.appeal.purchase,
        page.appeal.unsupported, page.appeal.claimed, TRUST_VALUE,
    )  # fmt: skip
    placement = placement_on(
        model, Pages(page.items, page.appeal.attraction, worth), len(world.quality)
    )
    config = ClickRewardConfig(shoppers=1, trust_value=TRUST_VALUE, satiation=0)
    # Only the shopper's own segment is asked about; the panel needs someone in the others.
    peopled = replace(world, segment=np.arange(world.n_shoppers) % 3)
    reward = ClickReward(peopled, config, placement, np.random.default_rng(0))
    cell = (item, np.array([2]))
    return float(
        reward.score(*cell, told.claims[cell], told.unsupported[cell], told.words[cell])[0]
    )


def _without(table: ReasonTable, item: int) -> ReasonTable:
    kept = {name: values.copy() for name, values in vars(table).items()}
    for values in kept.values():
        values[item] = 0
    return ReasonTable(**kept)


def _compare(name: ClickModelName, around: ReasonTable | None, seed: int) -> list[float]:
    """Uplifts by brute force of the reason of each slot, each checked against ours."""
    world, model = world_of(name), model_of(name)
    told = some_reasons(world, seed)
    found = []
    for slot in range(SLOTS):
        item = int(page_in(world, seed).items[0, slot])
        neighbours = _without(around if around is not None else blank(world), item)
        with_it = {key: values.copy() for key, values in vars(neighbours).items()}
        for key, values in with_it.items():
            values[item] = getattr(told, key)[item]
        pages = [
            page_in(world.with_reasons(table), seed)
            for table in (ReasonTable(**with_it), neighbours)
        ]
        assert pages[0].items.tolist() == pages[1].items.tolist()
        brute = by_hand(world, model, pages[0]) - by_hand(world, model, pages[1])
        assert ours(world, model, pages[1], slot, told) == pytest.approx(brute, rel=2e-4, abs=1e-7)
        found.append(brute)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_uplift_is_the_difference_of_the_page_with_and_without_the_reason(
    name: ClickModelName,
) -> None:
    """Purchases and trust included, by every click vector's exact probability."""
    for seed in (1, 2):
        found = _compare(name, None, seed)
        assert np.abs(found).min() > 1e-5  # each slot's reason matters, so each is a check


@pytest.mark.parametrize("name", SINGLE)
def test_neighbours_may_have_reasons_too(name: ClickModelName) -> None:
    """Exact where a page has one click at most; else two clicks' changes of trust are not a sum."""
    around = some_reasons(world_of(name), 9)
    _compare(name, around, 1)


def _random_pages(count: int, seed: int, items: int = 9) -> Pages:
    rng = np.random.default_rng(seed)
    shown = np.stack([rng.permutation(items)[:SLOTS] for _ in range(count)])
    return Pages(shown, rng.uniform(0.05, 0.6, shown.shape), rng.uniform(0, 2, shown.shape))


def _value(found: Placement, item: int, attraction: float, worth: float) -> float:
    cell = (np.array([[x]], dtype=np.float32) for x in (attraction, worth))
    return float(found.value(np.array([item]), *cell)[0, 0])


@pytest.mark.parametrize("name", MODELS)
def test_value_is_the_mean_over_the_pages_that_show_the_item(name: ClickModelName) -> None:
    """Whatever the item's attraction and the worth of a click on it."""
    model, pages = model_of(name), _random_pages(12, 4)
    found = placement_on(model, pages, 10)
    for item in range(9):
        for attraction, worth in ((0.02, 1.0), (0.5, 0.3), (0.93, 2.0)):
            brought = []
            for shown, attracts, worths in zip(pages.items, pages.attraction, pages.worth):
                if item not in shown:
                    continue
                mine = shown == item
                marginal = model.marginal_click_probability(
                    np.where(mine, attraction, attracts)[None]
                )
                brought.append(float((marginal * np.where(mine, worth, worths)).sum()))
            assert found.shown[item] == len(brought)
            expected = pytest.approx(np.mean(brought), rel=1e-5)
            assert _value(found, item, attraction, worth) == expected


def test_position_and_cascade_by_hand() -> None:
    """One page of attractions .5, .2, .4, .1 and worths 1, 2, 3, 4; the item in the second slot."""
    shown, worth = np.array([[0, 1, 2, 3]]), np.array([[1.0, 2, 3, 4]])
    page = Pages(shown, np.array([[0.5, 0.2, 0.4, 0.1]]), worth)
    position = placement_on(model_of("position"), page, 4)
    theta = (1 + np.arange(4)) ** -0.6
    np.testing.assert_allclose(position.examination[:, 0], theta, rtol=1e-6)
    assert position.examination.shape == position.others.shape == (4, 1)
    others = theta[0] * 0.5 * 1 + theta[2] * 0.4 * 3 + theta[3] * 0.1 * 4
    assert position.others[1, 0] == pytest.approx(others)
    cascade = placement_on(model_of("cascade"), page, 4)
    assert _value(cascade, 1, 0.0, 2) == pytest.approx(0.5 + 0.5 * (0.4 * 3 + 0.6 * 0.1 * 4))
    assert _value(cascade, 1, 0.2, 2) == pytest.approx(
        0.5 + 0.5 * 0.2 * 2 + 0.5 * 0.8 * (0.4 * 3 + 0.6 * 0.1 * 4)
    )


@pytest.mark.parametrize(
    ("name", "degree"),
    [("position", 0), ("cascade", 1), ("dcm", 1), ("dbn", 1), ("sdbn", 1), ("ubm", 1), ("ccm", 2)],
)
def test_no_more_coefficients_than_the_model_needs(name: ClickModelName, degree: int) -> None:
    found = placement_on(model_of(name), _random_pages(12, 4), 10)
    assert (found.examination.shape, found.others.shape) == ((10, 1), (10, degree + 1))


def test_logit_needs_fewer_coefficients_than_are_measured() -> None:
    assert placement_on(model_of("mnl"), _random_pages(12, 4), 10).others.shape[1] <= NODES


def test_an_item_that_was_never_shown_has_the_mean_of_all_impressions() -> None:
    pages = _random_pages(12, 4)
    found = placement_on(model_of("dbn"), pages, 10)
    weighted = (found.shown[:, None] * found.others).sum(axis=0) / found.shown.sum()
    assert found.shown[9] == 0
    np.testing.assert_allclose(found.others[9], weighted, rtol=1e-5)


def test_pages_of_other_shapes_are_refused() -> None:
    pages = _random_pages(3, 0)
    with pytest.raises(ValueError, match=r"pages.worth must have the shape of items, \(3, 4\)"):
        placement_on(model_of("dbn"), replace(pages, worth=pages.worth[:2]), 10)
    none = np.zeros((0, 4))
    with pytest.raises(ValueError, match=r"\(P, k\) with P > 0"):
        placement_on(model_of("dbn"), Pages(none.astype(np.int64), none, none), 10)
