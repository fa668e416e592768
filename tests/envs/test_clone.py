"""What if the other slate had been shown: snapshots, clones, and the luck that items keep."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from envs.behaviour import ShopConfig
from envs.clicks import ClickModelName
from envs.shop import ShopEnv, ShopVectorEnv
from envs.world import World

K = 5


@pytest.fixture(params=get_args(ClickModelName))
def world(request: pytest.FixtureRequest, small_world: World) -> World:
    name: ClickModelName = request.param
    return small_world.with_config(ShopConfig(click_model=name, multi_visit=True))


def _slates(rows: int, page: int = 0) -> np.ndarray:
    return np.tile(np.roll(np.arange(20), page)[:K], (rows, 1))


def _same(a: tuple[Any, ...], b: tuple[Any, ...]) -> None:
    for key in a[0]:
        np.testing.assert_array_equal(a[0][key], b[0][key], err_msg=key)
    for x, y in zip(a[1:4], b[1:4], strict=True):
        np.testing.assert_array_equal(x, y)


def _run(envs: ShopVectorEnv, pages: int) -> list[tuple[Any, ...]]:
    return [envs.step(_slates(envs.num_envs, page)) for page in range(pages)]


def test_a_clone_has_the_same_future_and_disturbs_nothing(world: World) -> None:
    envs, alone = (ShopVectorEnv(world, 30) for _ in range(2))
    for env in (envs, alone):
        env.reset(seed=1)
        _run(env, 3)
    twin = envs.clone()
    ahead = _run(twin, 25)  # over several sessions, some rows resting
    for mine, other, first in zip(_run(envs, 25), _run(alone, 25), ahead, strict=True):
        _same(mine, first)
        _same(mine, other)
    assert any((step[2] | step[3]).any() for step in ahead)


def test_restoring_goes_back_and_the_other_slate_meets_the_same_luck(small_world: World) -> None:
    """Position-based: what is shown in both, at the same place, is clicked and bought in both."""
    envs = ShopVectorEnv(small_world.with_config(ShopConfig(bias=-1.0)), 800)
    envs.reset(seed=2)
    _run(envs, 2)
    before = envs.snapshot()
    seen = envs.restore(before)
    first = envs.step(_slates(800))
    envs.restore(before)
    again = envs.step(_slates(800))
    _same(first, again)
    observation = envs.restore(before)
    for key in seen:
        np.testing.assert_array_equal(observation[key], seen[key])
    other = _slates(800)
    other[:, 1] = 11
    what_if = envs.step(other)[4]
    kept = [0, 2, 3, 4]
    for name in ("items", "clicks", "purchases"):
        np.testing.assert_array_equal(what_if[name][:, kept], first[4][name][:, kept])
    live = what_if["_items"]
    assert (what_if["items"][live, 1] != first[4]["items"][live, 1]).any()
    assert (what_if["clicks"][live, 1] != first[4]["clicks"][live, 1]).any()


def test_a_snapshot_is_not_changed_by_what_follows(world: World) -> None:
    envs = ShopVectorEnv(world, 10)
    envs.reset(seed=3)
    kept = envs.snapshot()
    copies = {name: values.copy() for name, values in vars(kept.state).items()}
    envs.restore(kept)
    _run(envs, 12)
    for name, values in vars(kept.state).items():
        np.testing.assert_array_equal(values, copies[name], err_msg=name)
    assert not kept.over.any()
    assert not kept.episode.any()


def test_a_single_shop_is_cloned_and_restored(world: World) -> None:
    env = ShopEnv(world)
    env.reset(seed=4)
    before = env.snapshot()
    twin = env.clone()
    steps = []
    for one in (env, twin):
        log = []
        over = False
        while not over:
            log.append(one.step(np.arange(K)))
            # What was bought must not be shown again: the test stops at the first purchase.
            over = log[-1][2] or log[-1][3] or log[-1][4]["purchases"].any()
        steps.append(log)
    assert len(steps[0]) == len(steps[1])
    for a, b in zip(*steps, strict=True):
        _same(a, b)
    env.restore(before)
    _same(env.step(np.arange(K)), steps[0][0])
    if env.snapshot().over[0]:
        env.reset()
    ended = env.clone()
    assert ended.snapshot().over[0] == env.snapshot().over[0]


def test_a_snapshot_of_another_size_is_refused(small_world: World) -> None:
    with pytest.raises(ValueError, match="has 3 rows, but this env has 2"):
        ShopVectorEnv(small_world, 2).restore(ShopVectorEnv(small_world, 3).snapshot())
