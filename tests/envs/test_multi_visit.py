"""Shoppers who come back: when, as whom, and how a session of several visits ends."""

from __future__ import annotations

import numpy as np
import pytest

from envs import sessions
from envs.behaviour import ShopConfig, days_until, return_probability
from envs.clicks import make_click_model
from envs.counter_rng import fold, new_keys, uniform
from envs.kernels import RETURN
from envs.shop import ShopVectorEnv
from envs.world import World

K = 5
#: Everyone leaves after each page and is back soon: visits of one page.
RESTLESS = {"multi_visit": True, "leave_bias": 100.0, "return_bias": 0.0, "return_trust": 0.0}


def _slates(rows: int) -> np.ndarray:
    return np.tile(np.arange(K), (rows, 1))


def _show(
    world: World, state: sessions.SessionState
) -> tuple[sessions.SessionState, sessions.Outcome]:
    config = world.config
    model = make_click_model(config.click_model, config.slots, config.clicks)
    nxt, outcome, _ = sessions.show(world, model, state, _slates(len(state.key)))
    return nxt, outcome


def _start(world: World, rows: int, seed: int = 0) -> sessions.SessionState:
    return sessions.start(world, new_keys(np.random.default_rng(seed), rows))


def test_return_by_hand() -> None:
    # -2 + 1*ln(1 + 1) + 0.5*2 + 2*0.5 = ln 2: twice as likely as not.
    config = ShopConfig(return_bias=-2, return_click=1, return_buy=0.5, return_trust=2)
    chance = return_probability(config, np.array([1.0]), np.array([2.0]), np.array([0.5]))
    np.testing.assert_allclose(chance, 2 / 3)


def test_days_away_are_geometric() -> None:
    # chance 1/2: the gap is 1 below a draw of 1/2, 2 below 3/4, 3 below 7/8.
    draws = np.array([0.0, 0.49, 0.5, 0.74, 0.76, 0.874, 0.876])
    np.testing.assert_array_equal(days_until(np.float64(0.5), draws), [1, 1, 2, 2, 3, 3, 4])
    # Draws spread evenly over [0, 1): each share is exact but for its two ends.
    n, chance = 10_000, 0.2
    gaps = days_until(np.float64(chance), (np.arange(n) + 0.5) / n)
    for day in range(1, 12):
        assert abs((gaps == day).mean() - chance * (1 - chance) ** (day - 1)) <= 1 / n
    # Whoever is surely back is back tomorrow; no chance at all is a gap without end.
    assert days_until(np.float64(1.0), np.float64(0.999)) == 1
    assert days_until(np.float64(0.0), np.float64(0.5)) > 1e9


def test_a_better_visit_brings_the_shopper_back_sooner() -> None:
    config = ShopConfig()
    dull, clicked, bought, trusted = (
        float(return_probability(config, *(np.float64(x) for x in how)))
        for how in ((0, 0, 0.3), (2, 0, 0.3), (2, 1, 0.3), (2, 1, 0.9))
    )
    assert dull < clicked < bought < trusted
    draws = np.random.default_rng(1).random(500)
    sooner, later = days_until(np.float64(trusted), draws), days_until(np.float64(dull), draws)
    assert (sooner <= later).all(), "the same luck never means a longer gap"
    assert sooner.mean() < later.mean()


def test_without_visits_nothing_of_it_shows(small_world: World) -> None:
    """The parameters of returning do nothing, and the new features are 0."""
    other = small_world.with_config(
        ShopConfig(return_bias=9, max_visits=2, horizon_days=3, satiation_overnight=0)
    )
    envs = [ShopVectorEnv(world, 64) for world in (small_world, other)]
    seen = [env.reset(seed=1)[0] for env in envs]
    names = envs[0].context_feature_names
    for _ in range(15):
        for key in seen[0]:
            np.testing.assert_array_equal(seen[0][key], seen[1][key])
        for name in ("visit", "days_away"):
            assert (seen[0]["context"][:, names.index(name)] == 0).all()
        steps = [env.step(_slates(64)) for env in envs]
        seen = [step[0] for step in steps]
        np.testing.assert_array_equal(steps[0][1], steps[1][1])
        assert not steps[0][4]["visit"].any()
        assert not steps[0][4]["day"].any()


def test_until_the_first_leaving_nothing_differs(small_world: World) -> None:
    many = small_world.with_config(ShopConfig(multi_visit=True))
    one_state, many_state = _start(small_world, 300), _start(many, 300)
    staying = np.ones(300, dtype=bool)
    for _ in range(6):
        one_state, one = _show(small_world, one_state)
        many_state, more = _show(many, many_state)
        np.testing.assert_array_equal(one.left[staying], more.left[staying])
        np.testing.assert_array_equal(one.reward[staying], more.reward[staying])
        staying &= ~one.left
        for name, values in vars(one_state).items():
            np.testing.assert_array_equal(values[staying], vars(many_state)[name][staying])
    assert 0 < staying.sum() < 300


def test_what_days_away_change_and_what_they_do_not(small_world: World) -> None:
    config = ShopConfig(**RESTLESS, bias=0.0, satiation_overnight=0.5, max_visits=9)
    world = small_world.with_config(config)
    state = _start(world, 400)
    stay = small_world.with_config(config.model_copy(update={"multi_visit": False}))
    left, outcome = _show(stay, state)  # the same page, and nobody is back
    nxt, same = _show(world, state)
    np.testing.assert_array_equal(outcome.clicks, same.clicks)
    assert same.left.all()
    back = ~same.gone & ~same.cut
    assert back.sum() > 300
    np.testing.assert_array_equal(nxt.visit[back], 1)
    np.testing.assert_array_equal(nxt.visit_page[back], 0)
    np.testing.assert_array_equal(nxt.page[back], 1)
    np.testing.assert_array_equal(nxt.day[back], nxt.days_away[back])
    assert nxt.day[back].min() >= 1
    assert nxt.day[back].max() <= config.horizon_days
    faded = left.satiation[back] * 0.5 ** nxt.day[back, None]
    np.testing.assert_allclose(nxt.satiation[back], faded, rtol=1e-5)
    for name in ("trust", "taste", "bought", "clicked_class", "clicks", "purchases"):
        np.testing.assert_array_equal(getattr(nxt, name)[back], getattr(left, name)[back])
    assert left.purchases[back].sum() > 0
    np.testing.assert_array_equal(nxt.clicks_last[back], 0)
    # The gap is the one that the equations say, from the shopper's own luck.
    clicks, buys = same.clicks.sum(axis=1), same.purchases.sum(axis=1)
    chance = return_probability(config, clicks, buys, left.trust)
    gap = days_until(chance, uniform(fold(fold(state.key, 0), RETURN)))
    np.testing.assert_array_equal(nxt.day[back], gap[back])
    np.testing.assert_array_equal(same.gone, gap > config.horizon_days)


def test_visits_start_in_the_scenes_that_sessions_start_in(small_world: World) -> None:
    world = small_world.with_config(ShopConfig(**RESTLESS))
    rows = 6_000
    nxt, outcome = _show(world, _start(world, rows))
    back = ~outcome.gone
    config = world.config
    shares = (config.start_home, 1 - config.start_home - config.start_search, config.start_search)
    for scene, p in enumerate(shares):
        assert abs((nxt.scene[back] == scene).mean() - p) < 3 * np.sqrt(p * (1 - p) / back.sum())


def test_a_session_ends_when_the_shopper_stays_away_or_visits_run_out(small_world: World) -> None:
    config = ShopConfig(**RESTLESS, max_visits=3, horizon_days=30, max_pages=50)
    envs = ShopVectorEnv(small_world.with_config(config), 400)
    envs.reset(seed=2)
    over = np.zeros(400, dtype=bool)
    ends: dict[str, int] = {"gone": 0, "cut": 0}
    for visit in range(3):
        _, _, terminated, truncated, info = envs.step(_slates(400))
        live = ~over
        np.testing.assert_array_equal(info["visit"][live], visit)
        np.testing.assert_allclose(info["reward_leave"][live], -config.w_leave, rtol=1e-6)
        assert (info["day"][live] <= config.horizon_days).all()
        assert not (terminated & truncated).any()
        assert truncated[live].any() == (visit == 2), "only a fourth visit would be one too many"
        ends["gone"] += int(terminated[live].sum())
        ends["cut"] += int(truncated[live].sum())
        over |= terminated | truncated
    assert over.all()
    assert ends["cut"] > 0
    never = ShopConfig(**{**RESTLESS, "return_bias": -100.0})
    gone = ShopVectorEnv(small_world.with_config(never), 20)
    gone.reset(seed=0)
    assert gone.step(_slates(20))[2].all(), "nobody is back: terminated"


def test_pages_run_out_over_all_visits(small_world: World) -> None:
    config = ShopConfig(**RESTLESS, max_pages=2, max_visits=9, horizon_days=10**6)
    envs = ShopVectorEnv(small_world.with_config(config), 50)
    envs.reset(seed=3)
    assert not envs.step(_slates(50))[3].any()
    _, _, terminated, truncated, info = envs.step(_slates(50))
    assert truncated.all()
    assert not terminated.any()
    assert (info["visit"] == 1).all()


def test_the_shop_sees_visit_and_days_away(small_world: World) -> None:
    config = ShopConfig(**RESTLESS, max_visits=4, horizon_days=60)
    envs = ShopVectorEnv(small_world.with_config(config), 100)
    envs.reset(seed=4)
    observation, _, terminated, truncated, _ = envs.step(_slates(100))
    live = ~(terminated | truncated)
    context, names = observation["context"][live], envs.context_feature_names
    np.testing.assert_allclose(context[:, names.index("visit")], 1 / 4)
    days = context[:, names.index("days_away")] * 60
    np.testing.assert_allclose(days, envs.state.days_away[live], rtol=1e-5)
    assert (context[:, names.index("page")] == 0).all(), "the first page of this visit"
    assert (context[:, names.index("clicks_last_page")] == 0).all()


@pytest.mark.parametrize("setting", ["max_visits", "horizon_days"])
def test_limits_are_at_least_one(setting: str) -> None:
    with pytest.raises(ValueError, match=setting):
        ShopConfig.model_validate({setting: 0})
