"""Logs from elsewhere: the Open Bandit Dataset, and any table with a column map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from envs.errors import UserError
from envs.feedback import check_feedback
from envs.importers.open_bandit import (
    read_open_bandit,
    with_shares_as_target,
    with_uniform_target,
)
from envs.importers.table import read_table
from tests.data_at_hand import shared_data


def small(folder: Path, **columns: Any) -> Path:
    """Three lines of a campaign of two items."""
    base: dict[str, Any] = {
        "timestamp": ["2019-11-24 00:00:01+00:00", "2019-11-24 00:00:02.5+00:00"] * 2,
        "item_id": [0, 1, 1, 1], "position": [1, 3, 3, 1], "click": [0, 1, 0, 0],
        "propensity_score": [0.5, 0.25, 0.25, 0.5], "user_feature_0": ["x", "y", "x", "y"],
        "user-item_affinity_0": [1.0, 2.0, 3.0, 4.0], "user-item_affinity_1": [5.0, 6.0, 7.0, 8.0],
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(base | columns).to_csv(folder / "men.csv")
    pd.DataFrame({"item_id": [0, 1]}).to_csv(folder / "item_context.csv")
    return folder


def test_each_line_is_a_slate_of_one(tmp_path: Path) -> None:
    frame = read_open_bandit(small(tmp_path / "bts"))
    assert frame["slate_id"].is_unique
    assert (frame["position"] == 0).all()
    assert frame["slot"].tolist() == [0, 2, 2, 0]
    assert frame["reward"].tolist() == [0.0, 1.0, 0.0, 0.0]
    assert frame["pscore"].tolist() == [0.5, 0.25, 0.25, 0.5]
    assert frame["affinity"].tolist() == [1.0, 6.0, 7.0, 8.0]
    assert np.diff(frame["timestamp"]).tolist() == [1.5, -1.5, 1.5]
    assert set(frame["logging_policy"]) == {"bts"}


def test_targets(tmp_path: Path) -> None:
    folder = small(tmp_path / "random")
    frame = read_open_bandit(folder)
    assert set(with_uniform_target(frame, folder)["eval_pscore"]) == {0.5}
    other = pd.DataFrame({"slot": [0, 0, 0, 0, 2], "item_id": [0, 0, 0, 1, 0]})
    shares = with_shares_as_target(frame, other)
    assert shares["eval_pscore"].tolist() == [0.75, 0.0, 0.0, 0.25]
    check_feedback(shares, "log", targets=True)


def test_the_real_logs() -> None:
    folder = shared_data("obd_men")
    random, bts = (read_open_bandit(folder / name) for name in ("random", "bts"))
    assert (len(random), len(bts)) == (10_000, 10_000)
    assert (random["reward"].sum(), bts["reward"].sum()) == (46, 69)
    np.testing.assert_allclose(random["pscore"], 1 / 34)
    uniform = with_uniform_target(bts, folder / "bts")["eval_pscore"]
    # The target is the other log's policy: its probability there is the same number.
    np.testing.assert_allclose(uniform, random["pscore"])
    learned = with_shares_as_target(random, bts)
    summed = learned.drop_duplicates(["slot", "item_id"]).groupby("slot")["eval_pscore"].sum()
    np.testing.assert_allclose(summed, 1.0)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"propensity_score": [0.5, 0.0, 0.2, 0.1]}, r"'pscore', row 1 .*\(0, 1\]; it is 0.0"),
        ({"click": [0, 3, 0, 0]}, r"'click', row 1 .*0 or 1"),
        ({"timestamp": ["soon"] * 4}, "column 'timestamp' must hold times"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"men.csv: .*{message}"):
        read_open_bandit(small(tmp_path / "bts", **columns))


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must hold one log CAMPAIGN\.csv .* but holds 0"):
        read_open_bandit(tmp_path)
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "men.csv")
    with pytest.raises(UserError, match="column 'item_id' is missing"):
        read_open_bandit(tmp_path)


# Any table


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "page": ["p", "p", "q"], "rank": [1, 2, 1], "product": [7, 8, 7], "click": [0, 1, 1],
            "chance": [0.2, 0.2, 0.5], "shop": "north",
        }
    )  # fmt: skip


MAP = {"slate_id": "page", "position": "rank", "item_id": "product", "pscore": "chance"}


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_table_in_every_form(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"log{kind}"
    if kind == ".jsonl":
        table().to_json(path, orient="records", lines=True)
    elif kind == ".parquet":
        table().to_parquet(path)
    else:
        table().to_csv(path, index=False, sep="\t" if kind == ".tsv" else ",")
    found = read_table(path, MAP)
    assert found.frame["position"].tolist() == [0, 1, 0]
    assert found.frame["reward"].tolist() == [0, 1, 1]
    assert found.frame["shop"].tolist() == ["north"] * 3
    assert any("counted from 1" in note for note in found.notes)
    assert any("clicks are the reward" in note for note in found.notes)


def test_a_table_without_propensities(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    table().drop(columns="chance").to_csv(path, index=False)
    columns = {ours: theirs for ours, theirs in MAP.items() if ours != "pscore"}
    with pytest.raises(UserError, match="column 'pscore' is missing"):
        read_table(path, columns)
    assert "pscore" not in read_table(path, columns, propensities=False).frame


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("log.xls", MAP, r"one of \.csv, \.tsv, \.jsonl, \.parquet"),
        ("none.csv", MAP, "no such file"),
        ("log.csv", {**MAP, "item": "product"}, "names 'item', which is no column"),
        ("log.csv", {**MAP, "pscore": "chanc"}, "'chanc'.*Did you mean 'chance'"),
        ("bad.parquet", MAP, "cannot be read as .parquet"),
    ],
)
def test_wrong_tables(tmp_path: Path, name: str, columns: dict[str, str], message: str) -> None:
    table().to_csv(tmp_path / "log.csv", index=False)
    (tmp_path / "log.xls").touch()
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(UserError, match=message):
        read_table(tmp_path / name, columns)
