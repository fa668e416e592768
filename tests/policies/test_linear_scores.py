"""Linear policies: kept as JSON, read back the same, mistakes in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs import sessions
from envs.clicks import make_click_model
from envs.counter_rng import new_keys
from envs.errors import UserError
from policies.baselines import Page
from policies.linear_scores import LinearScores, load_linear, save_linear
from policies.page_features import JOINT_FEATURES, joint_features
from tests.shop_at_hand import bare_world


def some_page() -> Page:
    world = bare_world()
    state = sessions.start(world, new_keys(np.random.default_rng(0), 12))
    model = make_click_model(world.config.click_model, world.config.slots, world.config.clicks)
    return Page(sessions.observe(world, state), world, state, model)


def some_scores() -> LinearScores:
    rng = np.random.default_rng(1)
    return LinearScores("mine", rng.normal(size=len(JOINT_FEATURES)).astype(np.float32))


def test_scores_are_the_weighted_sum_of_joint_features() -> None:
    shown, scores = some_page(), some_scores()
    features = joint_features(shown.observation["context"], shown.observation["items"])
    wanted = np.einsum("bnd,d->bn", features.astype(float), scores.weights.astype(float))
    np.testing.assert_allclose(scores.policy().score(shown), wanted, rtol=1e-4, atol=1e-4)
    assert scores.policy().name == "mine"


def test_what_is_read_back_is_the_same_policy(tmp_path: Path) -> None:
    scores, path = some_scores(), tmp_path / "mine.json"
    save_linear(scores, path)
    again = load_linear(path)
    assert again.name == scores.name
    np.testing.assert_array_equal(again.weights, scores.weights)
    np.testing.assert_array_equal(
        again.policy().slates(some_page()), scores.policy().slates(some_page())
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda kept: kept["weights"].pop(JOINT_FEATURES[3]), JOINT_FEATURES[3]),
        (lambda kept: kept["weights"].update(moon=1.0), "'moon'"),
        (lambda kept: kept["weights"].update({JOINT_FEATURES[0]: "much"}), "lacks"),
        (lambda kept: kept["weights"].update({JOINT_FEATURES[0]: float("nan")}), "finite"),
        (lambda kept: kept.pop("name"), "'name'"),
        (lambda kept: kept.update(weights=3), "lacks"),
    ],
)
def test_weights_of_something_else_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    path = tmp_path / "mine.json"
    save_linear(some_scores(), path)
    kept = json.loads(path.read_text())
    change(kept)
    path.write_text(json.dumps(kept))
    with pytest.raises(UserError, match=said) as error:
        load_linear(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_or_broken_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    for name in ("broken.json", "missing.json"):
        with pytest.raises(UserError, match=name):
            load_linear(tmp_path / name)
