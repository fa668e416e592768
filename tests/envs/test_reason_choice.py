"""Reasons in the action: who chooses them, what is seen of them, and what lying earns and costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from envs import sessions
from envs.behaviour import ShopConfig, browse_logit, persuasion, price_fit, sigmoid
from envs.clicks import make_click_model
from envs.counter_rng import new_keys
from envs.errors import UserError
from envs.observation import REASON_FEATURES, reason_features
from envs.reasons import ReasonTable, no_reasons
from envs.shop import ShopEnv, ShopVectorEnv
from envs.shoppers import taste_match
from envs.world import World

K, N = 5, 20
SILENT, HONEST, LYING = range(3)
CHOICE = ShopConfig(reasons="choice")


def _tables(world: World) -> list[ReasonTable]:
    """Say nothing; claim what the segment likes where it holds; claim all of it."""
    items, segments, aspects = world.reasons.claims.shape
    liked = np.argsort(-world.segment_aspects, axis=1)[:, :2]
    wanted = np.zeros((segments, aspects), dtype=np.float32)
    np.put_along_axis(wanted, liked, 1, axis=1)
    holds = (world.aspects > 0)[:, None]
    claims = [
        np.ascontiguousarray(np.broadcast_to(wanted * true, (items, segments, aspects)))
        for true in (holds.astype(np.float32), np.float32(1))
    ]
    return [
        no_reasons(items, segments, aspects),
        *(
            ReasonTable(
                claims=claim,
                unsupported=(claim * ~holds).sum(axis=-1),
                words=np.full((items, segments), 8, dtype=np.float32),
            )
            for claim in claims
        ),
    ]


@pytest.fixture(scope="module")
def world(small_world: World) -> World:
    return small_world.with_config(CHOICE).with_variants(_tables(small_world))


def _action(slates: np.ndarray, variant: int | np.ndarray) -> dict[str, np.ndarray]:
    return {"slate": slates, "reason": np.broadcast_to(variant, slates.shape)}


def _slates(rows: int) -> np.ndarray:
    return np.tile(np.arange(K), (rows, 1))


def _same(a: Any, b: Any) -> None:
    for key in ("context", "items", "mask"):
        np.testing.assert_array_equal(a[0][key], b[0][key], err_msg=key)
    for x, y in zip(a[1:4], b[1:4], strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("variant", [SILENT, HONEST, LYING])
def test_choosing_always_the_same_is_a_book_of_it(small_world: World, variant: int) -> None:
    tables = _tables(small_world)
    order = [variant, *(v for v in range(3) if v != variant)]  # `items` show the first one's
    choosing = ShopVectorEnv(
        small_world.with_config(CHOICE).with_variants([tables[v] for v in order]), 200
    )
    booked = ShopVectorEnv(small_world.with_reasons(tables[variant]), 200)
    choosing.reset(seed=0)
    booked.reset(seed=0)
    for _ in range(12):
        _same(choosing.step(_action(_slates(200), 0)), booked.step(_slates(200)))


def test_each_slot_shows_the_reason_that_was_chosen_for_it(world: World) -> None:
    """Mixed choices: the attraction of each slot is the equation's, for its own reason."""
    rows = 100
    state = sessions.start(world, new_keys(np.random.default_rng(0), rows))
    columns, items = (x[:, :K].copy() for x in sessions.candidates(world, state))
    chosen = np.random.default_rng(1).integers(3, size=(rows, K))
    charm = sessions.appeal(world, state, columns, items, chosen)
    people, segment = world.population, world.segment[state.shopper][:, None]
    claims = np.stack([t.claims for t in world.variants])[chosen, items, segment]
    words = np.stack([t.words for t in world.variants])[chosen, items, segment]
    taste = state.taste[:, None]
    price = price_fit(world.price_z[items], people.price_point[state.shopper][:, None])
    relevance = world.pools.relevance[state.anchor[:, None], columns]
    searching = (state.scene == sessions.SEARCH)[:, None]
    logit = browse_logit(
        world.config,
        taste_match(taste, world.aspects[items]),
        people.class_affinity[state.shopper[:, None], world.class_index[items]],
        relevance,
        np.where(searching, relevance - np.float32(0.75), np.float32(0)),
        price * people.price_sensitivity[state.shopper][:, None],
        world.quality[items],
        np.float32(0),  # nothing was shown yet
    )
    pull = persuasion(
        world.config, state.trust[:, None], (claims * taste).sum(-1), claims.sum(-1), words
    )
    # `sigmoid` adds 1 and a tanh: in float32 its rounding is absolute.
    np.testing.assert_allclose(
        charm.attraction, sigmoid(logit + world.config.w_reason * pull), rtol=1e-5, atol=1e-7
    )
    lies = np.stack([t.unsupported for t in world.variants])[chosen, items, segment]
    np.testing.assert_array_equal(charm.unsupported, lies)
    np.testing.assert_array_equal(charm.claimed, claims.sum(-1) > 0)


def test_the_features_of_every_variant_are_seen(world: World) -> None:
    envs = ShopVectorEnv(world, 16)
    observation, _ = envs.reset(seed=1)
    assert observation["reasons"].shape == (16, N, 3, len(REASON_FEATURES))
    assert envs.observation_space.contains(observation)
    _, items = sessions.candidates(world, envs.state)
    segment = world.segment[envs.state.shopper][:, None]
    for variant, table in enumerate(world.variants):
        features = reason_features(table, world.segment_aspects, world.config.words_free)
        np.testing.assert_array_equal(
            observation["reasons"][:, :, variant], features[items, segment]
        )
    first = envs.item_feature_names.index(REASON_FEATURES[0])
    shown = observation["items"][..., first : first + len(REASON_FEATURES)]
    np.testing.assert_array_equal(shown, observation["reasons"][:, :, 0])


def test_without_reasons_the_book_stays_shut(small_world: World) -> None:
    lying = small_world.with_reasons(_tables(small_world)[LYING])
    shut = ShopVectorEnv(lying.with_config(ShopConfig(reasons="none")), 100)
    bare = ShopVectorEnv(small_world, 100)
    shut.reset(seed=2)
    bare.reset(seed=2)
    for _ in range(12):
        _same(shut.step(_slates(100)), bare.step(_slates(100)))


def test_a_single_shop_chooses_reasons_too(world: World) -> None:
    env, envs = ShopEnv(world), ShopVectorEnv(world, 1)
    env.action_space.seed(0)
    seen, _ = env.reset(seed=3)
    envs.reset(seed=3)
    assert env.observation_space.contains(seen)
    action = env.action_space.sample()
    assert env.action_space.contains(action)
    one, two = env.step(action), envs.step({name: part[None] for name, part in action.items()})
    np.testing.assert_array_equal(one[0]["reasons"], two[0]["reasons"][0])
    assert one[1] == two[1][0]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.arange(K)[None], "a dictionary of 'slate' and 'reason'"),
        ({"slate": _slates(1)}, r"'slate' and 'reason' .* but are \['slate'\]"),
        (_action(_slates(1), 3), r"actions\['reason'\] must be reasons 0\.\.2, but range .* 3"),
        (_action(_slates(1), -1), r"actions\['reason'\] must be reasons 0\.\.2"),
        (
            {"slate": _slates(1), "reason": np.zeros((1, 2), dtype=int)},
            r"actions\['reason'\] must have shape \(1, 5\), one reason a slot, but have \(1, 2\)",
        ),
        (_action(_slates(1) + 16, 0), r"actions\['slate'\] must be candidate positions 0\.\.19"),
    ],
)
def test_a_wrong_choice_is_named(world: World, action: object, message: str) -> None:
    envs = ShopVectorEnv(world, 1)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        envs.step(action)


def test_a_choice_of_nothing_is_the_users_mistake(small_world: World) -> None:
    with pytest.raises(UserError, match=r"with_variants\(\[\.\.\.\]\).*'book' or 'none'"):
        ShopVectorEnv(small_world.with_config(CHOICE), 2)
    with pytest.raises(ValueError, match=r"variants\.claims must have the shape"):
        small_world.with_variants([no_reasons(3, 2, 1)])


# The temptation


def _believers(small_world: World, multi_visit: bool) -> World:
    """A constructed world: no item has any aspect, so that every claim is a lie; all else equal.

    Shoppers trust, claims persuade, and a click is worth its reward: the myopic reward of issue 3.
    """
    people = small_world.population
    plain = replace(
        small_world,
        aspects=np.zeros_like(small_world.aspects),
        population=replace(
            people, trust=np.full_like(people.trust, 0.8), taste=np.ones_like(people.taste)
        ),
    )
    config = ShopConfig(
        reasons="choice", w_buy=0.0, w_leave=0.0, bias=-1.0, multi_visit=multi_visit,
        max_pages=40, trust_lost=0.6, leave_distrust=5.0, leave_bias=-4.5, leave_no_click=2.0,
    )  # fmt: skip
    return plain.with_config(config).with_variants(_tables(plain))


def test_a_lie_raises_the_clicks_of_the_page_exactly(small_world: World) -> None:
    """By the equations, without luck: expected clicks of every page, whoever looks at it."""
    world = _believers(small_world, multi_visit=False)
    state = sessions.start(world, new_keys(np.random.default_rng(4), 300))
    columns, items = (x[:, :K].copy() for x in sessions.candidates(world, state))
    config = world.config
    model = make_click_model(config.click_model, K, config.clicks)
    expected = {}
    for variant in (HONEST, LYING):
        chosen = np.full(items.shape, variant)
        charm = sessions.appeal(world, state, columns, items, chosen)
        expected[variant] = model.marginal_click_probability(charm.attraction).sum(axis=1)
    assert (expected[LYING] > expected[HONEST]).all()
    # Honest shops can claim nothing here, so the whole of the difference is persuasion.
    silent = sessions.appeal(world, state, columns, items, np.zeros_like(items)).attraction
    lying = sessions.appeal(world, state, columns, items, np.full_like(items, LYING)).attraction
    odds = np.log(lying / (1 - lying)) - np.log(silent / (1 - silent))
    liked = 2.0 / (1 + config.w_dilute)  # two claims of taste 1, diluted
    np.testing.assert_allclose(odds, config.w_reason * 0.8 * np.tanh(liked), rtol=1e-3)


def _returns(world: World, variant: int, rows: int) -> np.ndarray:
    envs = ShopVectorEnv(world, rows)
    envs.reset(seed=5)
    live, total = np.ones(rows, dtype=bool), np.zeros(rows)
    while live.any():
        _, reward, terminated, truncated, _ = envs.step(_action(_slates(rows), variant))
        total += live * reward
        live &= ~(terminated | truncated)
    return total


@pytest.mark.parametrize("multi_visit", [False, True])
def test_over_sessions_lying_lowers_the_return(small_world: World, multi_visit: bool) -> None:
    """The same shoppers and luck: the lie wins the first page and loses the session."""
    rows = 3_000
    world = _believers(small_world, multi_visit)
    first = {}
    for variant in (HONEST, LYING):
        envs = ShopVectorEnv(world, rows)
        envs.reset(seed=5)
        first[variant] = envs.step(_action(_slates(rows), variant))[1]
    gain = first[LYING] - first[HONEST]
    assert gain.mean() > 3 * gain.std(ddof=1) / np.sqrt(rows)
    loss = _returns(world, HONEST, rows) - _returns(world, LYING, rows)
    assert loss.mean() > 3 * loss.std(ddof=1) / np.sqrt(rows)
