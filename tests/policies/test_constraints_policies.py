"""Every policy keeps a shop's rules, through one seam that no policy knows of."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from envs import sessions
from envs.behaviour import ShopConfig
from envs.clicks import make_click_model
from envs.counter_rng import new_keys
from envs.world import World
from policies.baselines import (
    Page,
    SlatePolicy,
    oracle_policy,
    popularity_policy,
    random_policy,
    similarity_policy,
)
from policies.constraints import ConstraintsConfig, constrained, rules_of
from policies.constraints_page import world_rules
from policies.oracles import myopic_policy
from tests.shop_at_hand import bare_world, small_shop

POLICIES = [
    random_policy(), popularity_policy(), similarity_policy(), myopic_policy(), oracle_policy(0.8),
]  # fmt: skip
CATALOGUE = small_shop().visitors.catalogue


def page(world: World, rows: int = 64) -> Page:
    state = sessions.start(world, new_keys(np.random.default_rng(0), rows))
    config = world.config
    model = make_click_model(config.click_model, config.slots, config.clicks)
    return Page(sessions.observe(world, state), world, state, model)


@pytest.mark.parametrize("policy", POLICIES, ids=[policy.name for policy in POLICIES])
def test_every_policy_keeps_the_rules(policy: SlatePolicy) -> None:
    asked = ConstraintsConfig(
        max_per_group=2, min_groups=3, min_new=1,
        out_of_stock=tuple(CATALOGUE.items["item_id"][::7]),
    )  # fmt: skip
    shown = page(constrained(bare_world(), CATALOGUE, asked))
    rules = rules_of(shown.world)
    kept = world_rules(shown.world, shown.state, shown.observation["mask"])
    assert rules is not None
    assert kept is not None
    slates = policy.slates(shown)
    items = np.take_along_axis(sessions.candidates(shown.world, shown.state)[1], slates, axis=1)
    assert rules.showable[items].all()
    for row, group in enumerate(rules.group[items]):
        assert len(set(items[row])) == items.shape[1]
        assert np.bincount(group).max() <= kept.limit[row]
        assert len(set(group)) >= kept.groups[row]
    assert (rules.new[items].sum(axis=1) >= kept.fresh).all()
    assert (kept.groups == 3).mean() > 0.9
    free = policy.slates(page(bare_world()))
    assert (free != slates).any(axis=1).mean() > 0.2


def test_a_policy_is_asked_about_what_the_filters_leave() -> None:
    gone = tuple(CATALOGUE.items["item_id"][::2])
    world = constrained(bare_world(), CATALOGUE, ConstraintsConfig(out_of_stock=gone))
    asked: list[Page] = []

    def score(page: Page) -> NDArray[np.float32]:
        asked.append(page)
        return popularity_policy().score(page)

    watching = SlatePolicy("watching", score)
    shown = page(world)
    watching.slates(shown)
    items = sessions.candidates(world, shown.state)[1]
    left = ~np.isin(CATALOGUE.items["item_id"].to_numpy()[items], gone)
    np.testing.assert_array_equal(asked[0].observation["mask"] > 0, left)
    assert shown.observation["mask"].all()  # the page itself is left alone


def test_an_oracle_under_rules_beats_similarity_under_them() -> None:
    """Outside its best slate it ranks by worth, so that rules do not make it blind."""
    world = constrained(
        bare_world().with_config(ShopConfig(click_model="position")), CATALOGUE,
        ConstraintsConfig(max_per_group=1, min_new=2),
    )  # fmt: skip
    shown = page(world, rows=200)
    columns, items = sessions.candidates(world, shown.state)
    charm = sessions.appeal(world, shown.state, columns, items)
    worth = charm.attraction * (
        world.config.w_click + world.config.w_buy * world.margin[items] * charm.purchase
    )
    values = [
        np.take_along_axis(worth, policy.slates(shown), axis=1).sum(axis=1)
        for policy in (myopic_policy(), similarity_policy())
    ]
    gap = values[0] - values[1]
    assert gap.mean() > 3 * gap.std() / np.sqrt(len(gap))
