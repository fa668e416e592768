"""What is noted of each page: the same sessions as in any simulation, and true to the equations."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from envs.world import World
from experiments.rankers_horizon import horizon
from experiments.rankers_names import LONG, MYOPIC
from experiments.rankers_play import FIGURES, Pages, Played, play_all
from experiments.session_report_trace import trace
from experiments.simulate import METRICS, Contestant, Sessions, interval, play
from policies.baselines import random_policy, similarity_policy
from tests.shop_at_hand import bare_world, small_shop

COUNT, SEED = 1_000, 5


@cache
def noted() -> tuple[Played, Pages]:
    return play_all(bare_world(), similarity_policy(), range(SEED, SEED + COUNT))


def test_the_sessions_are_those_of_any_simulation() -> None:
    played, pages = noted()
    known = play(bare_world(), similarity_policy(), COUNT, SEED)
    for name in Sessions.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(played, name), getattr(known, name))
    for metric in (*METRICS, "trust"):
        np.testing.assert_array_equal(played.values(metric), known.values(metric))
    assert set(FIGURES) - {"expected_return"} == {*METRICS, "trust"}
    np.testing.assert_array_equal(pages.there.sum(axis=1), played.pages)
    # Who is there on a page was there on all before; and what is over earns and shows nothing.
    assert (np.diff(pages.there, axis=1) <= 0).all()
    for values in vars(pages).values():
        assert not values[pages.there == 0].any()


def test_expected_rewards_have_the_mean_of_the_rewards_and_less_luck() -> None:
    played, pages = noted()
    np.testing.assert_allclose(pages.expected.sum(axis=1), played.expected, atol=1e-6)
    gap = interval(played.reward - played.expected, 1 - 1e-4)  # four standard errors
    assert gap["low"] < 0 < gap["high"]
    assert played.expected.std() < played.reward.std()


@pytest.mark.parametrize("multi_visit", [False, True])
def test_moods_are_those_of_a_session_played_alone(multi_visit: bool) -> None:
    """Against the session report's own account, which steps one shopper at a time."""
    shop = small_shop()
    config = bare_world().config.model_copy(
        update={"multi_visit": multi_visit, "return_bias": 0.0, "leave_bias": -2.0}
    )
    world: World = bare_world().with_config(config)
    played, pages = play_all(world, random_policy(), range(20, 40))
    for row in range(20):
        turns = trace(shop, Contestant("r", random_policy(), world), None, 20 + row).turns
        assert pages.there[row].sum() == len(turns)
        for page, turn in enumerate(turns):
            assert pages.satiation[row, page] == pytest.approx(turn.satiation, abs=1e-5)
            assert pages.trust[row, page] == pytest.approx(turn.trust)
            assert pages.classes[row, page] == len({card.hue for card in turn.cards})
    assert played.pages.max() > 2


# --- page by page --------------------------------------------------------------------------------


def pages_of(there: list[list[int]], **arrays: list[list[float]]) -> Pages:
    shown = np.array(there, dtype=np.float32)
    blank = Pages(*(np.zeros_like(shown) for _ in range(5)))
    given = {name: np.array(rows, dtype=np.float32) for name, rows in arrays.items()}
    return replace(blank, there=shown, **given)


def test_means_are_over_those_who_see_the_page_and_returns_over_all() -> None:
    long = pages_of(
        [[1, 1, 0], [1, 0, 0]],
        expected=[[0.25, 0.5, 0], [0.75, 0, 0]],
        satiation=[[0.25, 0.75, 0], [0.5, 0, 0]],
        trust=[[0.5, 0.25, 0], [1, 0, 0]],
        classes=[[2, 3, 0], [4, 0, 0]],
    )
    myopic = pages_of([[1, 0, 0], [1, 0, 0]], expected=[[1, 0, 0], [1, 0, 0]])
    found = horizon([long], [myopic])
    assert found["pages"] == [1, 2]  # nobody sees a third one
    assert found["variants"][LONG] == {
        "there": [1, 0.5], "satiation": [0.375, 0.75], "trust": [0.75, 0.25], "classes": [3, 3],
        "return_so_far": [0.5, 0.75],
    }  # fmt: skip
    assert found["variants"][MYOPIC]["satiation"] == [0, None]
    assert found["variants"][MYOPIC]["return_so_far"] == [1, 1]
    assert found["lead"]["value"] == pytest.approx([-0.5, -0.25])
    known = interval(np.array([-0.75, -0.25]))
    assert (found["lead"]["low"][0], found["lead"]["high"][0]) == pytest.approx(
        (known["low"], known["high"])
    )


def test_what_all_sessions_have_earned_in_the_end_is_the_return() -> None:
    played, pages = noted()
    found = horizon([pages, pages], [pages, pages])
    for side in (LONG, MYOPIC):
        assert found["variants"][side]["return_so_far"][-1] == pytest.approx(played.expected.mean())
        assert found["variants"][side]["there"][0] == 1
    assert found["lead"]["value"] == found["lead"]["low"] == [0.0] * len(found["pages"])
