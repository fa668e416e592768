"""`shelftalk bench serve` at a reduced size, with a service of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.benchmarks import serve


@pytest.mark.faults
def test_rows_of_the_bench(bundle_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {
        "_CALLS": 20, "_WORKERS": 1, "_CONNECTIONS": 2, "_SECONDS": 0.4, "_WARM": 0.1, "_EVENTS": 50
    }  # fmt: skip
    for name, size in sizes.items():
        monkeypatch.setattr(serve, name, size)
    rows = {(row["name"], row["metric"]): row for row in serve.measure(1, bundle_path)}
    for name in ("recommend", "recommend, plackett_luce(temperature=0.25)"):
        assert 0 < rows[name, "ms_p50"]["value"] <= rows[name, "ms_p99"]["value"]
    for name in ("POST /v1/shelf", "POST /v1/feedback"):
        assert rows[name, "requests_per_second"]["value"] > 1
        assert 0 < rows[name, "ms_p50"]["value"] <= rows[name, "ms_p99"]["value"]
        assert rows[name, "cpu_ms_per_request"]["value"] > 0
    assert rows["supervisor", "peak_memory"]["value"] < rows["worker", "peak_memory"]["value"]
