"""The sweep file: every mistake is one line, and what is drawn is what was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.errors import UserError
from experiments.config import Config
from experiments.tune_sweep import (
    DEFAULT_SWEEP,
    FIXED,
    Draw,
    Sweep,
    changed,
    draw_settings,
    read_sweep,
)

CONFIG = Config(name="shop")


def written(path: Path, space: str) -> Path:
    file = path / "sweep.yaml"
    file.write_text(f"space:\n  {space}\n", encoding="utf-8")
    return file


def test_the_default_sweep_fits_the_default_config() -> None:
    sweep = read_sweep(DEFAULT_SWEEP, CONFIG)
    drawn = draw_settings(sweep, CONFIG, sweep.trials, seed=0)
    assert drawn[0] == {}
    assert all(set(one) == set(sweep.space) for one in drawn[1:])


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("rank.learning_rate: {choice: [1]}", r"'rank.learning_rate' is no setting"),
        ("rank.gama: {choice: [0.9]}", r"'rank.gama'.*Did you mean 'rank.gamma'"),
        ("rank.scorer: {choice: [1]}", r"'rank.scorer' is no setting"),
        ("ppo.lr: {uniform: [0.1, 0.2]}", r"'ppo.lr' is no setting"),
        ("rank.num_env_runners: {choice: [1]}", r"'rank.num_env_runners' is no setting"),
        ("rank.lr: {loguniform: [0, 0.2]}", r"rank.lr: a logarithm needs numbers above 0"),
        ("rank.lr: {uniform: [0.2, 0.1]}", r"rank.lr: the first must be below the second"),
        ("rank.lr: {uniform: [0.1, 0.2], choice: [1]}", r"rank.lr: give exactly one of choice"),
        ("rank.lr: {}", r"rank.lr: give exactly one of choice"),
        ("rank.lr: {loguniform: [0.1]}", r"rank.lr"),
        ("rank.lr: {normal: [0, 1]}", r"rank.lr.normal: unknown key"),
        ("rank.gamma: {uniform: [0.9, 1.5]}", r"rank.gamma as 1.5.*less than or equal to 1"),
        ("rank.epochs: {int: [0, 3]}", r"rank.epochs as 0.*greater than or equal to 1"),
        ("rank.scorer.kind: {choice: [deep_sets, tree]}", r"rank.scorer.kind as tree.*attention"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_key(
    tmp_path: Path, space: str, said: str
) -> None:
    path = written(tmp_path, space)
    with pytest.raises(UserError, match=said) as error:
        read_sweep(path, CONFIG)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_draws_stay_in_their_range_and_fill_it() -> None:
    draws = {
        "choice": Draw(choice=(1, "a", True)),
        "uniform": Draw(uniform=(2.0, 6.0)),
        "loguniform": Draw(loguniform=(1e-4, 1.0)),
        "int": Draw.model_validate({"int": [3, 5]}),
    }
    rng = np.random.default_rng(0)
    found = {name: [draw.value(rng) for _ in range(2_000)] for name, draw in draws.items()}
    assert set(map(str, found["choice"])) == {"1", "a", "True"}
    assert set(found["int"]) == {3, 4, 5}
    assert all(isinstance(one, int) for one in found["int"])
    uniform, log = np.array(found["uniform"]), np.log10(found["loguniform"])
    assert 2.0 <= uniform.min() < uniform.max() <= 6.0
    assert -4 <= log.min() < log.max() <= 0
    # Means of uniform draws: width / sqrt(12 n) is their standard deviation.
    for values, middle in ((uniform, 4.0), (log, -2.0)):
        assert abs(values.mean() - middle) < 4 * 4 / np.sqrt(12 * 2_000)


def test_a_longer_search_begins_with_the_shorter_one() -> None:
    sweep = Sweep(space={"rank.lr": Draw(loguniform=(1e-4, 1e-2))})
    short, long = (draw_settings(sweep, CONFIG, n, seed=3) for n in (2, 5))
    assert long[:3] == short
    assert draw_settings(sweep, CONFIG, 2, seed=4) != short
    assert len({str(one) for one in long}) == 6


def test_what_excludes_each_other_is_drawn_again() -> None:
    space = {
        "rank.scorer.kind": Draw(choice=("attention",)),
        "rank.scorer.heads": Draw(choice=(3, 4)),  # three do not divide a width of 32
    }
    drawn = draw_settings(Sweep(space=space), CONFIG, 8, seed=0)[1:]
    assert {one["rank.scorer.heads"] for one in drawn} == {4}
    space["rank.scorer.heads"] = Draw(choice=(3,))
    with pytest.raises(UserError, match=r"draws in a row were no settings.*must divide hidden"):
        draw_settings(Sweep(space=space), CONFIG, 1, seed=0)


def test_changed_changes_these_settings_and_no_others() -> None:
    found = changed(CONFIG, {"rank.lr": 0.5, "rank.scorer.hidden": 8})
    rank = CONFIG.rank
    scorer = rank.scorer.model_copy(update={"hidden": 8})
    assert found.rank == rank.model_copy(update={"lr": 0.5, "scorer": scorer})
    assert found.model_copy(update={"rank": rank}) == CONFIG
    for name in FIXED:
        assert name in type(rank).model_fields
