"""The kernels against the shop's equations, one shopper at a time, without arrays of shoppers.

Written from DESIGN section 3 and `envs.behaviour`'s docstrings: slow, plain, and sharing with the
kernels nothing but the counters of the coin flips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from envs import kernels, sessions
from envs.behaviour import ShopConfig
from envs.clicks import make_click_model
from envs.counter_rng import fold, new_keys, uniform
from envs.reasons import ReasonTable
from envs.world import World

K, N, ROWS, PAGES = 5, 20, 150, 14
HOME, SIMILAR, SEARCH = range(3)


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@dataclass
class Shopper:
    """One session, followed page by page."""

    world: World
    key: np.ndarray
    page: int = 0
    visit_page: int = 0
    day: int = 0
    visits: int = 1
    clicks_of_visit: int = 0
    buys_of_visit: int = 0
    bought: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        world = self.world
        self.number = int(self.flip(kernels.SHOPPER) * world.n_shoppers)
        self.taste = world.population.taste[self.number].astype(float)
        self.trust = float(world.population.trust[self.number])
        self.satiation = np.zeros(world.n_classes)
        self.open()

    def flip(self, *purpose: int, page: int | None = None) -> float:
        key = fold(self.key, self.page if page is None else page)
        for counter in purpose:
            key = fold(key, counter)
        return float(uniform(key)[0])

    def open(self) -> None:
        world, config = self.world, self.world.config
        draw = self.flip(kernels.SCENE)
        if draw < config.start_search:
            self.scene, place = SEARCH, int(self.flip(kernels.ANCHOR) * world.n_queries)
        elif draw < config.start_search + config.start_home:
            self.scene, place = HOME, self.number
        else:
            self.scene, place = SIMILAR, int(world.last_item[self.number])
        self.anchor = world.pools.first_row(self.scene) + place
        self.offset = int(self.flip(kernels.OFFSET) * world.pools.items.shape[1])

    def candidates(self) -> list[tuple[int, int]]:
        pool = self.world.pools.items[self.anchor]
        columns = [(self.offset + j) % len(pool) for j in range(N)]
        return [(column, int(pool[column])) for column in columns]

    def look(self, column: int, item: int) -> tuple[float, float, float, float]:
        """Attraction, purchase probability, unsupported claims, claims."""
        world, config, people = self.world, self.world.config, self.world.population
        x = world.aspects[item].astype(float)
        norms = float(np.linalg.norm(self.taste) * np.linalg.norm(x))
        match = float(self.taste @ x) / norms if norms > 1e-6 else 0.0
        distance = float(world.price_z[item]) - float(people.price_point[self.number])
        price = math.exp(-(distance**2) / 2) * float(people.price_sensitivity[self.number])
        quality, kind = float(world.quality[item]), int(world.class_index[item])
        relevance = float(world.pools.relevance[self.anchor, column])
        logit = (
            config.bias
            + config.w_match * match
            + config.w_class * float(people.class_affinity[self.number, kind])
            + config.w_scene * relevance
            + config.w_search * (relevance - 0.75) * (self.scene == SEARCH)
            + config.w_price * price
            + config.w_quality * quality
            - config.w_satiation * self.satiation[kind]
        )
        segment = int(world.segment[self.number])
        claims = world.reasons.claims[item, segment].astype(float)
        words = float(world.reasons.words[item, segment])
        diluted = 1 + config.w_dilute * max(0.0, claims.sum() - 1)
        pull = self.trust * math.tanh(float(claims @ self.taste) / diluted)
        pull -= config.w_length * max(0.0, words / config.words_free - 1)
        lies = float(world.reasons.unsupported[item, segment])
        buys = (
            config.buy_bias
            + config.buy_match * match
            + config.buy_price * price
            + config.buy_quality * quality
            - config.buy_lie * lies
        )
        return logistic(logit + config.w_reason * pull), logistic(buys), lies, claims.sum()

    def view(self, slate: list[int]) -> tuple[list[bool], list[bool], float, bool]:
        """Clicks and purchases by slot, the reward, and whether the shopper left."""
        world, config = self.world, self.world.config
        offered = self.candidates()
        cards = [offered[place] for place in slate]
        shown = [
            item not in self.bought and slate[j] not in slate[:j]
            for j, (_, item) in enumerate(cards)
        ]
        looks = [self.look(*card) for card in cards]
        attraction = [look[0] if on else 0.0 for look, on in zip(looks, shown)]
        model = make_click_model(config.click_model, K, config.clicks)
        luck = [
            [self.flip(kernels.CLICK, item, draw) for draw in range(model.draws)]
            for _, item in cards
        ]
        clicks = model.clicks_from(np.array([attraction], np.float32), np.array([luck]))[0].tolist()
        reward, lies, kept = 0.0, 0, 0
        buys = [False] * K
        self.satiation *= config.satiation_decay
        for j, (_, item) in enumerate(cards):
            if shown[j]:
                self.satiation[world.class_index[item]] += config.satiation_gain / K
            if not clicks[j]:
                continue
            reward += config.w_click
            lies += looks[j][2] > 0
            kept += looks[j][2] == 0 and looks[j][3] > 0
            if self.flip(kernels.BUY, item) < looks[j][1]:
                buys[j] = True
                reward += config.w_buy * float(world.margin[item])
                step = config.taste_drift
                self.taste = (1 - step) * self.taste + step * world.aspects[item]
                self.bought = [item, *self.bought][:8]
        for _ in range(lies):
            self.trust *= 1 - config.trust_lost
        for _ in range(kept):
            self.trust += config.trust_won * (1 - self.trust)
        self.visit_page += 1
        self.clicks_of_visit += sum(clicks)
        self.buys_of_visit += sum(buys)
        seen = [self.satiation[world.class_index[c[1]]] for c, on in zip(cards, shown) if on]
        hazard = (
            config.leave_bias
            + config.leave_no_click * (not any(clicks))
            + config.leave_distrust * (1 - self.trust)
            + config.leave_satiation * float(np.mean(seen))
            + config.leave_impatience
            * max(0.0, self.visit_page - float(world.population.patience[self.number]))
        )
        left = self.flip(kernels.LEAVE) < logistic(hazard)
        reward -= config.w_leave * left
        self.turn(left, [item for (_, item), clicked in zip(cards, clicks) if clicked])
        return clicks, buys, reward, left

    def turn(self, left: bool, clicked: list[int]) -> None:
        world, config, page = self.world, self.world.config, self.page
        self.page += 1
        self.gone = left
        if left and config.multi_visit:
            logit = (
                config.return_bias
                + config.return_click * math.log(1 + self.clicks_of_visit)
                + config.return_buy * self.buys_of_visit
                + config.return_trust * self.trust
            )
            chance, draw, gap = logistic(logit), self.flip(kernels.RETURN, page=page), 1
            while draw >= 1 - (1 - chance) ** gap and self.day + gap <= config.horizon_days:
                gap += 1
            self.gone = self.day + gap > config.horizon_days or self.visits >= config.max_visits
            if not self.gone:
                self.day += gap
                self.visits += 1
                self.satiation *= config.satiation_overnight**gap
                self.visit_page = self.clicks_of_visit = self.buys_of_visit = 0
                self.open()
                return
        if clicked and self.flip(kernels.FOLLOW, page=page) < config.follow_click:
            self.scene, place = SIMILAR, clicked[-1]
        elif self.flip(kernels.ASK, page=page) < config.new_query:
            self.scene = SEARCH
            place = int(self.flip(kernels.QUERY, page=page) * world.n_queries)
        else:
            self.offset += N
            return
        self.anchor = world.pools.first_row(self.scene) + place
        self.offset = int(self.flip(kernels.OFFSET) * world.pools.items.shape[1])


def _half_true(world: World) -> World:
    """Reasons that claim a few aspects, some of them falsely, in 6 to 30 words."""
    rng = np.random.default_rng(0)
    claims = (rng.random(world.reasons.claims.shape) < 0.15).astype(np.float32)
    holds = (world.aspects > 0)[:, None]
    return world.with_reasons(
        ReasonTable(
            claims=claims,
            unsupported=(claims * ~holds).sum(axis=-1),
            words=rng.integers(6, 31, size=claims.shape[:2]).astype(np.float32),
        )
    )


@pytest.mark.parametrize("click_model", ["position", "cascade"])
@pytest.mark.parametrize("multi_visit", [False, True])
def test_sessions_go_as_the_equations_say(
    small_world: World, click_model: str, multi_visit: bool
) -> None:
    config = ShopConfig.model_validate(
        {"click_model": click_model, "multi_visit": multi_visit, "bias": -2.5, "buy_bias": -1.5}
    )
    world = _half_true(small_world).with_config(config)
    keys = new_keys(np.random.default_rng(1), ROWS)
    model = make_click_model(config.click_model, K, config.clicks)
    rng = np.random.default_rng(2)
    state = sessions.start(world, keys)
    shoppers = [Shopper(world, keys[[row]]) for row in range(ROWS)]
    live = np.ones(ROWS, dtype=bool)
    compared = {"pages": 0, "clicks": 0, "buys": 0, "back": 0}
    for _ in range(PAGES):
        slates = rng.integers(N, size=(ROWS, K))  # with repeats
        nxt, outcome, _ = sessions.show(world, model, state, slates)
        for row in np.flatnonzero(live):
            shopper = shoppers[row]
            clicks, buys, reward, left = shopper.view(slates[row].tolist())
            assert outcome.clicks[row].tolist() == clicks
            assert outcome.purchases[row].tolist() == buys
            assert outcome.reward[row] == pytest.approx(reward, rel=1e-4, abs=1e-5)
            assert bool(outcome.left[row]) == left
            assert bool(outcome.gone[row] | outcome.cut[row]) == shopper.gone
            if not shopper.gone:
                assert nxt.anchor[row] == shopper.anchor
                assert nxt.offset[row] == shopper.offset
                assert nxt.day[row] == shopper.day
                assert nxt.trust[row] == pytest.approx(shopper.trust, rel=1e-4)
                np.testing.assert_allclose(nxt.taste[row], shopper.taste, rtol=1e-4)
                np.testing.assert_allclose(nxt.satiation[row], shopper.satiation, atol=1e-5)
            compared["pages"] += 1
            compared["clicks"] += sum(clicks)
            compared["buys"] += sum(buys)
            compared["back"] += left and not shopper.gone
        live &= ~(outcome.gone | outcome.cut)
        state = nxt
    assert compared["pages"] > 3 * ROWS
    assert compared["clicks"] > ROWS
    assert compared["buys"] > 30
    assert (compared["back"] > 30) == multi_visit
