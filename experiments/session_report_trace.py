"""One session, page by page, with what the shopper felt: what the session's picture is drawn from.

Everything hidden is shown here on purpose (trust, chances); no policy is given it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs import sessions
from envs.assemble import Shop
from envs.behaviour import leave_probability
from envs.sessions import SessionState
from envs.shop import ShopVectorEnv
from envs.similarity import SCENES, SCORES
from envs.world import World
from experiments.simulate import Contestant, Sessions
from policies.baselines import Page
from policies.reasoner.book import ReasonBook


@dataclass(frozen=True)
class Card:
    """An item as it stood on a shelf."""

    item: int
    title: str
    item_class: str
    #: Index of the class, for its colour.
    hue: int
    brand: str
    price: float
    #: The six similarity scores by name, each in [0, 1].
    scores: dict[str, float]
    reason: str
    claims: list[str]
    unsupported: int
    #: Chance that the slot is examined, and that the item then attracts, both in [0, 1].
    examined: float
    attracts: float
    clicked: bool
    bought: bool


@dataclass(frozen=True)
class Turn:
    """One page: what was shown and what it did to the shopper."""

    #: ``home``, ``similar`` or ``search``, and the anchor's title or the query's words.
    scene: str
    about: str
    cards: list[Card]
    #: Trust before and after the page, in [0, 1].
    trust_before: float
    trust: float
    #: Mean satiation of the shown classes after the page.
    satiation: float
    #: Chance of leaving after the page, in [0, 1].
    hazard: float
    #: Left after the page, to come back some day or never.
    left: bool
    reward: float
    #: Day of the visit that the page belongs to; the first is on day 0.
    day: int = 0


@dataclass(frozen=True)
class Trace:
    """A session of one shopper under one policy."""

    name: str
    shopper: str
    segment: int
    turns: list[Turn]

    @property
    def reward(self) -> float:
        """Return of the session."""
        return sum(turn.reward for turn in self.turns)


def trace(shop: Shop, contestant: Contestant, book: ReasonBook | None, seed: int) -> Trace:
    """Play the session of ``seed`` again, as `experiments.simulate.play` plays it."""
    world = contestant.world
    env = ShopVectorEnv(world, 1)
    observation, _ = env.reset(seed=seed)
    first, turns = env.state, []
    # Items that a page may stand beside: the last one clicked, before that the last one met.
    beside = [int(world.last_item[first.shopper[0]])]
    texts = book.lookup() if book else {}
    over = False
    while not over:
        before = env.state
        page = Page(observation, world, before, env.click_model)
        slates = contestant.policy.slates(page)
        scores = observation["items"][0, slates[0], : len(SCORES)]
        columns, items = sessions.candidates(world, before)
        columns, items = (np.take_along_axis(x, slates, axis=1) for x in (columns, items))
        charm = sessions.appeal(world, before, columns, items)
        examined = env.click_model.examination_probability(charm.attraction)[0]
        about = _about(shop, world, before, beside)
        observation, reward, gone, cut, info = env.step(slates)
        cards = [
            _card(
                shop, world, before, int(item), dict(zip(SCORES, map(float, scores[slot]))), texts,
                examined=float(examined[slot]), attracts=float(charm.attraction[0, slot]),
                clicked=bool(info["clicks"][0, slot]), bought=bool(info["purchases"][0, slot]),
            )
            for slot, item in enumerate(items[0])
        ]  # fmt: skip
        beside = [card.item for card in reversed(cards) if card.clicked] + beside
        # Left for good, to come back, or on a visit after which none more is followed.
        ends = cut[0] and env.state.page[0] < world.config.max_pages
        left = bool(gone[0] or ends or env.state.visit[0] > before.visit[0])
        tired, hazard = _mood(world, before, float(env.state.trust[0]), cards)
        turns.append(
            Turn(
                SCENES[int(before.scene[0])], about, cards, trust_before=float(before.trust[0]),
                trust=float(env.state.trust[0]), satiation=tired, hazard=hazard,
                left=left, reward=float(reward[0]), day=int(before.day[0]),
            )
        )  # fmt: skip
        over = bool(gone[0] or cut[0])
    shopper = int(first.shopper[0])
    name = str(shop.visitors.profiles.shopper_ids[shopper])
    return Trace(contestant.name, name, int(world.segment[shopper]), turns)


def _mood(
    world: World, before: SessionState, trust: float, cards: list[Card]
) -> tuple[float, float]:
    """Return the mean satiation of the shown classes and the chance of leaving, after a page.

    The state after the page may be that of a visit days later, so both follow from the one before.
    """
    config = world.config
    tired = before.satiation[0] * config.satiation_decay
    classes = [card.hue for card in cards]
    np.add.at(tired, classes, config.satiation_gain / config.slots)
    late = max(0.0, float(before.visit_page[0] + 1 - world.population.patience[before.shopper[0]]))
    clicked = float(any(card.clicked for card in cards))
    mean = float(tired[classes].mean())
    return mean, float(leave_probability(config, clicked, trust, mean, late))


def _about(shop: Shop, world: World, state: SessionState, beside: list[int]) -> str:
    """Return the title of the item that a page stands beside, or its query's words."""
    catalogue, scene, anchor = shop.visitors.catalogue, int(state.scene[0]), int(state.anchor[0])
    if SCENES[scene] == "search":
        return str(catalogue.queries["query"].iloc[anchor - world.pools.first_row(scene)])
    if SCENES[scene] == "similar":
        # Several items may borrow one pool: the anchor alone does not tell which was meant.
        rows = world.pools.similar_row(np.array(beside))
        return str(catalogue.items["title"].iloc[beside[int((rows == anchor).argmax())]])
    return ""


def _card(
    shop: Shop, world: World, state: SessionState, item: int, scores: dict[str, float],
    texts: Mapping[tuple[str, int], Mapping[str, Any]], **marks: Any,
) -> Card:  # fmt: skip
    about = shop.visitors.catalogue.items.iloc[item]
    reason = texts.get((about["item_id"], int(world.segment[state.shopper[0]])), {})
    return Card(
        item=item, title=str(about["title"]), item_class=str(about["class"]),
        hue=int(world.class_index[item]), brand=str(about["brand"]), price=float(about["price"]),
        scores=scores, reason=str(reason.get("text", "")), claims=list(reason.get("claims", [])),
        unsupported=int(reason.get("unsupported", 0)), **marks,
    )  # fmt: skip


def telling_session(played: list[Sessions], seeds: range) -> int:
    """Return the seed of the first session that shows much in few pages.

    Of the two played sides the first must have a purchase and a second click, and both four to
    six pages; where there is none such, the one with most clicks of at most six pages, if any.
    """
    short = np.all([side.pages <= 6 for side in played], axis=0)
    long = np.all([side.pages >= 4 for side in played], axis=0)
    first = played[0]
    good = np.flatnonzero(short & long & (first.purchases >= 1) & (first.clicks >= 2))
    if len(good):
        return seeds[int(good[0])]
    return seeds[int(np.where(short, first.clicks, -1.0).argmax())]
