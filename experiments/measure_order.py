"""Whether a reason names what really put its item there, and whether its fact is the linking one.

Two questions about the items that a policy shows, each beside its floors:

1. *The true factor*: is one of the groups that the reason names (`policies.explain_reason`) among
   the `TOP` groups that lift the item highest (`policies.explain`)? Floors: as many groups drawn at
   random, in expectation; and the reasons of the other items of the same page, each in turn. Above
   the second lies what a reason knows of its own item; what it gains on the first alone is due to
   what reasons here mostly say.
2. *The link* (`experiments.measure_order_links`): of what the page starts from, does anything share
   the fact that the reason states?

Items of one page are no independent rows: intervals take a page as one cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs import sessions
from envs.assemble import Shop
from envs.progress import Progress, silent
from envs.sessions import SessionState
from envs.shop import ShopVectorEnv
from envs.world import World
from experiments.measure_intervals import clustered_share
from experiments.measure_order_links import links
from experiments.shelves import first_pages
from policies.baselines import Page, SlatePolicy
from policies.explain import VARIETY, feature_groups, top_groups
from policies.explain_policy import explain_policy
from policies.explain_reason import named_groups
from policies.reasoner.book import ReasonBook
from rewards.claims import ClaimChecker, TextClaims
from sft.metrics.figures import Figure, clustered_mean
from sft.tasks.briefs import LIKES

Bools = NDArray[np.bool_]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Groups that count as what put an item there.
TOP = 2
#: First pages looked at, scenes in turn.
PAGES = 240


@dataclass(frozen=True)
class Shown:
    """The n items that a policy shows with a reason."""

    #: Names of the G groups.
    groups: tuple[str, ...]
    #: Which page each item is on and which item it is, (n,).
    page: I64
    item: I64
    #: What lifts it highest, and what its reason names, (n, G).
    top: Bools
    named: Bools
    #: The claims of its reason.
    claims: list[TextClaims]


def measure_order(
    shop: Shop,
    sides: Mapping[str, tuple[World, SlatePolicy, ReasonBook]],
    pages: int = PAGES,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Ask both questions of each side on the same first pages of sessions.

    Args:
        shop: where they meet.
        sides: by name a shop with its reasons, a policy that reads the observation alone, and the
            book of these reasons.
        pages: how many pages, 1 or more.
        seed: of their sessions.
        progress: told after each side.

    Returns:
        ``pages``, ``top`` (how many groups count as the true factor), ``groups`` (their names), and
        by side in ``policies``: ``items`` shown with a reason; ``named``, the share whose reason
        names one of the top groups; its floors ``random`` and ``shuffled``, and ``over_shuffled``,
        the difference; ``silent``, the share that name nothing; ``factors``, for each group how
        often it is the ``first``, among the ``top``, and ``said`` by the reason; and ``links``.
        Figures are ``{value, low, high}``; one that nothing could be counted for is left out.
    """
    checker, found = ClaimChecker(shop.visitors.catalogue), {}
    for done, (name, (world, policy, book)) in enumerate(sides.items(), start=1):
        state = first_pages(world, pages, seed)
        shown = shown_items(shop, world, policy, book, state, checker)
        found[name] = figures(shown) | {"links": links(shop, world, state, shown)}
        progress(done, len(sides), {})
    return {
        "pages": pages,
        "top": TOP,
        "groups": [name for name in feature_groups() if name != VARIETY],
        "policies": found,
    }


def shown_items(
    shop: Shop,
    world: World,
    policy: SlatePolicy,
    book: ReasonBook,
    state: SessionState,
    checker: ClaimChecker,
) -> Shown:
    """Return the items that the policy shows on the pages of ``state``, and why."""
    # The env is asked for its click model only; no step is taken.
    model = ShopVectorEnv(world, 1).click_model
    page = Page(sessions.observe(world, state), world, state, model)
    places = policy.slates(page)
    why = explain_policy(policy, page, places)
    _, candidates = sessions.candidates(world, state)
    items = np.take_along_axis(candidates, places, axis=1)
    ids = shop.visitors.catalogue.items["item_id"].to_numpy()
    segment = world.segment[state.shopper]
    told = book.lookup()
    texts = [
        [str(told.get((ids[item], int(who)), {}).get("text", "")) for item in row]
        for row, who in zip(items, segment)
    ]
    rows, slots = np.nonzero(np.array(texts, dtype=object) != "")
    claims = [checker.check(int(items[r, s]), texts[r][s]) for r, s in zip(rows, slots)]
    aspects, profiles = shop.visitors.catalogue.aspects, shop.visitors.profiles
    # Nothing is lifted by others of its class, and no words are about them.
    groups = tuple(name for name in why.groups if name != VARIETY)
    named = np.zeros((len(rows), len(groups)), dtype=bool)
    for place, (row, slot) in enumerate(zip(rows, slots)):
        likes = profiles.liked(int(segment[row]), LIKES)
        said = named_groups(texts[row][slot], claims[place], aspects, likes)
        named[place] = [group in said for group in groups]
    top = top_groups(why.contributions[..., : len(groups)], TOP)[rows, slots]
    return Shown(groups, rows, items[rows, slots], top, named, claims)


def figures(shown: Shown) -> dict[str, Any]:
    """Return how often reasons name the true factor, beside the floors."""
    if not len(shown.page):
        return {"items": 0}
    hit: F64 = np.asarray((shown.top & shown.named).any(axis=1), dtype=np.float64)
    others = shuffled_hits(shown)
    paired = ~np.isnan(others)
    found: dict[str, Figure | None] = {
        "named": clustered_share(hit, np.ones(len(hit)), shown.page),
        "random": Figure(float(random_hits(shown).mean())),
    }
    if paired.any():
        found["shuffled"] = Figure(float(others[paired].mean()))
        found["over_shuffled"] = clustered_mean((hit - others)[paired], shown.page[paired])
    return {
        "items": len(hit),
        "silent": float((~shown.named.any(axis=1)).mean()),
        **{name: figure.as_dict() for name, figure in found.items() if figure},
        "factors": {
            group: {"top": float(top), "said": float(said)}
            for group, top, said in zip(
                shown.groups, shown.top.mean(axis=0), shown.named.mean(axis=0)
            )
        },
    }


def random_hits(shown: Shown) -> F64:
    """Chance that as many groups as the reason names, drawn at random, hold a top one, (n,)."""
    size = len(shown.groups)
    return np.array(
        [
            1 - comb(size - int(top), int(said)) / comb(size, int(said))
            for top, said in zip(shown.top.sum(axis=1), shown.named.sum(axis=1))
        ]
    )


def shuffled_hits(shown: Shown) -> F64:
    """Share of the other reasons of its page that would name an item's top group, (n,).

    NaN for an item that stands alone on its page.
    """
    met = (shown.top[:, None] & shown.named[None]).any(axis=2)
    other = shown.page[:, None] == shown.page[None]
    np.fill_diagonal(other, False)
    count = other.sum(axis=1)
    return np.where(count > 0, (met & other).sum(axis=1) / np.maximum(count, 1), np.nan)
