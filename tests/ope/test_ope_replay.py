"""Targets that were not logged: by playing the log again, and by asking a bundle."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from envs.errors import UserError
from envs.feedback import TARGETS, check_feedback, read_feedback
from envs.files import write_json
from envs.liking import learn_likes
from experiments.ope.bundle_target import bundle_policy, bundle_target, bundle_world
from experiments.ope.bundle_truth import bundle_truth, log_seed
from experiments.ope.evaluate import evaluate
from experiments.ope.impressions import ShopNames
from experiments.ope.log_shop import LogConfig, write_log
from experiments.ope.replay import replay_target, replay_truth
from experiments.ope.shop_log import log_sessions
from policies.baselines import SlatePolicy
from policies.bundle import Bundle, BundleSettings, assemble_bundle
from policies.bundle_book import SCHEMA
from policies.constraints import ConstraintsConfig, ShelfRules, shelf_rules
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
        self.rules: ShelfRules | None = None
        self.asked: list[tuple[str, int]] = []

    def home(self, row: int) -> str:
        self.asked.append(("home", row))
        return "home"

    def search(self, row: int, query: str) -> str:
        self.asked.append((query, row))
        return query

    def candidates(self, visit: str) -> list[int]:
        return [] if visit == "nothing" else [0]

    def beside(self, row: int, item: int) -> str:
        self.asked.append((f"beside {item}", row))
        return "beside"

    def observation_for(self, visit: str, items: np.ndarray, past: object) -> dict[str, np.ndarray]:
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
        ({"shopper_id": "known", "beside": "c"}, ("beside 2", 0)),
        ({"shopper_id": "known", "beside": "z"}, ("home", 0)),
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


# The whole way: a log of the shop, a bundle as its target, and what the shop says


def shelf_of_the_shop() -> Bundle:
    """A bundle without its files: the small shop's index, and logits that are no model's."""
    visitors = small_shop().visitors
    catalogue, known = visitors.catalogue, visitors.profiles
    return assemble_bundle(
        cast(Any, SimpleNamespace(settings=BundleSettings(pool=20))),
        catalogue=catalogue,
        known=known,
        index=small_shop().index,
        popularity=np.zeros(catalogue.n_items, dtype=np.float32),
        likes=learn_likes(catalogue, known),
        books={"tuned": SCHEMA.empty_table()},
        logits=lambda seen: 3 * seen["items"][..., :6].mean(axis=-1),
    )


@cache
def written() -> tuple[pd.DataFrame, ShopNames]:
    names = ShopNames.of(small_shop().visitors)
    with TemporaryDirectory() as folder:
        config = LogConfig(impressions=2_000, temperature=0.3)
        write_log(bare_world(), TARGET, config, Path(folder), names=names, seed=2)
        return read_feedback(Path(folder)), names


def test_a_log_of_the_shop_can_be_asked_about_a_bundle() -> None:
    """By its candidates alone, or played again with the bundle as a policy: the same answer."""
    frame, names = written()
    asked = bundle_target(frame, shelf_of_the_shop(), PlackettLuce(1.0))
    policy = bundle_policy(shelf_of_the_shop(), bare_world(), names)
    again = replay_target(
        frame, bare_world(), names.items.to_pylist(), policy, PlackettLuce(1.0), seed=2
    )
    for column in TARGETS:
        np.testing.assert_allclose(asked[column], again[column], rtol=1e-4)


def test_a_bundle_as_the_target_keeps_its_rules() -> None:
    """Asked by candidates or played again; what it cannot show has no weight."""
    frame, names = written()
    catalogue = small_shop().visitors.catalogue
    gone = ITEMS[::11]
    asked = ConstraintsConfig(max_per_group=2, min_groups=2, out_of_stock=tuple(gone))
    rules = shelf_rules(asked, catalogue, bare_world().popularity, bare_world().config.slots)
    bundle = replace(shelf_of_the_shop(), rules=rules)
    found = bundle_target(frame, bundle, PlackettLuce(1.0))
    policy, world = (
        bundle_policy(bundle, bare_world(), names),
        bundle_world(bundle, bare_world(), names),
    )
    again = replay_target(frame, world, ITEMS, policy, PlackettLuce(1.0), seed=2)
    for column in TARGETS:
        np.testing.assert_allclose(found[column], again[column], rtol=1e-4)
    sold_out = frame["item_id"].isin(gone)
    assert sold_out.any()
    assert (found.loc[sold_out, "eval_pscore_item_position"] == 0).all()
    kinds = frame["item_id"].map(catalogue.items.set_index("item_id")["class"])
    most = kinds.groupby([frame["slate_id"], kinds]).size().groupby(level=0).max()
    crowded = frame["slate_id"].map(most) > 2
    assert crowded.any()
    # Where the candidates of a page are of too few classes, three of one may be shown.
    assert (found.loc[crowded, "eval_pscore"] == 0).mean() > 0.8
    assert (found["eval_pscore"] > 0).any()


def test_the_bundles_estimate_is_what_the_shop_says() -> None:
    frame, names = written()
    asked = bundle_target(frame, shelf_of_the_shop(), PlackettLuce(1.0))
    reasons = bare_world().reasons
    wordy = bare_world().with_reasons(replace(reasons, words=reasons.words + 40))
    truth = bundle_truth(
        frame, [wordy, bare_world()], names, shelf_of_the_shop(), PlackettLuce(1.0),
        seed=2, rng=np.random.default_rng(0),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for estimate in evaluate(asked, ["SIPS", "RIPS", "SNRIPS", "IIPS"], rng=rng, interval="delta"):
        assert abs(estimate.value - truth) < 3 * estimate.se, estimate.estimator
    with pytest.raises(UserError, match="another shop or with another seed"):
        bundle_truth(
            frame, [wordy], names, shelf_of_the_shop(), PlackettLuce(1.0),
            seed=2, rng=np.random.default_rng(0),
        )  # fmt: skip


def test_the_truth_of_the_logging_policy_is_what_was_earned() -> None:
    frame, names = written()
    truth = replay_truth(
        frame, bare_world(), names.items.to_pylist(), TARGET, PlackettLuce(0.3),
        seed=2, rng=np.random.default_rng(1), draws=8,
    )  # fmt: skip
    gap = frame.groupby("slate_id")["reward"].sum().to_numpy() - truth
    assert len(truth) == frame["slate_id"].nunique()
    assert abs(gap.mean()) < 3 * gap.std() / np.sqrt(len(gap))


def test_the_seed_of_a_log_stands_in_its_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leave --truth out"):
        log_seed(tmp_path)
    write_json(tmp_path / "log.json", {"schema": 1, "seed": 7})
    assert log_seed(tmp_path) == 7
