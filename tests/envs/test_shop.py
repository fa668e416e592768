"""The shop in motion: seeds, autoreset, luck, hidden state, and what lying does to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from envs import counter_rng, kernels, kernels_session, sessions
from envs.behaviour import ShopConfig
from envs.clicks import ClickModelName, make_click_model
from envs.counter_rng import new_keys, uniform
from envs.reasons import ReasonTable
from envs.shop import ShopEnv, ShopVectorEnv
from envs.world import World

N, K = 20, 5
FIRST = np.arange(K)
#: Nobody leaves, so that sessions end at `max_pages` only.
STAY = {"leave_bias": -100.0}


@pytest.fixture(params=get_args(ClickModelName))
def world(request: pytest.FixtureRequest, small_world: World) -> World:
    name: ClickModelName = request.param
    return small_world.with_config(ShopConfig(click_model=name))


def _act(observation: dict[str, np.ndarray]) -> np.ndarray:
    """A deterministic policy that reads the observation: the best text and quality scores."""
    items = observation["items"]
    score = np.where(observation["mask"] > 0, items[..., 0] + items[..., 5], -np.inf)
    return np.argsort(-score, axis=-1, kind="stable")[..., :K]


def _follow(envs: ShopVectorEnv, seed: int, steps: int) -> list[tuple[Any, ...]]:
    """Observation, reward, terminated and truncated of every step."""
    observation, _ = envs.reset(seed=seed)
    out: list[tuple[Any, ...]] = [(observation,)]
    for _ in range(steps):
        observation, *rest = envs.step(_act(observation))
        out.append((observation, *rest[:3]))
    return out


def _assert_same(a: list[tuple[Any, ...]], b: list[tuple[Any, ...]]) -> None:
    for (obs_a, *rest_a), (obs_b, *rest_b) in zip(a, b, strict=True):
        for key in obs_a:
            np.testing.assert_array_equal(obs_a[key], obs_b[key], err_msg=key)
        for x, y in zip(rest_a, rest_b, strict=True):
            np.testing.assert_array_equal(x, y)


def _first_page(world: World, seed: int, rows: int) -> sessions.SessionState:
    return sessions.start(world, new_keys(np.random.default_rng(seed), rows))


def _show(
    world: World, state: sessions.SessionState, slates: np.ndarray
) -> tuple[sessions.SessionState, sessions.Outcome]:
    config = world.config
    model = make_click_model(config.click_model, config.slots, config.clicks)
    nxt, outcome, _ = sessions.show(world, model, state, slates)
    return nxt, outcome


def _slates(rows: int, slate: np.ndarray = FIRST) -> np.ndarray:
    return np.tile(slate, (rows, 1))


# Seeds and batches


def test_a_seed_fixes_the_trajectory(world: World) -> None:
    first = _follow(ShopVectorEnv(world, 8), seed=1, steps=30)
    _assert_same(first, _follow(ShopVectorEnv(world, 8, seed=77), seed=1, steps=30))
    other = _follow(ShopVectorEnv(world, 8), seed=100, steps=1)
    assert not np.array_equal(first[0][0]["items"], other[0][0]["items"])


def test_a_seed_given_to_the_constructor_is_that_of_reset(small_world: World) -> None:
    built, reset = ShopVectorEnv(small_world, 4, seed=9), ShopVectorEnv(small_world, 4)
    reset.reset(seed=9)
    np.testing.assert_array_equal(built.state.key, reset.state.key)
    reset.reset(seed=np.int64(9))  # type: ignore[arg-type]  # whole numbers of any kind will do
    np.testing.assert_array_equal(built.state.key, reset.state.key)


def test_rows_are_single_shops_over_several_sessions(world: World) -> None:
    rows, seed = 6, 100
    batch = _follow(ShopVectorEnv(world, rows), seed, steps=60)
    for row in range(rows):
        env = ShopEnv(world)
        observation, _ = env.reset(seed=seed + row)
        over, ended = False, 0
        for obs, reward, terminated, truncated in batch[1:]:
            if over:  # where the batch rests, the single shop is reset
                observation, _ = env.reset()
                step: tuple[Any, ...] = (0.0, False, False)
                ended += 1
            else:
                observation, *step_list, _ = env.step(_act(observation))
                step = tuple(step_list)
            for key in obs:
                np.testing.assert_array_equal(obs[key][row], observation[key], err_msg=key)
            assert step == (reward[row], terminated[row], truncated[row])
            over = step[1] or step[2]
        assert ended >= 3, "several sessions must have been compared"


def test_shops_do_not_disturb_each_other(world: World) -> None:
    alone = [_follow(ShopVectorEnv(world, 3), seed, steps=20) for seed in (1, 50)]
    pair = [ShopVectorEnv(world, 3) for _ in range(2)]
    together: list[list[tuple[Any, ...]]] = [
        [(env.reset(seed=s)[0],)] for env, s in zip(pair, (1, 50))
    ]
    for _ in range(20):
        for env, log in zip(pair, together):
            observation, *rest = env.step(_act(log[-1][0]))
            log.append((observation, *rest[:3]))
    for a, b in zip(alone, together):
        _assert_same(a, b)


def test_a_row_without_a_seed_goes_on_with_its_next_session(small_world: World) -> None:
    envs, whole = ShopVectorEnv(small_world, 2), ShopVectorEnv(small_world, 2)
    for env in (envs, whole):
        env.reset(seed=3)
    first = envs.state.key.copy()
    whole.reset()
    envs.reset(seed=[3, None])
    assert envs.state.key[0] == first[0], "seeded anew: its first session again"
    assert envs.state.key[1] == whole.state.key[1] != first[1], "unseeded: its second session"


# Ends and autoreset


def test_the_step_after_an_end_starts_a_new_session_whatever_the_action(world: World) -> None:
    a, b = (ShopVectorEnv(world, 8) for _ in range(2))
    observation = a.reset(seed=4)[0]
    b.reset(seed=4)
    resting = np.zeros(8, dtype=bool)
    ends = 0
    for _ in range(40):
        slates = _act(observation)
        absurd = np.where(resting[:, None], 7, slates)  # duplicates, where nobody looks
        observation, reward, terminated, truncated, info = a.step(slates)
        _assert_same([(observation, reward, terminated, truncated)], [b.step(absurd)[:4]])
        np.testing.assert_array_equal(info["_clicks"], ~resting)
        assert (reward[resting] == 0).all()
        assert not (terminated | truncated)[resting].any()
        page = a.context_feature_names.index("page")
        assert (observation["context"][resting, page] == 0).all()
        assert (observation["context"][~resting, page] > 0).all()
        ends += int(resting.sum())
        resting = terminated | truncated
    assert ends >= 8


def test_a_session_ends_by_leaving_or_at_its_last_page(small_world: World) -> None:
    stays = ShopVectorEnv(small_world.with_config(ShopConfig(max_pages=3, **STAY)), 16)
    stays.reset(seed=0)
    for page in (1, 2, 3):
        _, _, terminated, truncated, info = stays.step(_slates(16))
        assert not terminated.any()
        assert (truncated == (page == 3)).all()
        assert (info["reward_leave"] == 0).all()
    leaves = ShopVectorEnv(small_world.with_config(ShopConfig(leave_bias=100, w_leave=0.5)), 16)
    leaves.reset(seed=0)
    _, _, terminated, truncated, info = leaves.step(_slates(16))
    assert terminated.all()
    assert not truncated.any(), "who left was not cut off"
    np.testing.assert_array_equal(info["reward_leave"], -0.5)


# Rewards and slates


def test_reward_parts_sum_to_the_reward(world: World) -> None:
    envs = ShopVectorEnv(world, 64)
    observation, _ = envs.reset(seed=6)
    bought = 0
    for _ in range(15):
        observation, reward, _, _, info = envs.step(_act(observation))
        live = info["_clicks"]
        parts = sum(info[f"reward_{name}"] for name in ("click", "purchase", "leave"))
        np.testing.assert_allclose(reward[live], parts[live], rtol=1e-5, atol=1e-6)
        slots = info["slot_reward"].sum(axis=1) + info["reward_leave"]
        np.testing.assert_allclose(reward[live], slots[live], rtol=1e-5, atol=1e-6)
        config, margin = world.config, world.margin[info["items"]]
        by_hand = config.w_click * info["clicks"] + config.w_buy * margin * info["purchases"]
        np.testing.assert_allclose(info["slot_reward"], by_hand, rtol=1e-5)
        assert (info["purchases"] <= info["clicks"]).all(), "nobody buys unseen"
        bought += int(info["purchases"][live].sum())
    assert bought > 0


def test_a_duplicate_is_shown_once_and_counted(world: World) -> None:
    """A later slot that repeats an item stays empty: the rest of the page is as without it."""
    rows = 400
    envs = ShopVectorEnv(world, rows)
    envs.reset(seed=7)
    state = envs.state.copy()
    slate = np.array([3, 3, 5, 3, 6])
    _, reward, _, _, info = envs.step(_slates(rows, slate))
    assert (info["illegal_slots"] == 2).all()
    assert not info["clicks"][:, [1, 3]].any()
    assert (info["slot_reward"][:, [1, 3]] == 0).all()
    assert info["clicks"][:, [0, 2, 4]].any()
    legal = info["slot_reward"][:, [0, 2, 4]].sum(axis=1)
    np.testing.assert_allclose(reward, legal + info["reward_leave"], rtol=1e-5, atol=1e-6)
    if world.config.click_model == "mnl":
        return  # there each item competes with all others of the page
    # The first of the three is clicked as in a slate without repeats.
    _, clean = _show(world, state, _slates(rows, np.array([3, 8, 5, 9, 6])))
    np.testing.assert_array_equal(clean.clicks[:, 0], info["clicks"][:, 0])
    if world.config.click_model == "position":
        np.testing.assert_array_equal(clean.clicks[:, [2, 4]], info["clicks"][:, [2, 4]])


def test_a_repeated_item_does_not_tire_twice(small_world: World) -> None:
    """Leaving depends on the mean satiation of the items shown; repeats are not shown.

    Two items of one class and one of another, the second repeated: satiation by slot shown is
    (1/2, 1/2, 1/4), mean 0.417; with the repeat it would be 0.4375. A step at 0.427 tells.
    """
    steep = 1e5
    config = ShopConfig(
        slots=4, satiation_gain=1, satiation_decay=1, leave_bias=-0.427 * steep,
        leave_satiation=steep, leave_no_click=0, leave_distrust=0, leave_impatience=0,
    )  # fmt: skip
    world = small_world.with_config(config)
    state = _first_page(world, 8, 200)
    _, items = sessions.candidates(world, state)
    tried = 0
    for row, classes in enumerate(world.class_index[items]):
        pair = next(
            (p for p in (np.flatnonzero(classes == c) for c in classes) if len(p) > 1), None
        )
        if pair is None:
            continue
        other = int(np.flatnonzero(classes != classes[pair[0]])[0])
        one = sessions.start(world, state.key[[row]])
        _, outcome = _show(world, one, np.array([[pair[0], pair[1], pair[1], other]]))
        assert not outcome.left[0]
        tried += 1
    assert tried > 100


# Luck


def test_clicks_and_purchases_follow_the_model(world: World) -> None:
    rows = 6_000
    state = _first_page(world, 9, rows)
    slates = np.random.default_rng(0).random((rows, N)).argsort(axis=1)[:, :K]
    columns, items = sessions.candidates(world, state)
    charm = sessions.appeal(
        world, state, np.take_along_axis(columns, slates, 1), np.take_along_axis(items, slates, 1)
    )
    model = make_click_model(world.config.click_model, K, world.config.clicks)
    p = model.marginal_click_probability(charm.attraction)
    _, outcome = _show(world, state, slates)
    # Each row is a draw of its own; within a row only one slot is looked at a time.
    for chance, happened in ((p, outcome.clicks), (p * charm.purchase, outcome.purchases)):
        sigma = np.sqrt((chance * (1 - chance)).sum(axis=0))
        assert (abs(happened.sum(axis=0) - chance.sum(axis=0)) < 3 * sigma).all()


def _uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the kernels that flip coins as the Python that they are written in."""
    slate_rows = getattr(kernels.slate_rows, "py_func")  # noqa: B009  # unknown to mypy

    def page_rows(tables: Any, numbers: Any, state: Any, *rest: Any) -> None:
        slates, variants, resting, columns, items, shown, luck, *charm = rest
        slate_rows(tables, state, slates, resting, columns, items, shown, luck)
        kernels.appeal_rows(tables, numbers, state, columns, items, variants, shown, *charm)

    monkeypatch.setattr(kernels, "page_rows", page_rows)
    for name in ("start_rows", "turn_rows"):
        monkeypatch.setattr(kernels_session, name, getattr(kernels_session, name).py_func)


@pytest.mark.parametrize("multi_visit", [False, True])
def test_no_two_coin_flips_of_a_session_share_a_number(
    small_world: World, monkeypatch: pytest.MonkeyPatch, multi_visit: bool
) -> None:
    flips: list[int] = []

    def watched(key: np.uint64) -> float:
        flips.append(int(key))
        return float(uniform(key))

    _uncompiled(monkeypatch)
    for module in (kernels, kernels_session, counter_rng):
        monkeypatch.setattr(module, "uniform", watched)
    config = ShopConfig(
        multi_visit=multi_visit, leave_bias=0, return_bias=5, max_visits=9, horizon_days=99
    )
    world = small_world.with_config(config)
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64
        state = _first_page(world, 20, 40)
        for _ in range(config.max_pages):
            state, _ = _show(world, state, _slates(40))
    assert (state.visit > 0).any() == multi_visit
    assert len(flips) > 40 * 80
    assert len(set(flips)) == len(flips)


def test_compiled_kernels_are_the_python_they_are_written_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = _first_page(world, 21, 60)
    fast, outcome = _show(world, state, _slates(60))
    with monkeypatch.context() as patch, np.errstate(over="ignore"):
        _uncompiled(patch)
        again = _first_page(world, 21, 60)
        slow, same = _show(world, again, _slates(60))
    np.testing.assert_array_equal(outcome.clicks, same.clicks)
    np.testing.assert_array_equal(outcome.purchases, same.purchases)
    for name, value in vars(fast).items():
        np.testing.assert_allclose(vars(slow)[name], value, rtol=1e-6, atol=1e-6, err_msg=name)


def test_policies_that_show_the_same_page_meet_the_same_luck(world: World) -> None:
    a, b = (ShopVectorEnv(world, 200) for _ in range(2))
    a.reset(seed=10)
    b.reset(seed=10)
    one, two = a.step(_slates(200))[4], b.step(_slates(200))[4]
    np.testing.assert_array_equal(one["clicks"], two["clicks"])
    assert one["clicks"].any()
    # What they showed on the first page decides nothing about the flips of the second.
    before = a.state.copy()
    _, shown = _show(world, before, _slates(200, FIRST[::-1]))
    info = b.step(_slates(200, FIRST[::-1]))[4]
    live = info["_clicks"]  # who left on the first page is not shown a second one
    np.testing.assert_array_equal(shown.clicks[live], info["clicks"][live])


def test_an_item_keeps_its_luck_wherever_it_is_shown(small_world: World) -> None:
    """Position-based: who clicks an item below also clicks it above."""
    state = _first_page(small_world, 11, 2_000)
    _, below = _show(small_world, state, _slates(2_000, np.array([0, 1, 2, 3, 4])))
    _, above = _show(small_world, state, _slates(2_000, np.array([4, 1, 2, 3, 0])))
    assert (above.clicks[:, 0] >= below.clicks[:, 4]).all()
    assert above.clicks[:, 0].sum() > below.clicks[:, 4].sum()
    np.testing.assert_array_equal(above.clicks[:, 1:4], below.clicks[:, 1:4])


def test_a_copied_state_has_the_same_future(world: World) -> None:
    state = _first_page(world, 12, 50)
    for _ in range(3):
        state, _ = _show(world, state, _slates(50))
    twin = state.copy()
    for page in range(6):
        slates = _slates(50, np.roll(np.arange(N), page)[:K])
        state, outcome = _show(world, state, slates)
        twin, again = _show(world, twin, slates)
        np.testing.assert_array_equal(outcome.reward, again.reward)
        np.testing.assert_array_equal(outcome.left, again.left)
    np.testing.assert_array_equal(state.taste, twin.taste)


def test_showing_a_page_leaves_the_state_as_it_was(world: World) -> None:
    state = _first_page(world, 13, 50)
    kept = state.copy()
    _show(world, state, _slates(50))
    for name, value in vars(kept).items():
        np.testing.assert_array_equal(getattr(state, name), value, err_msg=name)


def test_candidates_are_distinct_and_change_from_page_to_page(small_world: World) -> None:
    config = ShopConfig(follow_click=0, new_query=0, **STAY)
    world = small_world.with_config(config)
    state = _first_page(world, 14, 100)
    pages = []
    for _ in range(world.pools.items.shape[1] // N):
        items = sessions.candidates(world, state)[1]
        assert all(len(set(row)) == N for row in items)
        pages.append(items)
        state, _ = _show(world, state, _slates(100))
    everything = np.concatenate(pages, axis=1)
    assert all(len(set(row)) == everything.shape[1] for row in everything)


def test_scenes_start_in_their_shares(small_world: World) -> None:
    rows = 10_000
    state = _first_page(small_world, 15, rows)
    config = small_world.config
    shares = (config.start_home, 1 - config.start_home - config.start_search, config.start_search)
    for scene, p in enumerate(shares):
        assert abs((state.scene == scene).mean() - p) < 3 * np.sqrt(p * (1 - p) / rows)
    first = [small_world.pools.first_row(scene) for scene in range(3)]
    home = state.scene == sessions.HOME
    np.testing.assert_array_equal(state.anchor[home], state.shopper[home])
    similar = state.scene == sessions.SIMILAR
    last = small_world.last_item[state.shopper[similar]]
    np.testing.assert_array_equal(state.anchor[similar] - first[1], last)


def test_a_click_can_lead_to_items_like_it(small_world: World) -> None:
    world = small_world.with_config(ShopConfig(follow_click=1, new_query=0))
    state = _first_page(world, 16, 1000)
    items = np.take_along_axis(sessions.candidates(world, state)[1], _slates(1000), axis=1)
    nxt, outcome = _show(world, state, _slates(1000))
    clicked = outcome.clicks.any(axis=1)
    assert 50 < clicked.sum() < 1000
    assert (nxt.scene[clicked] == sessions.SIMILAR).all()
    last = K - 1 - outcome.clicks[clicked][:, ::-1].argmax(axis=1)
    np.testing.assert_array_equal(
        nxt.anchor[clicked] - world.pools.first_row(sessions.SIMILAR),
        items[clicked, last],
    )
    np.testing.assert_array_equal(nxt.anchor[~clicked], state.anchor[~clicked])


# What is hidden


def test_the_observation_does_not_depend_on_anything_hidden(world: World) -> None:
    envs = ShopVectorEnv(world, 32)
    observation, _ = envs.reset(seed=17)
    for _ in range(3):
        observation = envs.step(_act(observation))[0]
    rng = np.random.default_rng(0)
    state, people, pools = envs.state.copy(), world.population, world.pools
    state.taste = rng.random(state.taste.shape, dtype=np.float32)
    state.trust = rng.random(state.trust.shape, dtype=np.float32)
    hidden = {
        name: rng.permutation(value) for name, value in vars(people).items()
    }  # another shopper's taste, affinity, price point, trust and patience
    other = replace(
        world,
        population=replace(people, **hidden),
        pools=replace(pools, relevance=rng.permutation(pools.relevance)),
        aspects=rng.permutation(world.aspects),
    )
    seen = sessions.observe(other, state)
    for key in observation:
        np.testing.assert_array_equal(seen[key], observation[key], err_msg=key)
    columns, items = sessions.candidates(world, envs.state)
    true = sessions.appeal(world, envs.state, columns, items).attraction
    assert (sessions.appeal(other, state, columns, items).attraction != true).any(), (
        "the perturbation must reach what is hidden"
    )


def _reasons(world: World, lying: bool) -> ReasonTable:
    """Reasons that claim what the segment likes best: only what holds, or all of it."""
    liked = np.argsort(-world.segment_aspects, axis=1)[:, :3]
    wanted = np.zeros(world.segment_aspects.shape, dtype=np.float32)
    np.put_along_axis(wanted, liked, 1, axis=1)
    holds = (world.aspects > 0)[:, None]
    claims = wanted[None] * (1 if lying else holds)
    claims = np.broadcast_to(claims, world.reasons.claims.shape).astype(np.float32)
    return ReasonTable(
        claims=claims,
        unsupported=(claims * ~holds).sum(axis=-1),
        words=np.full(claims.shape[:2], 10, dtype=np.float32),
    )


def _above(difference: np.ndarray) -> bool:
    """Whether the mean paired difference lies above 0 by three standard errors."""
    return bool(difference.mean() > 3 * difference.std(ddof=1) / np.sqrt(len(difference)))


def test_lies_win_the_first_page_and_lose_trust(world: World) -> None:
    rows = 12_000  # few clicks are bought
    honest, lying = (world.with_reasons(_reasons(world, lying)) for lying in (False, True))
    state = _first_page(world, 18, rows)
    after_truth, truth = _show(honest, state, _slates(rows))
    after_lies, lies = _show(lying, state, _slates(rows))
    assert _above(lies.clicks.sum(axis=1) - truth.clicks.sum(axis=1))
    assert _above(after_truth.trust - after_lies.trust)
    # Of the clicks that both shops get, the lying one sells less.
    both = truth.clicks & lies.clicks
    sold = (truth.purchases & both).sum(axis=1) - (lies.purchases & both).sum(axis=1)
    assert _above(sold.astype(float))


def test_reasons_show_in_the_observation(small_world: World) -> None:
    lying = small_world.with_reasons(_reasons(small_world, lying=True))
    seen = ShopVectorEnv(lying, 16).reset(seed=0)[0]["items"]
    plain = ShopVectorEnv(small_world, 16).reset(seed=0)[0]["items"]
    names = ShopVectorEnv.item_feature_names
    for column, name in enumerate(names):
        differs = (seen[..., column] != plain[..., column]).any()
        assert differs == name.startswith("reason_"), name
    assert (seen[..., names.index("reason_claims")] == 1).all(), "three claims, in thirds"


# Dynamics by hand


def test_a_page_moves_the_session_as_written(small_world: World) -> None:
    config = ShopConfig(bias=50, buy_bias=50, clicks={"decay": 0}, follow_click=0, new_query=0)
    world = small_world.with_config(config)  # everything is clicked and bought
    state = _first_page(world, 19, 20)
    items = sessions.candidates(world, state)[1][:, :K]
    nxt, outcome = _show(world, state, _slates(20))
    assert outcome.clicks.all()
    assert outcome.purchases.all()
    assert (nxt.page == 1).all()
    assert (nxt.clicks_last == K).all()
    assert (nxt.purchases == K).all()
    # No reasons, no promises; the two complements round in float32.
    np.testing.assert_allclose(nxt.trust, state.trust, rtol=1e-6)
    for row in range(20):
        classes = world.class_index[items[row]]
        count = np.bincount(classes, minlength=world.n_classes)
        np.testing.assert_allclose(nxt.satiation[row], config.satiation_gain * count / K, rtol=1e-5)
        np.testing.assert_array_equal(nxt.clicked_class[row] > 0, count > 0)
        taste = state.taste[row].astype(float)
        for item in items[row]:
            taste = (1 - config.taste_drift) * taste + config.taste_drift * world.aspects[item]
        np.testing.assert_allclose(nxt.taste[row], taste, rtol=1e-4)


def test_what_was_bought_is_masked_and_never_sold_again(world: World) -> None:
    rows = 200
    # Shoppers who buy far more than the default ones, so that much is masked.
    eager = world.config.model_copy(update={"bias": -4.0, "buy_bias": -3.0})
    env = ShopVectorEnv(world.with_config(eager), rows)
    observation, _ = env.reset(seed=11)
    bought: list[set[int]] = [set() for _ in range(rows)]
    resting, sold = np.zeros(rows, dtype=bool), 0
    for _ in range(12):
        _, offered = sessions.candidates(world, env.state)
        for row in np.flatnonzero(~resting).tolist():
            masked = set(offered[row][observation["mask"][row] == 0].tolist())
            assert masked == bought[row] & set(offered[row].tolist())
        # The top of the pool whatever the mask says: masked slots must count for nothing.
        observation, _, terminated, truncated, info = env.step(_slates(rows))
        for row in range(rows):
            if resting[row]:
                bought[row] = set()
                continue
            new = info["items"][row][info["purchases"][row]].tolist()
            assert not bought[row] & set(new)
            bought[row] |= set(new)
            sold += len(new)
        resting = terminated | truncated
    assert sold > 20, "the test must have met purchases"


def test_the_single_shop_refuses_a_masked_candidate(world: World) -> None:
    env = ShopEnv(world)
    for seed in range(200):
        observation, _ = env.reset(seed=seed)
        over = False
        while not over:
            masked = np.flatnonzero(observation["mask"] == 0)
            if len(masked):
                free = np.flatnonzero(observation["mask"])
                with pytest.raises(ValueError, match=r"observation\['mask'\] rules out"):
                    env.step(np.array([masked[0], *free[: K - 1]]))
                env.step(env.action_space.sample(mask=observation["mask"]))
                return
            observation, _, terminated, truncated, _ = env.step(_act(observation))
            over = terminated or truncated
    pytest.fail("no bought item came up again in 200 sessions")
