"""What Gymnasium, its users and its wrappers may rely on, for each click model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from envs.behaviour import ShopConfig
from envs.clicks import ClickModelName
from envs.errors import UserError
from envs.reasons import ReasonTable, no_reasons
from envs.shop import ENV_ID, ShopEnv, ShopVectorEnv, SlateSpace
from envs.world import World


@pytest.fixture(params=get_args(ClickModelName))
def world(request: pytest.FixtureRequest, small_world: World) -> World:
    name: ClickModelName = request.param
    return small_world.with_config(ShopConfig(click_model=name))


#: Where sessions start, and stay: home, beside an item, search.
SCENES = {
    "home": {"start_home": 1.0, "start_search": 0.0},
    "similar": {"start_home": 0.0, "start_search": 0.0},
    "search": {"start_home": 0.0, "start_search": 1.0},
}


def _with_choice(world: World) -> World:
    """Two reasons beside each item: none, and a claim of everything."""
    shape = world.reasons.claims.shape
    claim = ReasonTable(
        claims=np.ones(shape, dtype=np.float32),
        unsupported=np.ones(shape[:2], dtype=np.float32),
        words=np.full(shape[:2], 9, dtype=np.float32),
    )
    return world.with_variants([no_reasons(*shape), claim])


@pytest.mark.parametrize("reasons", ["book", "choice", "none"])
@pytest.mark.parametrize("scene", SCENES)
def test_gymnasiums_checker_has_nothing_to_say(world: World, scene: str, reasons: str) -> None:
    settings = {"follow_click": 0.0, "new_query": 0.0, "reasons": reasons, "multi_visit": True}
    config = world.config.model_copy(update=SCENES[scene] | settings)
    env = ShopEnv(_with_choice(world).with_config(config))
    check_env(env, skip_render_check=True)  # there is nothing to render
    seen, _ = env.reset(seed=0)
    assert seen["context"][list(SCENES).index(scene)] == 1


def test_rows_that_rest_earn_and_do_nothing(world: World) -> None:
    """Sums over all rows of any reward part are right without a mask."""
    envs = ShopVectorEnv(_with_choice(world).with_config(world.config), 64)
    envs.reset(seed=8)
    resting, rested = np.zeros(64, dtype=bool), 0
    for _ in range(20):
        _, _, terminated, truncated, info = envs.step(np.tile(np.arange(5), (64, 1)))
        for name, values in info.items():
            if name.startswith("_"):
                np.testing.assert_array_equal(values, ~resting)
            elif name.startswith("reward_") or name in ("clicks", "purchases", "slot_reward"):
                assert not values[resting].any(), name
        assert (info["illegal_slots"][resting] == 0).all()
        assert set(info) == {n for m in info if m[0] != "_" for n in (m, f"_{m}")}
        rested += int(resting.sum())
        resting = terminated | truncated
    assert rested > 64


@pytest.mark.parametrize("reasons", ["book", "choice", "none"])
def test_a_row_does_not_depend_on_its_batch(world: World, reasons: str) -> None:
    """Neither on how many rows there are nor on its place: bit for bit, over several sessions."""
    config = world.config.model_copy(update={"reasons": reasons, "multi_visit": True})
    shop = _with_choice(world).with_config(config)
    sizes = (1, 7, 40)
    rng = np.random.default_rng(3)
    envs = [ShopVectorEnv(shop, size) for size in sizes]
    # Row i of the smaller ones is row 3 + i of the largest.
    starts = (3, 3, 0)
    seen = [env.reset(seed=100 + start)[0] for env, start in zip(envs, starts)]
    for _ in range(40):
        for env, observation, start in zip(envs, seen, starts):
            for key, values in observation.items():
                whole = seen[-1][key][start : start + env.num_envs]
                np.testing.assert_array_equal(values, whole, err_msg=key)
        slates = rng.random((40, 20)).argsort(axis=1)[:, :5]
        chosen = rng.integers(2, size=(40, 5))
        steps = []
        for env, start in zip(envs, starts):
            rows = slice(start, start + env.num_envs)
            action: Any = slates[rows]
            if reasons == "choice":
                action = {"slate": slates[rows], "reason": chosen[rows]}
            steps.append(env.step(action))
        seen = [step[0] for step in steps]
        for step, start in zip(steps, starts):
            for mine, all_rows in zip(step[1:4], steps[-1][1:4], strict=True):
                np.testing.assert_array_equal(mine, all_rows[start : start + len(mine)])


def test_seeds_come_as_one_or_as_a_list(small_world: World) -> None:
    one, many = ShopVectorEnv(small_world, 3), ShopVectorEnv(small_world, 3)
    for mixed in ([5, 6, 7], (5, 6, 7)):
        a, b = one.reset(seed=5)[0], many.reset(seed=mixed)[0]
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])
    swapped = many.reset(seed=[7, 6, 5])[0]
    for key in a:
        np.testing.assert_array_equal(swapped[key], a[key][::-1])


def test_what_was_returned_is_not_written_over(small_world: World) -> None:
    envs, env = ShopVectorEnv(small_world, 4), ShopEnv(small_world)
    shops: list[tuple[Any, Any]] = [(envs, np.tile(np.arange(5), (4, 1))), (env, np.arange(5))]
    for shop, slate in shops:
        seen, _ = shop.reset(seed=1)
        kept = {key: values.copy() for key, values in seen.items()}
        shop.step(slate)
        for key, values in seen.items():
            np.testing.assert_array_equal(values, kept[key])


def test_gymnasium_makes_the_shop(world: World) -> None:
    env = gym.make(ENV_ID, world=world)
    observation, _ = env.reset(seed=1)
    for key, value in ShopEnv(world).reset(seed=1)[0].items():
        np.testing.assert_array_equal(observation[key], value)
    assert env.observation_space.contains(observation)
    env.step(env.action_space.sample())
    env.close()


def test_gymnasium_makes_the_batch(world: World) -> None:
    envs = gym.make_vec(ENV_ID, 3, vectorization_mode="vector_entry_point", world=world)
    assert isinstance(envs, ShopVectorEnv)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observation, _ = envs.reset(seed=1)
    assert envs.observation_space.contains(observation)
    observation, reward, terminated, truncated, _ = envs.step(envs.action_space.sample())
    assert envs.observation_space.contains(observation)
    assert reward.shape == terminated.shape == truncated.shape == (3,)
    envs.close()


def test_a_misspelt_argument_is_not_swallowed(small_world: World) -> None:
    with pytest.raises(TypeError, match="wrold"):
        gym.make(ENV_ID, wrold=small_world)


def test_the_batch_is_gymnasiums_own_batch_of_single_shops(world: World) -> None:
    """Same spaces, observations, rewards and autoreset as `SyncVectorEnv` over `ShopEnv`."""
    native = ShopVectorEnv(world, 4)
    singles = [lambda: ShopEnv(world)] * 4
    sync: Any = SyncVectorEnv(singles, autoreset_mode=AutoresetMode.NEXT_STEP)
    assert native.observation_space == sync.observation_space
    assert native.action_space == sync.action_space
    assert native.single_action_space == sync.single_action_space
    ours, theirs = native.reset(seed=5)[0], sync.reset(seed=5)[0]
    ended = 0
    rng = np.random.default_rng(0)
    for _ in range(60):
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)
        # What was bought is masked: the single shop refuses it, the batch shows nothing there.
        slates = (rng.random((4, 20)) - ours["mask"]).argsort(axis=1)[:, :5]
        ours, reward, terminated, truncated, _ = native.step(slates)
        theirs, *others = sync.step(slates)
        np.testing.assert_array_equal(reward, others[0])
        np.testing.assert_array_equal(terminated, others[1])
        np.testing.assert_array_equal(truncated, others[2])
        ended += int((terminated | truncated).sum())
    assert ended > 4, "the test must have met the autoreset"
    sync.close()


def test_sampled_slates_are_legal_and_every_order_comes_up() -> None:
    space = SlateSpace(3, 2)
    space.seed(0)
    drawn = np.array([space.sample() for _ in range(600)])
    assert all(space.contains(slate) for slate in drawn)
    count = np.unique(drawn, axis=0, return_counts=True)[1]
    assert len(count) == 6
    # Binomial(600, 1/6) each; 4 sigma leaves 6 counts a chance of 4e-4 to fail together.
    assert (abs(count - 100) < 4 * np.sqrt(600 / 6 * 5 / 6)).all()
    assert not space.contains(np.array([1, 1]))
    assert not space.contains(np.array([0, 3]))


@pytest.mark.parametrize(
    ("slate", "message"),
    [
        ([0, 1, 2, 3, 3], r"distinct candidates, but was \[0, 1, 2, 3, 3\]"),
        ([0, 1, 2, 3, 20], r"positions 0\.\.19, but range from 0 to 20"),
        ([-1, 1, 2, 3, 4], r"positions 0\.\.19, but range from -1 to 4"),
        ([0, 1, 2], r"shape \(1, 5\), one slate a shopper, but have \(1, 3\)"),
        (3, r"shape \(1, 5\), one slate a shopper, but have \(1,\)"),
        ([[0, 1, 2, 3, 4]], r"shape \(1, 5\), one slate a shopper, but have \(1, 1, 5\)"),
    ],
)
def test_the_single_shop_refuses_an_illegal_slate(
    small_world: World, slate: object, message: str
) -> None:
    env = ShopEnv(small_world)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(slate)
    env.step([0, 1, 2, 3, 4])  # a refused slate changes nothing


def test_the_batch_refuses_wrong_shapes_and_ranges(small_world: World) -> None:
    envs = ShopVectorEnv(small_world, 2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"shape \(2, 5\)"):
        envs.step(np.zeros((3, 5), dtype=int))
    with pytest.raises(ValueError, match="range from 0 to 99"):
        envs.step(np.full((2, 5), 99) * [[0], [1]])
    with pytest.raises(ValueError, match="an integer or 2 of them, but 3 were given"):
        envs.reset(seed=[1, 2, 3])


def test_a_session_must_run_to_be_stepped(small_world: World) -> None:
    env = ShopEnv(small_world.with_config(ShopConfig(max_pages=1)))
    slate = [0, 1, 2, 3, 4]
    with pytest.raises(ResetNeeded, match=r"call reset\(\)"):
        env.step(slate)
    env.reset(seed=0)
    _, _, terminated, truncated, _ = env.step(slate)
    assert terminated or truncated
    with pytest.raises(ResetNeeded, match=r"call reset\(\)"):
        env.step(slate)
    env.reset()
    env.step(slate)


def test_observations_are_finite_and_within_the_space(world: World) -> None:
    envs = ShopVectorEnv(world, 16)
    observation, _ = envs.reset(seed=3)
    rng = np.random.default_rng(1)
    for _ in range(40):
        assert envs.observation_space.contains(observation)
        assert all(np.isfinite(part).all() for part in observation.values())
        assert all(part.dtype == np.float32 for part in observation.values())
        # Features are scaled for a network: none but the word count may leave this range.
        assert max(abs(observation[key]).max() for key in ("context", "items")) < 10
        slates = rng.random((16, 20)).argsort(axis=1)[:, :5]
        observation = envs.step(slates)[0]


def test_a_world_with_too_small_a_pool_is_refused(small_world: World) -> None:
    pool = small_world.pools.items.shape[1]
    message = rf"shop\.candidates is {pool + 1}, but candidate pools hold only {pool} items"
    with pytest.raises(UserError, match=message):
        small_world.with_config(ShopConfig(candidates=pool + 1))
    small_world.with_config(ShopConfig(candidates=pool))


def test_reasons_of_another_shop_are_refused(small_world: World) -> None:
    items, segments, aspects = small_world.reasons.claims.shape
    with pytest.raises(ValueError, match="items, segments, aspects"):
        small_world.with_reasons(no_reasons(items - 1, segments, aspects))


def test_a_world_without_queries_never_searches(small_world: World) -> None:
    pools = small_world.pools
    rows = int(pools.counts[:2].sum())
    silent = replace(
        pools,
        items=pools.items[:rows],
        scores=pools.scores[:rows],
        relevance=pools.relevance[:rows],
        counts=np.array([*pools.counts[:2], 0]),
    )
    world = replace(small_world, pools=silent).with_config(
        ShopConfig(start_home=0.3, start_search=0.5, new_query=0.5)
    )
    envs = ShopVectorEnv(world, 32)
    observation, _ = envs.reset(seed=0)
    search = envs.context_feature_names.index("scene_search")
    for _ in range(20):
        assert (observation["context"][:, search] == 0).all()
        observation = envs.step(np.tile(np.arange(5), (32, 1)))[0]
