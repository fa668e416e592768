"""A log read in chunks gives what the whole log gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from envs.errors import UserError
from experiments.ope.chunks import evaluate_chunks
from experiments.ope.evaluate import evaluate
from tests.ope.plackett_luce_world import SLATES, sample_log

EXPECTED = np.random.default_rng(0).random(SLATES.shape)
NAMES = ["SIPS", "SNIIPS", "SNRIPS", "DR"]


def log() -> pd.DataFrame:
    """300 sessions of one to three slates; some slates end after their first item."""
    rng = np.random.default_rng(1)
    frame = sample_log(600, EXPECTED, rng, q_hat=EXPECTED * 0.9, v_hat=EXPECTED * 0 + 0.4)
    frame["session_id"] = np.repeat(np.repeat(np.arange(300), rng.integers(1, 4, 300))[:600], 2)
    short = frame["slate_id"].isin(rng.choice(500, size=30, replace=False))
    frame = frame[~(short & (frame["position"] == 1))].copy()
    alone = frame["slate_id"].map(frame["slate_id"].value_counts()) == 1
    for prefix in ("", "eval_"):
        frame.loc[alone, f"{prefix}pscore"] = frame.loc[alone, f"{prefix}pscore_cascade"]
    return frame.reset_index(drop=True)


@pytest.mark.parametrize("interval", ["bootstrap", "bca", "delta"])
def test_chunks_equal_the_whole(tmp_path: Path, interval: str) -> None:
    path = tmp_path / "log.parquet"
    log().to_parquet(path, row_group_size=97)
    whole = evaluate(log(), NAMES, rng=np.random.default_rng(2), interval=interval)  # type: ignore[arg-type]
    parts = evaluate_chunks(
        path, NAMES, rng=np.random.default_rng(2), interval=interval, chunk_rows=50
    )
    for one, other in zip(whole, parts, strict=True):
        for name, value in one.as_dict().items():
            same = pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
            assert getattr(other, name) == same, name


def test_a_folder_with_a_column_map(tmp_path: Path) -> None:
    theirs = log().rename(columns={"reward": "gain"})
    cut = int(np.flatnonzero(np.diff(theirs["session_id"]) > 0)[150]) + 1
    theirs.iloc[:cut].to_parquet(tmp_path / "a.parquet")
    theirs.iloc[cut:].to_parquet(tmp_path / "b.parquet")
    rows: list[int] = []
    found = evaluate_chunks(
        tmp_path, ["SIPS"], rng=np.random.default_rng(0), column_map={"reward": "gain"},
        chunk_rows=100, progress=lambda done, total, _: rows.append(done),
    )  # fmt: skip
    (known,) = evaluate(log(), ["SIPS"], rng=np.random.default_rng(0))
    assert found[0].value == pytest.approx(known.value, rel=1e-12)
    assert rows[-1] == len(theirs)


def test_a_bandit_log_without_sessions(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"item_id": 0, "reward": rng.random(500), "pscore": 0.5, "eval_pscore": 0.4}
    )
    frame.to_parquet(tmp_path / "log.parquet")
    (found,) = evaluate_chunks(
        tmp_path / "log.parquet", ["IPS"], rng=rng, interval="delta", chunk_rows=64
    )
    weighted = 0.8 * frame["reward"].to_numpy()
    assert found.n == 500
    assert found.value == pytest.approx(weighted.mean())
    assert found.se == pytest.approx(weighted.std(ddof=1) / np.sqrt(500))


def test_a_wrong_row_is_named_in_its_own_file(tmp_path: Path) -> None:
    frame = log()
    cut = int(np.flatnonzero(np.diff(frame["session_id"]) > 0)[200]) + 1
    frame.iloc[:cut].to_parquet(tmp_path / "a.parquet")
    frame.loc[cut + 33, "reward"] = np.nan
    frame.iloc[cut:].to_parquet(tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet: column 'reward', row 33 .*it is nan"):
        evaluate_chunks(tmp_path, ["SIPS"], rng=np.random.default_rng(0), chunk_rows=20)


def test_sessions_that_lie_apart_are_refused(tmp_path: Path) -> None:
    frame = log()
    path = tmp_path / "log.parquet"
    pd.concat([frame, frame[:1].assign(slate_id=9_999, pscore_cascade=frame["pscore"])])[
        ["session_id", "slate_id", "position", "item_id", "reward", "pscore", "eval_pscore"]
    ].assign(position=lambda f: f.groupby("slate_id").cumcount()).to_parquet(path)
    with pytest.raises(UserError, match="rows of some 'session_id' lie apart; sort the log"):
        evaluate_chunks(path, ["SIPS"], rng=np.random.default_rng(0), chunk_rows=100)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"interval": "sequence"}, "interval sequence needs the whole log at once"),
        ({"estimators": ["AIPS"]}, "estimator AIPS needs the whole log at once"),
        ({"estimators": ["PDIS"]}, "estimator PDIS needs the whole log at once"),
        ({"chunk_rows": 0}, "chunks must have 1 row or more"),
        ({"path": Path("nowhere.parquet")}, "there is no such file"),
    ],
)
def test_refusals(tmp_path: Path, choices: dict[str, Any], message: str) -> None:
    log().to_parquet(tmp_path / "log.parquet")
    with pytest.raises(UserError, match=message):
        evaluate_chunks(
            **{"path": tmp_path / "log.parquet", "rng": np.random.default_rng(0), **choices}
        )
