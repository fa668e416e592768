"""Benchmarks: each subject runs, at a reduced size, and rates are counted right."""

from __future__ import annotations

from typing import Any

import pytest

from envs.assemble import synthetic_visitors
from envs.synthetic import SyntheticConfig
from experiments.benchmarks import (
    SUBJECTS,
    adapters,
    metrics,
    ope,
    ranker,
    rewards,
    run_subject,
    simulator,
)  # fmt: skip
from experiments.benchmarks.timing import rate
from policies.ranker.config import RankerConfig, WarmStartConfig
from tests.shop_at_hand import bare_world

ROW = {"name", "metric", "unit", "config", "value", "min", "max"}


class Clock:
    """Time passes only where it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_rate_is_units_over_time_and_the_first_run_is_free() -> None:
    clock, took = Clock(), iter([100.0, 1.0, 4.0, 2.0])

    def work() -> int:
        clock.now += next(took)
        return 8

    row = rate("n", "m", "u/s", "c", work, 3, clock)
    assert row == {
        "name": "n", "metric": "m", "unit": "u/s", "config": "c",
        "value": 4.0, "min": 2.0, "max": 8.0,
    }  # fmt: skip


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "default_world", lambda **sizes: bare_world())
    monkeypatch.setattr(simulator, "_ROWS", 20)
    monkeypatch.setattr(simulator, "_STEPS", 3)
    monkeypatch.setattr(simulator, "_MANY", 2_000)
    # Fresh processes that compile everything are not for a unit test.
    monkeypatch.setattr(simulator, "_start_up", list)
    monkeypatch.setattr(ope, "_ROWS", (2_000,))
    monkeypatch.setattr(ranker, "default_world", lambda **sizes: bare_world())
    sizes = RankerConfig(
        num_envs=8, batch=64, minibatch=32, eval_every=1, eval_sessions=8,
        warm_start=WarmStartConfig(slates=0),
    )  # fmt: skip
    monkeypatch.setattr(ranker, "_CONFIG", sizes)
    monkeypatch.setattr(ranker, "_CALLS", 20)

    def visitors(config: SyntheticConfig, *others: Any) -> Any:
        return synthetic_visitors(config.model_copy(update={"items": 60}), *others)

    monkeypatch.setattr(rewards, "synthetic_visitors", visitors)
    monkeypatch.setattr(metrics, "synthetic_visitors", visitors)
    monkeypatch.setattr(metrics, "_TEXTS", 200)
    for name, size in {"_ITEMS": 60, "_PAIRS": 60, "_BASE_STEPS": 2, "_STEPS": 2}.items():
        monkeypatch.setattr(adapters, name, size)
    two = {name: adapters.KINDS[name] for name in ("lora", "prefix")}
    monkeypatch.setattr(adapters, "KINDS", two)


# `serve` needs a bundle and processes: tests/service/test_bench_serve.py.
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("subject", [name for name in SUBJECTS if name != "serve"])
def test_subject_runs(subject: str) -> None:
    rows = run_subject(subject, repeats=1)
    assert rows
    assert len({(row["name"], row["metric"]) for row in rows}) == len(rows)
    for row in rows:
        assert set(row) == ROW
        # A part of a cycle may take no time at all: nothing is read twice.
        assert 0 <= row["min"] <= row["value"] <= row["max"]
        known = ("bytes", "MiB", "1", "s", "ms", "nats", "CPU s", "CPU ms")
        assert row["unit"] in known or row["unit"].endswith(("/s", "/CPU s"))
    assert any(row["value"] > 0 for row in rows)
    if subject == "ope":
        assert {row["config"] for row in rows} == {"2,000 rows, 100 resamples by session"}
