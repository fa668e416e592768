"""The bench of the ranker at a reduced size: its rows are complete, and count what they say."""

from __future__ import annotations

import pytest

from experiments.benchmarks import ranker
from policies.ranker.config import RankerConfig
from tests.shop_at_hand import bare_world


def test_rows_of_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    small = RankerConfig(num_envs=8, batch=64, minibatch=32, eval_every=1, eval_sessions=8)
    monkeypatch.setattr(ranker, "default_world", lambda **sizes: bare_world())
    monkeypatch.setattr(ranker, "_CONFIG", small)
    monkeypatch.setattr(ranker, "_CALLS", 20)
    rows = ranker.measure(repeats=2)
    assert [(row["name"], row["metric"]) for row in rows] == [
        *(
            (name, f"{verb}_steps_per_{clock}")
            for name, verb in (
                ("fast runner", "sample"),
                ("RLlib's runner", "sample"),
                ("ppo", "train"),
            )
            for clock in ("second", "cpu_second")
        ),
        *(
            (kind, f"recommend_ms_{share}")
            for kind in ("deep_sets", "attention", "linear")
            for share in ("p50", "p99")
        ),
    ]
    for row in rows:
        assert 0 < row["min"] <= row["value"] <= row["max"]
    middle, slowest = rows[6], rows[7]
    assert middle["value"] <= slowest["value"]
