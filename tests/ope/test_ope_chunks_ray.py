"""Spans of a log, tallied apart, and Ray Data give what one process gives."""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from envs.errors import UserError
from experiments import simulate_workers
from experiments.cli import cli
from experiments.ope.chunks import Plan, concluded, planned
from experiments.ope.chunks_ray import evaluate_on_ray, spans_of, tally_span
from experiments.ope.evaluate import Estimate, evaluate
from tests.ope.test_ope_chunks import NAMES, log


def parts_of(frame: pd.DataFrame, folder: Path, cuts: list[int], group: int = 37) -> None:
    """Write a log in several files, cut wherever it may be."""
    folder.mkdir(exist_ok=True)
    for number, part in enumerate(np.split(np.arange(len(frame)), cuts)):
        frame.iloc[part].to_parquet(folder / f"{number}.parquet", row_group_size=group)


def asked(folder: Path, chunk_rows: int, cluster: str = "session_id") -> Plan:
    return planned(folder, NAMES, "bootstrap", 0.95, cluster, None, chunk_rows)


def assert_same(found: list[Estimate], known: list[Estimate]) -> None:
    for one, other in zip(found, known, strict=True):
        for name, value in other.as_dict().items():
            same = pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
            assert getattr(one, name) == same, name


@pytest.mark.parametrize("chunk_rows", [40, 300, 10_000])
def test_spans_cover_the_log_and_cut_no_session(tmp_path: Path, chunk_rows: int) -> None:
    """Files and row groups end inside sessions and inside slates; one file is empty."""
    frame = log()
    parts_of(frame, tmp_path, [101, 101, 500])
    plan = asked(tmp_path, chunk_rows)
    spans = spans_of(plan)
    assert [span.first for span in spans] == list(np.cumsum([0, *(s.rows for s in spans[:-1])]))
    assert sum(span.rows for span in spans) == len(frame)
    parts = [part for span in spans for part in tally_span(plan, span)]
    found = concluded(parts, plan, "bootstrap", 0.95, 100, np.random.default_rng(2))
    known = evaluate(
        frame, NAMES, rng=np.random.default_rng(2), interval="bootstrap", resamples=100
    )
    assert_same(found, known)


def test_a_session_longer_than_a_span_is_one(tmp_path: Path) -> None:
    frame = log().assign(session_id=lambda f: f["session_id"] // 150)
    parts_of(frame, tmp_path, [200])
    plan = asked(tmp_path, 40)
    spans = spans_of(plan)
    counts = [sum(part.tally.clusters for part in tally_span(plan, span)) for span in spans]
    assert len(spans) > 10
    assert sum(counts) == 2
    assert max(counts) == 1


def test_rows_of_a_bandit_log_are_all_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"item_id": 0, "reward": rng.random(500), "pscore": 0.5, "eval_pscore": 0.4}
    )
    parts_of(frame, tmp_path, [123], group=50)
    plan = planned(tmp_path, ["IPS"], "delta", 0.95, "session_id", None, 60)
    parts = [part for span in spans_of(plan) for part in tally_span(plan, span)]
    (found,) = concluded(parts, plan, "delta", 0.95, 0, rng)
    assert found.n == 500
    assert found.value == pytest.approx(0.8 * frame["reward"].mean())


def test_a_wrong_row_is_named_in_its_own_file(tmp_path: Path) -> None:
    frame = log()
    frame.loc[700, "reward"] = np.nan
    parts_of(frame, tmp_path, [650])
    plan = asked(tmp_path, 60)
    (holder,) = (s for s in spans_of(plan) if s.first <= 700 < s.first + s.rows)
    with pytest.raises(UserError, match=r"1\.parquet: column 'reward', row 50 .*it is nan"):
        tally_span(plan, holder)


def started_ray() -> AbstractContextManager[Any]:
    """Ray of two CPUs, entered; it gives itself 30 seconds, which a busy machine may not have."""
    for _ in range(2):
        started = simulate_workers.ray_for(2, None)
        try:
            started.__enter__()
        except Exception as error:  # its bare one, with nothing but a text to know it by
            if "timed out" not in str(error):
                raise
            gc.collect()  # what the failed start left, while its warnings are ignored
        else:
            return started
    pytest.skip("Ray cannot be started here within its own 30 seconds")


@pytest.mark.filterwarnings(
    # Ray's own start-up leaves these to the garbage collector (ray-project/ray#9546).
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    # Ray 2.60 warns of what its next release does with GPUs; there is none here.
    "ignore:.*accelerator visible devices.*:FutureWarning",
    # Ray Data's own defaults set what Ray Data calls deprecated.
    "ignore::DeprecationWarning:ray.data.context",
    "ignore::UserWarning:ray.data.context",
)
def test_ray_gives_what_one_process_gives(tmp_path: Path) -> None:
    frame = log()
    parts_of(frame, tmp_path / "log", [500])
    wrong = frame.copy()
    wrong.loc[700, "reward"] = np.nan
    parts_of(wrong, tmp_path / "wrong", [650])
    seen: list[tuple[int, int]] = []
    rng = np.random.default_rng(2)
    known = evaluate(frame, NAMES, rng=rng, interval="bootstrap", resamples=100)
    rest: dict[str, Any] = {"workers": 2, "chunk_rows": 300, "interval": "bootstrap"}
    started = started_ray()
    try:
        found = evaluate_on_ray(
            tmp_path / "log", NAMES, rng=np.random.default_rng(2), resamples=100,
            progress=lambda done, total, _: seen.append((done, total)), **rest,
        )  # fmt: skip
        with pytest.raises(UserError, match=r"1\.parquet: column 'reward', row 50 .*it is nan"):
            evaluate_on_ray(tmp_path / "wrong", NAMES, rng=rng, **rest)
    finally:
        started.__exit__(None, None, None)
    assert_same(found, known)
    assert seen[-1] == (len(frame), len(frame))


@pytest.mark.parametrize(("option", "value"), [("--workers", "2"), ("--address", "auto")])
def test_workers_are_for_chunks(tmp_path: Path, option: str, value: str) -> None:
    outcome = CliRunner().invoke(cli, ["ope", str(tmp_path), "--target-columns", option, value])
    assert isinstance(outcome.exception, UserError)
    assert str(outcome.exception).startswith(f"{option}: goes with --chunk alone")
