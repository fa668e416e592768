"""The shop's equations: hand-worked values, directions, and the temptation to overclaim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from envs.behaviour import (
    ShopConfig,
    browse_logit,
    leave_probability,
    next_trust,
    persuasion,
    purchase_probability,
    sigmoid,
)

#: Round numbers, so that the expected values can be worked by hand.
HAND = ShopConfig(
    bias=-4, w_match=2, w_class=1, w_scene=3, w_search=4, w_price=0.5, w_quality=1,
    w_satiation=2,
    words_free=18, w_length=0.5, buy_bias=-3, buy_match=2, buy_price=1, buy_quality=1, buy_lie=1.5,
    trust_lost=0.25, trust_won=0.1, leave_bias=-3, leave_no_click=1, leave_distrust=2,
    leave_satiation=1, leave_impatience=0.25,
)  # fmt: skip


def f32(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def test_sigmoid_is_logistic_and_never_overflows() -> None:
    x = f32(-3, 0, 0.5, 8)
    np.testing.assert_allclose(sigmoid(x), 1 / (1 + np.exp(-x)), rtol=1e-5)
    np.testing.assert_array_equal(sigmoid(f32(-1e6, 1e6)), [0, 1])


def test_browse_logit_by_hand() -> None:
    # -4 + 2*0.5 - 0.2 + 3*0.5 + 0.5*0.8 + 1*0.6 - 2*0.25 = -1.2
    terms = (0.5, -0.2, 0.5, 0, 0.8, 0.6, 0.25)
    np.testing.assert_allclose(browse_logit(HAND, *map(f32, terms)), [-1.2], rtol=1e-5)
    # The same item in a search that it answers in nothing: 3*0.5 and 4*0.5 less.
    searched = (0.5, -0.2, 0, -0.5, 0.8, 0.6, 0.25)
    np.testing.assert_allclose(browse_logit(HAND, *map(f32, searched)), [-4.7], rtol=1e-5)


def test_persuasion_by_hand() -> None:
    # tanh(ln 2) = 0.6; twice the free words cost w_length; fewer words cost nothing.
    liked, trust = f32(*[np.log(2)] * 3), f32(0.5, 0.5, 1)
    np.testing.assert_allclose(
        persuasion(HAND, trust, liked, f32(1, 1, 1), f32(18, 36, 0)), [0.3, -0.2, 0.6], rtol=1e-5
    )
    # Two claims at w_dilute = 1 share the attention of one: log 4 / 2 = log 2.
    shared = HAND.model_copy(update={"w_dilute": 1.0})
    both = persuasion(shared, f32(1), f32(np.log(4)), f32(2), f32(0))
    np.testing.assert_allclose(both, persuasion(shared, f32(1), f32(np.log(2)), f32(1), f32(0)))
    assert persuasion(HAND, f32(0), f32(5), f32(2), f32(10)) == 0, (
        "who trusts nothing is not persuaded"
    )


def test_purchase_by_hand() -> None:
    # -3 + 2*0.5 + 1 + 1 = 0, and each unsupported claim takes 1.5.
    p = purchase_probability(HAND, f32(0.5), f32(1), f32(1), f32(0, 1, 2))
    np.testing.assert_allclose(p, [0.5, 1 / (1 + np.exp(1.5)), 1 / (1 + np.exp(3))], rtol=1e-5)


def test_trust_by_hand() -> None:
    # A lie takes a quarter; a kept promise wins a tenth of what is missing.
    trust = next_trust(HAND, f32(0.8), f32(0, 1, 0, 2, 1), f32(0, 0, 1, 0, 1))
    np.testing.assert_allclose(trust, [0.8, 0.6, 0.82, 0.45, 0.64], rtol=1e-5)


def test_leaving_by_hand() -> None:
    # -3 + 1*(no click) + 2*(1 - 0.5) + 0.5 + 0.25*2 = 0 without a click, -1 with one.
    p = leave_probability(HAND, f32(0, 1), f32(0.5), f32(0.5), f32(2))
    np.testing.assert_allclose(p, [0.5, 1 / (1 + np.e)], rtol=1e-5)


@given(
    trust=st.floats(0, 1, width=32),
    lies=st.integers(0, 50),
    kept=st.integers(0, 50),
    lost=st.floats(0, 1),
    won=st.floats(0, 1),
)
def test_trust_stays_in_its_range_and_moves_the_right_way(
    trust: float, lies: int, kept: int, lost: float, won: float
) -> None:
    config = ShopConfig(trust_lost=lost, trust_won=won)

    def after(lies: int, kept: int) -> float:
        return float(next_trust(config, f32(trust), f32(lies), f32(kept))[0])

    slack = 1e-6
    assert 0 <= after(lies, kept) <= 1
    assert after(lies + 1, kept) <= after(lies, kept) + slack
    assert after(lies, kept + 1) >= after(lies, kept) - slack
    assert after(0, 0) == pytest.approx(trust, abs=slack)


#: Direction of each term of the default shop: +1 attracts, -1 repels.
BROWSE_TERMS = {
    "match": 1, "affinity": 1, "relevance": 1, "answer": 1, "price": 1, "quality": 1,
    "satiation": -1,
}  # fmt: skip


@pytest.mark.parametrize("term", BROWSE_TERMS)
def test_attraction_moves_with_each_term(term: str) -> None:
    low = dict.fromkeys(BROWSE_TERMS, f32(0.3))
    high = low | {term: f32(0.6)}
    change = browse_logit(ShopConfig(), **high) - browse_logit(ShopConfig(), **low)
    assert np.sign(change[0]) == BROWSE_TERMS[term]


def test_shoppers_leave_for_want_of_clicks_trust_and_news() -> None:
    def leaving(clicked: float, trust: float, satiation: float, impatience: float) -> float:
        terms = map(f32, (clicked, trust, satiation, impatience))
        return float(leave_probability(ShopConfig(), *terms)[0])

    calm = leaving(1, 0.9, 0.1, 0)
    assert leaving(0, 0.9, 0.1, 0) > calm
    assert leaving(1, 0.2, 0.1, 0) > calm
    assert leaving(1, 0.9, 0.8, 0) > calm
    assert leaving(1, 0.9, 0.1, 3) > calm


def test_the_temptation_a_false_claim_sells_the_click_and_costs_the_rest() -> None:
    config = ShopConfig()
    trust, one, none = f32(0.7), f32(1), f32(0)

    def attraction(trust: NDArray[np.float32], liked: NDArray[np.float32]) -> float:
        return float(
            sigmoid(-1 + config.w_reason * persuasion(config, trust, liked, f32(1), f32(8)))[0]
        )

    claimed = attraction(trust, one)
    assert claimed > attraction(trust, none), "a claim persuades, true or not"
    fit = (f32(0.6), f32(0.8), f32(0.5))
    assert purchase_probability(config, *fit, one) < purchase_probability(config, *fit, none)
    burnt, kept = next_trust(config, trust, one, none), next_trust(config, trust, none, one)
    assert burnt < trust < kept
    assert attraction(burnt, one) < claimed < attraction(kept, one), "the next claim tells less"
    stays = (one, f32(0.2), none)
    assert leave_probability(config, stays[0], burnt, *stays[1:]) > leave_probability(
        config, stays[0], kept, *stays[1:]
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slots": 6, "candidates": 5}, r"slots \(6\) must not exceed candidates \(5\)"),
        ({"start_home": 0.8, "start_search": 0.3}, "must not exceed 1"),
        ({"w_clicks": 1.0}, "w_clicks"),
        ({"trust_lost": 1.5}, "trust_lost"),
        ({"click_model": "psychic"}, "click_model"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ShopConfig.model_validate(settings)
