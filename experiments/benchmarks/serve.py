"""Speed of a bundle in this process, and of the service over HTTP: shelves, feedback, memory.

The client of the HTTP figures is a process on the same machine and takes its share of the cores.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np

from envs.assemble import open_shop, synthetic_visitors
from envs.errors import UserError
from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES
from envs.shoppers import ShopperConfig
from envs.similarity import SCORES, SimilarityConfig
from envs.synthetic import SyntheticConfig
from experiments.benchmarks.timing import row
from experiments.served import served
from policies.bundle import Bundle, BundleSettings, Explore, load_bundle
from policies.logging_policies import LoggingPolicy, PlackettLuce

_ITEMS, _SHOPPERS, _POOL, _SHOWN = 1_000, 1_000, 100, 10
_CALLS = 1_000
_WORKERS, _CONNECTIONS, _SECONDS, _WARM = 2, 8, 5.0, 1.0
_EVENTS = 20_000
_TEMPERATURE = 0.25


def measure(repeats: int, bundle: Path | None = None) -> list[dict[str, Any]]:
    """Time ``bundle``, or a default one that is made on the spot and never was trained."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = bundle or make_bundle(folder / "bundle")
        loaded = load_bundle(path)
        sampled = PlackettLuce(_TEMPERATURE)
        return [
            *_recommending(loaded, "recommend", None, repeats),
            *_recommending(loaded, f"recommend, {sampled.name}", sampled, repeats),
            *_serving(path, loaded, folder, repeats),
        ]


def make_bundle(path: Path) -> Path:
    """Export a bundle of 1,000 items whose pages have 100 candidates and show 10; book reasons."""
    import torch

    from policies.bundle_export import export_bundle
    from policies.ranker.config import ScorerConfig
    from policies.ranker.scorer import SlateScorer
    from policies.reasoner.book import write_book
    from rewards.claims import ClaimChecker

    rng = np.random.default_rng(0)
    visitors = synthetic_visitors(
        SyntheticConfig(items=_ITEMS), ShopperConfig(shoppers=_SHOPPERS), rng
    )
    shop = open_shop(visitors, SimilarityConfig(pool=_POOL), rng)
    catalogue = visitors.catalogue
    checker = ClaimChecker(catalogue)
    book, _ = write_book(catalogue, visitors.profiles, checker, None, np.arange(_ITEMS), rng)
    config = ScorerConfig(baseline_features=SCORES)
    generator = torch.Generator().manual_seed(0)
    scorer = SlateScorer(config, ITEM_FEATURES, CONTEXT_FEATURES, generator).eval()
    with warnings.catch_warnings():
        # torch.export calls functions that torch itself has deprecated (seen with torch 2.13).
        warnings.simplefilter("ignore")
        export_bundle(
            path, shop=shop, book=book, scorer=scorer, reasoner=None,
            settings=BundleSettings(slots=_SHOWN, pool=_POOL), metrics={}, name="bench",
        )  # fmt: skip
    return path


def _recommending(
    bundle: Bundle, name: str, rule: LoggingPolicy | None, repeats: int
) -> list[dict[str, Any]]:
    """Milliseconds of shelves at home, for shoppers drawn at random.

    By the clock, and of the processor alone: on a busy machine the former waits for its turn.
    """
    rng = np.random.default_rng(0)
    shoppers = rng.choice(list(bundle.rows), (repeats + 1, _CALLS))
    took, worked = np.empty((repeats + 1, _CALLS)), np.empty((repeats + 1, _CALLS))
    shelf = bundle.recommend(None, k=_SHOWN)
    for turn, at in np.ndindex(took.shape):
        explore = None if rule is None else Explore(rule, at)
        began, before = time.perf_counter(), time.thread_time()
        shelf = bundle.recommend(str(shoppers[turn, at]), k=_SHOWN, explore=explore)
        worked[turn, at] = 1000 * (time.thread_time() - before)
        took[turn, at] = 1000 * (time.perf_counter() - began)
    what = f"{len(shelf.items)} of {len(shelf.candidates)} candidates, book reasons, one thread"
    # The first turn pays for caches and compilation.
    return [
        row(name, f"{metric}_p{share}", "ms", what, np.percentile(of[1:], share, axis=1).tolist())
        for metric, of in (("ms", took), ("cpu_ms", worked))
        for share in (50, 99)
    ]


def _serving(path: Path, bundle: Bundle, folder: Path, repeats: int) -> Iterator[dict[str, Any]]:
    """Requests a second and milliseconds over HTTP, and the memory of it all."""
    what = f"{_WORKERS} workers, SQLite, {_CONNECTIONS} connections, {_SECONDS:g} s"
    shelves = [{"shopper": shopper, "k": _SHOWN} for shopper in bundle.rows]
    with _service(path, folder) as (url, process, seconds):
        yield row("start", "seconds", "s", f"{_WORKERS} workers", [seconds])
        workers = _children(process.pid)
        loads = [_load(url, "/v1/shelf", shelves, workers) for _ in range(repeats)]
        yield from _rows("POST /v1/shelf", f"{_SHOWN} items, {what}", loads)
        events = _events(url, repeats)
        loads = [_load(url, "/v1/feedback", some, workers) for some in events]
        yield from _rows("POST /v1/feedback", f"one event, {what}", loads)
        peaks = [_peak(pid) for pid in workers]
        yield row("worker", "peak_memory", "MiB", f"each of {_WORKERS}", peaks)
        yield row("supervisor", "peak_memory", "MiB", "one", [_peak(process.pid)])


@contextmanager
def _service(path: Path, folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes], float]]:
    """Run a service; yields its address, its process, and the seconds until it listened."""
    began = time.perf_counter()
    options = ["--workers", str(_WORKERS)]
    with served(path, folder / "store.db", folder / "log", options) as (url, process):
        yield url, process, time.perf_counter() - began


def _load(url: str, path: str, bodies: list[dict[str, Any]], workers: list[int]) -> dict[str, Any]:
    """Have a process of its own keep the service busy; adds the workers' CPU time, ``cpu``."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    asked = {
        "host": host, "port": int(port), "connections": _CONNECTIONS, "seconds": _SECONDS,
        "warm": _WARM, "head": f"POST {path} HTTP/1.1", "bodies": bodies,
    }  # fmt: skip
    before = sum(map(_cpu, workers))
    ended = subprocess.run(
        [sys.executable, "-m", "experiments.benchmarks.serve_load"],
        input=json.dumps(asked).encode(), stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(ended.stdout) | {"cpu": sum(map(_cpu, workers)) - before}
    if set(found["statuses"]) != {"200"}:
        raise UserError(f"bench serve: {path} answered {found['statuses']}, not 200 alone")
    return found


def _rows(name: str, what: str, loads: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    rates = [len(load["milliseconds"]) / load["seconds"] for load in loads]
    yield row(name, "requests_per_second", "requests/s", what, rates)
    for share in (50, 99):
        found = [float(np.percentile(load["milliseconds"], share)) for load in loads]
        yield row(name, f"ms_p{share}", "ms", what, found)
    # What other work on the machine changes least.
    spent = [1000 * load["cpu"] / load["requests"] for load in loads]
    yield row(name, "cpu_ms_per_request", "ms", what, spent)


def _events(url: str, repeats: int) -> list[list[dict[str, Any]]]:
    """Clicks on one shelf, each under an id of its own."""
    ask = Request(
        f"{url}/v1/shelf", json.dumps({"k": _SHOWN}).encode(), {"Content-Type": "application/json"}
    )
    with urlopen(ask, timeout=30) as answer:
        shelf = json.load(answer)
    items = [item["item_id"] for item in shelf["items"]]
    return [
        [
            {
                "events": [
                    {
                        "event_id": f"{turn}-{at}", "slate_id": shelf["slate_id"],
                        "item_id": items[at % len(items)], "type": "click",
                    }
                ]
            }
            for at in range(_EVENTS)
        ]
        for turn in range(repeats)
    ]  # fmt: skip


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak(pid: int) -> float:
    """Most memory that a process ever held, MiB (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else float("nan")
