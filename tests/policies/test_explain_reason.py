"""What a reason names, by its claims and by its words; whose order can be explained."""

from __future__ import annotations

import numpy as np
import pytest

from envs import sessions
from envs.shop import ShopVectorEnv
from envs.similarity import SCORES
from experiments.shelves import first_pages
from policies.baselines import Page, mix_policy, random_policy
from policies.explain import REASON, REST
from policies.explain_policy import explain_policy
from policies.explain_reason import ASPECTS, PHRASES, named_groups
from rewards.claims import Claim, ClaimChecker, TextClaims
from tests.shop_at_hand import bare_world, hand_made

LAMP = hand_made(
    [("a", "Lux Alpha Lamp", "lamp", "Lux"), ("b", "Ceram Beta Lamp", "lamp", "Ceram")],
    [
        ("a", "bright", ["800 lumens"]),
        ("a", "price", ["under 20 euros"]),
        ("b", "cosy", ["warm light"]),
    ],
)
BRIGHT = LAMP.aspects.index("bright")


def _named(text: str, likes: tuple[int, ...] = ()) -> set[str]:
    found = ClaimChecker(LAMP).check(LAMP.item_position["a"], text)
    return set(named_groups(text, found, LAMP.aspects, likes))


def test_a_fact_names_what_compares_facts_and_liked_ones_the_match_of_the_reason() -> None:
    assert _named("Pick it for its 800 lumens.") == {"text", "graph"}
    assert _named("Pick it for its 800 lumens.", likes=(BRIGHT,)) == {"text", "graph", REASON}


def test_what_is_not_true_or_says_nothing_names_nothing() -> None:
    assert _named("You get warm light here.", likes=(LAMP.aspects.index("cosy"),)) == set()
    assert _named("It does its job well.") == set()
    # Its own names are no claim.
    assert _named("A good lamp from Lux.") == set()
    denial = TextClaims((Claim("no remote", BRIGHT, True, "denial"),), 2)
    assert named_groups("No remote.", denial, LAMP.aspects, (BRIGHT,)) == frozenset()


def test_a_claim_of_the_price_itself_names_the_price() -> None:
    assert _named("You get it under 20 euros.") == {"price"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Because you looked at the Beta Lamp.", {"behaviour"}),
        ("Others also bought it.", {"behaviour"}),
        ("It goes well with your desk.", {"behaviour", "graph"}),
        ("It fits your search.", {"text", "scene"}),
        ("A fair price.", {"price"}),
        ("Rated by many people.", {"quality"}),
        ("Priceless and overrated.", set()),
        ("和你看过的相似。", {"behaviour", "graph"}),
        ("价格实惠。", {"price"}),
    ],
)
def test_words_about_why_it_is_there(text: str, named: set[str]) -> None:
    assert named_groups(text, TextClaims((), 4), LAMP.aspects, ()) == frozenset(named)


def test_only_groups_that_exist_are_named() -> None:
    every = [*ASPECTS.values(), *(groups for groups, _ in PHRASES)]
    assert set().union(*every) <= {*SCORES, REASON} - {REST}


def _page() -> Page:
    world = bare_world()
    state = first_pages(world, 4, 3)
    model = ShopVectorEnv(world, 1).click_model
    return Page(sessions.observe(world, state), world, state, model)


def test_a_fixed_mix_is_explained_by_its_weights() -> None:
    page, weights = _page(), np.array([3, 0, 1, 2, 0, 0], dtype=np.float32)
    policy = mix_policy("mix", weights)
    places = policy.slates(page)
    found = explain_policy(policy, page, places)
    items, mask = page.observation["items"], page.observation["mask"] > 0
    for row in range(4):
        mean = items[row, mask[row], : len(SCORES)].mean(axis=0)
        gap = (items[row, places[row], : len(SCORES)] - mean) * weights
        np.testing.assert_allclose(found.contributions[row, :, : len(SCORES)], gap, atol=1e-5)
    # Neither the reason nor anything else is in the mix.
    np.testing.assert_allclose(found.contributions[..., len(SCORES) :], 0, atol=1e-9)


def test_who_looks_at_the_sessions_has_no_contributions() -> None:
    page, policy = _page(), random_policy()
    with pytest.raises(ValueError, match="logits of"):
        explain_policy(policy, page, policy.slates(page))
