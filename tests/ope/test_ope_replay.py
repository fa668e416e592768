"""Targets that were not logged: by playing the log again, and by asking a bundle."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from envs.errors import UserError
from envs.feedback import TARGETS, check_feedback
from experiments.ope.bundle_target import bundle_target
from experiments.ope.replay import replay_target
from experiments.ope.shop_log import log_sessions
from policies.baselines import SlatePolicy
from policies.bundle import Bundle
from policies.logging_policies import PlackettLuce, TopK
from tests.shop_at_hand import bare_world, small_shop

ITEMS = small_shop().visitors.catalogue.items["item_id"].tolist()


def popularity(observation: dict[str, np.ndarray]) -> np.ndarray:
    return observation["items"][..., 8]


TARGET = SlatePolicy("popularity", lambda page: popularity(page.observation))


@cache
def logged() -> pd.DataFrame:
    return log_sessions(
        bare_world(),
        lambda seen: 4 * seen["items"][..., :6].mean(axis=-1),
        popularity,
        sessions_count=60,
        model_slates=1,
        truth_slates=1,
        item_ids=ITEMS,
        shopper_ids=small_shop().visitors.profiles.shopper_ids,
        seed=5,
    ).frame


def test_played_again_the_target_is_what_it_would_have_been() -> None:
    frame = logged().drop(columns=list(TARGETS)).sample(frac=1, random_state=0)
    found = replay_target(frame, bare_world(), ITEMS, TARGET, PlackettLuce(1.0), seed=5)
    check_feedback(found, "replayed", targets=True)
    for column in TARGETS:
        known = logged()[column]
        np.testing.assert_allclose(found[column].sort_index(), known, rtol=1e-4, atol=1e-12)


def test_a_target_that_shows_one_slate_alone() -> None:
    found = replay_target(logged(), bare_world(), ITEMS, TARGET, TopK(), seed=5)
    assert set(found["eval_pscore"]) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("change", "choices", "message"),
    [
        ({}, {"seed": 6}, "another shop or with another seed"),
        ({"item_id": "nobody's"}, {}, "another shop or with another seed"),
        ({"click": 1}, {}, "another shop or with another seed"),
    ],
)
def test_another_shop_is_found_out(
    change: dict[str, Any], choices: dict[str, Any], message: str
) -> None:
    frame = logged().assign(**change)
    with pytest.raises(UserError, match=message):
        replay_target(
            frame, bare_world(), ITEMS, TARGET, PlackettLuce(1.0), **{"seed": 5, **choices}
        )


def test_what_a_replay_needs() -> None:
    with pytest.raises(UserError, match="only with its column 'step'"):
        replay_target(logged().drop(columns="step"), bare_world(), ITEMS, TARGET, TopK(), seed=5)


# Bundles


class OneShelf:
    """What `bundle_target` asks of a bundle: logits by item, known shoppers, no search."""

    def __init__(self) -> None:
        self.catalogue = self
        self.item_position = {"a": 0, "b": 1, "c": 2, "d": 3}
        self.rows = {"known": 0}
        self.asked: list[tuple[str, int]] = []

    def home(self, row: int) -> str:
        self.asked.append(("home", row))
        return "home"

    def search(self, row: int, query: str) -> str:
        self.asked.append((query, row))
        return query

    def candidates(self, visit: str) -> list[int]:
        return [] if visit == "nothing" else [0]

    def observation_for(self, visit: str, items: np.ndarray) -> dict[str, np.ndarray]:
        return {"items": items[None], "mask": np.ones((1, len(items)), dtype=np.float32)}

    def logits(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        return np.log(np.array([1.0, 2.0, 3.0, 4.0]))[observation["items"]].astype(np.float32)


def page(**columns: Any) -> pd.DataFrame:
    """One slate that shows b, then a, of a, b and c."""
    base: dict[str, Any] = {
        "slate_id": [0, 0], "position": [0, 1], "item_id": ["b", "a"], "reward": [0.0, 1.0],
        "pscore": [0.2, 0.2], "candidates": [["a", "b", "c"], None],
    }  # fmt: skip
    return pd.DataFrame(base | columns)


def ask(shelf: OneShelf, frame: pd.DataFrame, rule: Any = None) -> pd.DataFrame:
    return bundle_target(frame, cast(Bundle, shelf), rule or PlackettLuce(1.0))


def test_a_bundle_scores_the_candidates_by_hand() -> None:
    found = ask(OneShelf(), page())
    # Strengths 1, 2 and 3: b first has 2/6, then a has 1/4.
    assert found["eval_pscore_cascade"].tolist() == pytest.approx([2 / 6, 2 / 6 / 4], rel=1e-6)
    assert found["eval_pscore"].tolist() == pytest.approx([1 / 12] * 2, rel=1e-6)
    # a second: after b (above) or after c, 3/6 * 1/3.
    assert found["eval_pscore_item_position"].iloc[1] == pytest.approx(1 / 12 + 1 / 6, rel=1e-6)
    assert (ask(OneShelf(), page(), TopK())["eval_pscore"] == 0).all()


@pytest.mark.parametrize(
    ("columns", "asked"),
    [
        ({}, ("home", 1)),
        ({"shopper_id": "known"}, ("home", 0)),
        ({"shopper_id": "new", "query": "lamp"}, ("lamp", 1)),
        ({"shopper_id": "known", "query": "nothing"}, ("home", 0)),
        ({"shopper_id": "known", "query": None}, ("home", 0)),
    ],
)
def test_a_bundle_is_asked_for_the_page_that_was_shown(
    columns: dict[str, Any], asked: tuple[str, int]
) -> None:
    shelf = OneShelf()
    ask(shelf, page(**columns))
    assert shelf.asked[-1] == asked


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (page().drop(columns="candidates"), "needs column 'candidates'"),
        (page(candidates=[None, None]), "slate 0 has no list of item ids"),
        (page(candidates=[["a", "c"], None]), "shows an item that is not among them"),
        (page(candidates=[["a", "b", "z"], None]), "item 'z' is not in the bundle's catalogue"),
    ],
)
def test_wrong_candidates(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ask(OneShelf(), frame)
