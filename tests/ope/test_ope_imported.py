"""Foreign logs: what is left out and why, targets beside them, and the folder that is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from envs.errors import UserError
from envs.feedback import check_feedback, read_feedback
from envs.files import read_json
from envs.importers.drops import WITH_SLATE, without_bad_rows, without_broken_slates
from experiments.ope.evaluate import evaluate
from experiments.ope.imported import (
    check_out,
    open_bandit_log,
    table_log,
    write_imported,
)
from tests.data_at_hand import shared_data


def rows(**columns: Any) -> pd.DataFrame:
    """Three slates of two; ``columns`` replace theirs."""
    base: dict[str, Any] = {
        "slate_id": [0, 0, 1, 1, 2, 2], "position": [0, 1] * 3, "item_id": list("abcdef"),
        "reward": [0.0, 1.0] * 3, "click": [0, 1] * 3, "pscore": [0.5] * 6,
    }  # fmt: skip
    return pd.DataFrame(base | columns)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"item_id": ["a", None, "c", "d", "e", "f"]}, "item_id is missing"),
        ({"position": [0, 1.5, 0, 1, 0, 1]}, "position is no whole number from 0 on"),
        ({"reward": [0, np.nan, 0, 0, 0, 0]}, "reward is no finite number"),
        ({"reward": ["0", "much", "0", "1", "0", "1"]}, "reward is no finite number"),
        ({"click": [0, 2, 0, 0, 0, 0]}, "click is neither 0 nor 1"),
        ({"pscore": [0.5, 0.0, 0.5, 0.5, 0.5, 0.5]}, r"pscore is no probability in (0, 1]"),
        ({"eval_pscore": [0, 1.5, 0, 0, 1, 1]}, r"eval_pscore is no probability in [0, 1]"),
    ],
)
def test_a_bad_row_takes_its_slate_along(columns: dict[str, Any], reason: str) -> None:
    kept, dropped = without_bad_rows(rows(**columns))
    assert dropped == {reason: 1, WITH_SLATE: 1}
    assert kept["slate_id"].tolist() == [1, 1, 2, 2]
    check_feedback(kept, "kept")


def test_sound_rows_stay_as_they_are() -> None:
    kept, dropped = without_bad_rows(rows())
    pd.testing.assert_frame_equal(kept, rows())
    assert not dropped


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"position": [0, 1, 0, 2, 0, 1]}, "in a slate that lacks or repeats a position"),
        ({"position": [0, 1, 0, 0, 0, 1]}, "in a slate that lacks or repeats a position"),
        ({"item_id": list("abccef")}, "in a slate that shows an item twice"),
    ],
)
def test_broken_slates(columns: dict[str, Any], reason: str) -> None:
    kept, dropped = without_broken_slates(rows(**columns))
    assert dropped == {reason: 2}
    assert kept["slate_id"].tolist() == [0, 0, 2, 2]


def test_a_table_that_needs_mending_is_refused_or_dropped_by_choice(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows(pscore=[0.5, 0.5, 0.5, 2.0, 0.5, 0.5], position=[1, 2] * 3).to_csv(path, index=False)
    with pytest.raises(UserError, match=r"log.csv: column 'pscore', row 3"):
        table_log(path, {})
    log = table_log(path, {}, drop=True)
    assert log.dropped == {"pscore is no probability in (0, 1]": 1, WITH_SLATE: 1}
    assert log.frame["position"].tolist() == [0, 1, 0, 1]
    assert log.counts()["slates"] == 2
    assert any("left out 1 rows: pscore" in line for line in log.summary_lines())


# Propensities


def test_propensities_are_estimated_where_there_are_none_and_say_so(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "log.csv"
    item = rng.choice(3, size=900, p=[0.5, 0.3, 0.2])
    frame = pd.DataFrame({"item_id": item, "reward": item == 2, "eval_pscore": 1 / 3})
    frame.astype({"reward": float}).to_csv(path, index=False)
    log = table_log(path, {}, estimate=True)
    # Shares of two thirds of the rows.
    found = log.frame.groupby("item_id")["pscore"].mean().to_numpy()
    np.testing.assert_allclose(found, np.bincount(item) / 900, atol=0.01)
    assert log.counts()["propensities"] == "estimated"
    write_imported(log, tmp_path / "out")
    read = read_feedback(tmp_path / "out", targets=True)
    (estimate,) = evaluate(read, ["SNIPS"], rng=rng, interval="delta")
    assert any("these are estimates" in note for note in estimate.notes)
    assert abs(estimate.value - 1 / 3) < 3 * estimate.se


def test_logged_propensities_are_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows().to_csv(path, index=False)
    with pytest.raises(UserError, match="leave --estimate-propensities out"):
        table_log(path, {}, estimate=True)
    with pytest.raises(UserError, match="give both or neither"):
        table_log(path, {}, features=["click"])


# The folder


def test_the_folder_is_a_log_and_only_a_log_is_replaced(tmp_path: Path) -> None:
    path, out = tmp_path / "log.csv", tmp_path / "out"
    rows().to_csv(path, index=False)
    for _ in range(2):  # a second import takes the place of the first
        write_imported(table_log(path, {}), out)
    assert len(read_feedback(out)) == 6
    assert read_json(out / "log.json")["source"] == "table"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for other in (tmp_path / "mine", path):
        with pytest.raises(UserError, match="exists and is no feedback log"):
            check_out(other)


# The Open Bandit Dataset


def test_the_uniform_policy_is_found_from_the_learned_ones_log() -> None:
    """Its own log was clicked 46 times in 10,000: the interval from the other log holds that."""
    folder = shared_data("obd_men")
    log = open_bandit_log(folder / "bts", target="uniform")
    np.testing.assert_allclose(log.frame["eval_pscore"], 1 / 34)
    found = evaluate(log.frame, ["IPS", "SNIPS"], rng=np.random.default_rng(0))
    for estimate in found:
        assert estimate.low < 46 / 10_000 < estimate.high
        assert estimate.conclusive
    reverse = open_bandit_log(folder / "random", target=str(folder / "bts"))
    for estimate in evaluate(reverse.frame, ["IPS", "SNIPS"], rng=np.random.default_rng(0)):
        assert estimate.low < 69 / 10_000 < estimate.high
