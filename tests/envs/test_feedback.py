"""The feedback log: what is written is read, and each broken rule is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from envs.errors import UserError
from envs.feedback import check_feedback, read_feedback, write_feedback


def log() -> pd.DataFrame:
    """Two slates of two, in no order: rows 0 and 2 are slate "a", rows 3 and 1 slate "b"."""
    return pd.DataFrame(
        {
            "session_id": ["s", "t", "s", "t"],
            "slate_id": ["a", "b", "a", "b"],
            "position": [0, 1, 1, 0],
            "item_id": [10, 11, 12, 13],
            "reward": [0.0, 1.0, 2.5, -1.0],
            "click": [0, 1, 1, 0],
            "pscore": [0.1, 0.2, 0.1, 0.2],
            "pscore_cascade": [0.5, 0.2, 0.1, 0.4],
            "pscore_item_position": [0.5, 0.3, 0.2, 0.4],
            "eval_pscore": [0.0, 1.0, 0.0, 1.0],
            "eval_pscore_cascade": [0.6, 1.0, 0.0, 1.0],
            "margin": [1.0, 2.0, 3.0, 4.0],
        }
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.parquet"
    write_feedback(log(), path)
    pd.testing.assert_frame_equal(read_feedback(path, targets=True), log())
    assert [file.name for file in path.parent.iterdir()] == ["log.parquet"]


def test_a_wrong_log_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    write_feedback(log(), path)
    before = path.read_bytes()
    with pytest.raises(UserError):
        write_feedback(log().assign(pscore=0.0), path)
    assert path.read_bytes() == before


def test_columns_are_mapped_and_sessions_default_to_slates(tmp_path: Path) -> None:
    path = tmp_path / "theirs.parquet"
    theirs = log().drop(columns="session_id")
    theirs = theirs.rename(columns={"item_id": "action"}).assign(item_id="not this one")
    theirs.to_parquet(path)
    frame = read_feedback(path, column_map={"item_id": "action", "query": "slate_id"} | SAME_SLATE)
    assert frame["item_id"].tolist() == [10, 11, 12, 13]
    assert frame["session_id"].tolist() == ["a", "b", "a", "b"]
    assert frame["query"].tolist() == frame["slate_id"].tolist()
    assert frame["margin"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert "action" not in frame


SAME_SLATE = {"slate_id": "slate_id"}


def test_a_bandit_log_has_slates_of_one(tmp_path: Path) -> None:
    path = tmp_path / "bandit.parquet"
    log()[["item_id", "reward", "pscore"]].to_parquet(path)
    frame = read_feedback(path)
    assert frame["slate_id"].is_unique
    assert (frame["position"] == 0).all()


def put(column: str, row: int, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        values = frame[column].astype(object).tolist()
        values[row] = value
        return frame.assign(**{column: pd.Series(values)})

    return change


def drop(row: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: frame.drop(index=row).reset_index(drop=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("pscore", 2, 0.0), r"'pscore', row 2 .*: the probability .* \(0, 1\]; it is 0.0"),
        (put("pscore", 1, 1.5), r"'pscore', row 1 .*\(0, 1\]; it is 1.5"),
        (put("pscore_cascade", 1, -0.2), r"'pscore_cascade', row 1 .*\(0, 1\]; it is -0.2"),
        (put("pscore_item_position", 3, np.nan), r"'pscore_item_position', row 3 .*it is nan"),
        (put("eval_pscore", 0, 1.2), r"'eval_pscore', row 0 .*\[0, 1\]; it is 1.2"),
        (put("eval_pscore", 0, np.nan), r"'eval_pscore', row 0 .*\[0, 1\]; it is nan"),
        (put("reward", 3, np.nan), r"'reward', row 3 .*finite number; it is nan"),
        (put("reward", 3, np.inf), r"'reward', row 3 .*finite number; it is inf"),
        (put("reward", 1, "one"), r"'reward', row 1 .*must be a number; it is 'one'"),
        (put("click", 1, 2), r"'click', row 1 .*must be 0 or 1; it is 2"),
        (put("position", 1, 0.5), r"'position', row 1 .*whole number from 0 on; it is 0.5"),
        (put("item_id", 2, None), r"'item_id', row 2 .*must not be missing"),
        (put("position", 2, 0), r"'position', row 2 .*slate 'a' must show each position once"),
        (put("position", 1, 2), r"'position', row 1 .*slate 'b' lacks position 1; .*it is 2"),
        (drop(3), r"'position', row 1 .*slate 'b' lacks position 0"),
        (drop(2), r"'pscore_cascade', row 0 .*must equal 'pscore' \(0.1\).*it is 0.5"),
        (put("pscore", 2, 0.11), r"'pscore', row 2 .*same on all its rows; it is 0.11"),
        (put("pscore_cascade", 2, 0.6), r"'pscore_cascade', row 2 .*longer prefix .*it is 0.6"),
        (put("pscore_cascade", 1, 0.19), r"'pscore_cascade', row 1 .*must equal 'pscore' \(0.2\)"),
        (put("eval_pscore_cascade", 1, 0.9), r"'eval_pscore_cascade', row 1 .*'eval_pscore'"),
        (put("session_id", 2, "t"), r"'session_id', row 2 .*a slate lies in one session"),
        (lambda f: f.drop(columns="pscore"), "column 'pscore' is missing.*pscore=NAME"),
        (lambda f: f.iloc[:0], "has no rows"),
    ],
)
def test_each_broken_rule_is_named(
    change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    with pytest.raises(UserError, match=f"^log.parquet: .*{message}") as refusal:
        check_feedback(change(log()), "log.parquet")
    assert "\n" not in str(refusal.value)


def test_probabilities_need_to_agree_only_to_rounding() -> None:
    frame = log()
    frame["pscore_cascade"] = frame["pscore_cascade"].astype(np.float32)
    check_feedback(frame, "log")


def test_targets_are_required_when_asked_for() -> None:
    frame = log().drop(columns="eval_pscore")
    check_feedback(frame, "log")
    with pytest.raises(UserError, match="column 'eval_pscore' is missing"):
        check_feedback(frame, "log", targets=True)


@pytest.mark.parametrize(
    ("column_map", "message"),
    [
        ({"item": "item_id"}, "names 'item', .*Did you mean 'item_id'"),
        ({"item_id": "itemid"}, "asks for column 'itemid', .*Did you mean 'item_id'"),
    ],
)
def test_wrong_column_maps(tmp_path: Path, column_map: dict[str, str], message: str) -> None:
    path = tmp_path / "log.parquet"
    write_feedback(log(), path)
    with pytest.raises(UserError, match=message):
        read_feedback(path, column_map=column_map)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent.parquet: there is no such file"):
        read_feedback(tmp_path / "absent.parquet")
    path = tmp_path / "log.parquet"
    write_feedback(log(), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"log.parquet: cannot be read as Parquet .*truncated"):
        read_feedback(path)
    path.write_text("slate_id,position\n")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read_feedback(path)
