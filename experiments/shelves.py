"""Shelves before and after: the same page ordered by two policies, with reasons and claims.

Each item comes with what put it there: what each group of features added to the policy's score
(`policies.explain`), and which of the groups its reason names (`policies.explain_reason`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs import sessions
from envs.assemble import Shop
from envs.counter_rng import new_keys
from envs.sessions import SessionState
from envs.shop import ShopVectorEnv
from envs.similarity import SCENES, SCORES
from envs.world import World
from policies.baselines import Page, SlatePolicy
from policies.explain_policy import explain_policy
from policies.explain_reason import named_groups
from policies.reasoner.book import ReasonBook
from rewards.claims import ClaimChecker
from sft.tasks import segment_likes
from sft.tasks.briefs import LIKES

Side = tuple[World, SlatePolicy, ReasonBook | None]


def first_pages(world: World, count: int, seed: int) -> SessionState:
    """Return first pages of sessions, scenes taken in turn as far as they exist."""
    keys = new_keys(np.random.default_rng(seed), 40 * count)
    state = sessions.start(world, keys)
    by_scene = [np.flatnonzero(state.scene == scene)[:count] for scene in range(3)]
    turns = [rows[turn] for turn in range(count) for rows in by_scene if turn < len(rows)]
    return sessions.start(world, keys[np.array(turns[:count], dtype=np.int64)])


def shelves(shop: Shop, before: Side, after: Side, count: int, seed: int) -> list[dict[str, Any]]:
    """Return ``count`` pages, each ordered by both sides, ready for the report.

    The policies must read the observation alone, or there is nothing to explain.
    """
    if not count:
        return []
    world = before[0]
    state = first_pages(world, count, seed)
    visitors = shop.visitors
    likes = segment_likes(visitors.catalogue, visitors.profiles)
    checker = ClaimChecker(visitors.catalogue)
    sides = [_cards(shop, side, state, checker) for side in (before, after)]
    queries = visitors.catalogue.queries["query"].tolist()
    out = []
    for row in range(len(state.key)):
        segment = int(world.segment[state.shopper[row]])
        place = int(state.anchor[row]) - world.pools.first_row(int(state.scene[row]))
        scene = SCENES[int(state.scene[row])]
        if scene == "similar":  # a large shop keeps pools of some items only
            place = int(world.pools.owners[place])
        out.append(
            {
                "shopper": visitors.profiles.shopper_ids[int(state.shopper[row])],
                "segment": segment,
                "likes": likes[segment],
                "scene": scene,
                "query": queries[place] if scene == "search" else None,
                "anchor": str(visitors.catalogue.items["title"].iloc[place])
                if scene == "similar"
                else None,
                "before": sides[0][row],
                "after": sides[1][row],
            }
        )
    return out


def _cards(
    shop: Shop, side: Side, state: SessionState, checker: ClaimChecker
) -> list[list[dict[str, Any]]]:
    world, policy, book = side
    observation = sessions.observe(world, state)
    # The env is asked for its click model only; no step is taken.
    page = Page(observation, world, state, ShopVectorEnv(world, 1).click_model)
    slates = policy.slates(page)
    why = explain_policy(policy, page, slates)
    _, candidates = sessions.candidates(world, state)
    items = np.take_along_axis(candidates, slates, axis=1)
    scores = np.take_along_axis(observation["items"], slates[..., None], axis=1)[..., : len(SCORES)]
    reasons = book.lookup() if book else {}
    out = []
    for row, segment in enumerate(world.segment[state.shopper].tolist()):
        cards = []
        for place, item in enumerate(items[row].tolist()):
            card = _card(shop, item, segment, scores[row, place], reasons)
            card["contributions"] = why.named(row, place)
            named = _named(shop, checker, item, segment, card["reason"])
            card["named"] = [group for group in why.groups if group in named]
            cards.append(card)
        out.append(cards)
    return out


def _named(shop: Shop, checker: ClaimChecker, item: int, segment: int, text: str) -> frozenset[str]:
    likes = shop.visitors.profiles.liked(segment, LIKES)
    found = checker.check(item, text)
    return named_groups(text, found, shop.visitors.catalogue.aspects, likes)


def _card(
    shop: Shop, item: int, segment: int, scores: NDArray[np.float32],
    reasons: dict[tuple[str, int], dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    catalogue = shop.visitors.catalogue
    about = catalogue.items.iloc[item]
    reason = reasons.get((about["item_id"], segment), {})
    return {
        "item_id": about["item_id"],
        "title": about["title"],
        "brand": about["brand"],
        "class": about["class"],
        "price": float(about["price"]),
        "currency": catalogue.currency,
        "reason": reason.get("text", ""),
        "source": reason.get("source", "none"),
        "claims": list(reason.get("claims", [])),
        "scores": dict(zip(SCORES, map(float, scores))),
    }
