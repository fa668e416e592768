"""The options of the command: words in, estimates out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.errors import UserError
from experiments.ope.evaluate import evaluate
from experiments.ope.options import (
    clipped,
    evaluate_log,
    model_columns,
    reward_bounds,
    target_names,
)
from tests.ope.plackett_luce_world import SLATES, sample_log

EXPECTED = np.random.default_rng(0).random(SLATES.shape)


@pytest.mark.parametrize("chunk_rows", [None, 100])
def test_a_log_on_disk(tmp_path: Path, chunk_rows: int | None) -> None:
    frame = sample_log(200, EXPECTED, np.random.default_rng(1), mine=EXPECTED, theirs=EXPECTED)
    frame["session_id"] = frame["slate_id"]
    frame.to_parquet(tmp_path / "log.parquet")
    columns = model_columns("mine, theirs")
    (found,) = evaluate_log(
        tmp_path / "log.parquet", ["DR"], column_map=columns, seed=3, chunk_rows=chunk_rows
    )
    ours = frame.rename(columns={"mine": "q_hat", "theirs": "v_hat"})
    (known,) = evaluate(ours, ["DR"], rng=np.random.default_rng(3))
    assert (found.value, found.low) == pytest.approx((known.value, known.low), rel=1e-9)


def test_a_wrong_choice_is_answered_before_the_log_is_read() -> None:
    with pytest.raises(UserError, match="no estimator 'SNIP'"):
        evaluate_log(Path("nowhere.parquet"), ["SNIP"])


def test_words() -> None:
    assert clipped(["IPS", "SNIPS", "DR"], 10.0) == ["ClippedIPS@10", "SNIPS", "ClippedDR@10"]
    assert reward_bounds("0,2.5") == (0.0, 2.5)
    assert target_names("eval, det,") == ["eval", "det"]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: model_columns("q"), "--model-columns q: name two columns"),
        (lambda: clipped(["IPS"], 0.0), "--clip 0: .* must lie above 0"),
        (lambda: clipped(["SNIPS"], 5.0), "none of the estimators has a clipped form"),
        (lambda: reward_bounds("1"), "--reward-range 1: write the least"),
    ],
)
def test_refusals(made: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        made()
