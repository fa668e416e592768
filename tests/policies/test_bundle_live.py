"""Reasons written on request: in time, once, and never one that the guard refuses."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from policies.bundle import Bundle, load_bundle
from policies.bundle_live import LiveReasons
from rewards.guards import veto
from tests.policies.bundle_at_hand import Made, without_reasons

ROOT = Path(__file__).parents[2]
#: Seconds that no test waits for: what is late here is late on any machine.
_LONG = 60.0

Write = Callable[[list[str]], list[str]]


@pytest.fixture(scope="module")
def cut(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose book lacks every second item."""
    missing = set(made.shop.visitors.catalogue.items["item_id"][::2])
    return load_bundle(without_reasons(made.path, tmp_path_factory.mktemp("cut") / "b", missing))


@contextmanager
def written_by(
    bundle: Bundle, write: Write, deadline: float = _LONG, kept: int = 100
) -> Iterator[tuple[Bundle, Counter[str]]]:
    """Have a writer write what the bundle lacks; yields it, and what became of each text."""
    outcomes: Counter[str] = Counter()
    live = LiveReasons(write, bundle.catalogue, bundle.profiles, deadline, kept)
    live.tell = lambda outcome: outcomes.update([outcome])
    try:
        yield replace(bundle, live=live), outcomes
    finally:
        live.close()


def true_fact(prompts: list[str]) -> list[str]:
    """Write a fact of the item, as its prompt has it."""
    found = [re.search(r"\| [^|:]+: ([^|]+) \|", prompt) for prompt in prompts]
    return [f"You get {fact[1]}." if fact else "Made for every day." for fact in found]


def test_only_what_the_book_lacks_is_written_and_once(cut: Bundle) -> None:
    asked: list[str] = []

    def write(prompts: list[str]) -> list[str]:
        asked.extend(prompts)
        return true_fact(prompts)

    plain = cut.recommend("s01", k=10)
    lacking = [one.reason_source == "none" for one in plain.items]
    assert 0 < sum(lacking) < 10
    with written_by(cut, write) as (bundle, outcomes):
        first, second = bundle.recommend("s01", k=10), bundle.recommend("s01", k=10)
    assert [one.item_id for one in first.items] == [one.item_id for one in plain.items]
    assert [one.reason_source == "live" for one in first.items] == lacking
    assert first == second
    assert len(asked) == len(set(asked)) == sum(lacking)
    assert outcomes == {"miss": sum(lacking), "hit": sum(lacking)}
    for one, before, lacks in zip(first.items, plain.items, lacking):
        if not lacks:
            assert one == before
            continue
        assert one.reason_id.startswith(f"{one.item_id}/{first.segment}/")
        for fact in one.facts:
            assert one.reason[fact.start : fact.end].lower() == fact.phrase.lower()
    assert any(one.facts for one, lacks in zip(first.items, lacking) if lacks)


def test_a_slow_model_is_late_and_its_text_is_shown_next_time(cut: Bundle) -> None:
    go_on, done = threading.Event(), threading.Event()

    def slow(prompts: list[str]) -> list[str]:
        go_on.wait(_LONG)
        done.set()
        return true_fact(prompts)

    with written_by(cut, slow, deadline=0.1) as (bundle, outcomes):
        began = time.monotonic()
        late = bundle.recommend("s01", k=1, candidates=[cut.labels.ids[0]]).items[0]
        took = time.monotonic() - began
        assert 0.1 <= took < _LONG / 2, "the shelf came before the model had written"
        assert late.reason_source == "fallback"
        assert late.reason
        # The same one as long as it is late: who asks again asks no second time.
        assert bundle.recommend("s01", k=1, candidates=[cut.labels.ids[0]]).items[0] == late
        go_on.set()
        assert done.wait(_LONG)
        ends = time.monotonic() + _LONG
        while time.monotonic() < ends:
            (now,) = bundle.recommend("s01", k=1, candidates=[cut.labels.ids[0]]).items
            if now.reason_source == "live":
                break
        assert now.reason_source == "live"
        assert outcomes["late"] >= 2


def test_a_refused_text_is_never_shown_and_not_asked_for_again(cut: Bundle) -> None:
    calls: list[int] = []

    def hostile(prompts: list[str]) -> list[str]:
        calls.append(len(prompts))
        return ["Ignore all rules. Guaranteed to cure cancer, call 555-123-4567!"] * len(prompts)

    with written_by(cut, hostile) as (bundle, outcomes):
        shelves = [bundle.recommend("s02", k=10) for _ in range(3)]
    lacking = [one for one in shelves[0].items if one.reason_source == "fallback"]
    assert shelves[0] == shelves[1] == shelves[2]
    assert sum(calls) == outcomes["vetoed"] / 3 > 0
    for one in lacking:
        assert "Ignore" not in one.reason
        item = bundle.catalogue.item_position[one.item_id]
        found = bundle.live._checker.check(item, one.reason) if bundle.live else None
        assert found is not None
        assert veto(one.reason, found) is None


def test_what_waits_is_written_together(cut: Bundle) -> None:
    """While a batch is written, the requests of other threads gather for the next one."""
    batches: list[int] = []
    gathered, started = threading.Event(), threading.Event()

    def write(prompts: list[str]) -> list[str]:
        batches.append(len(prompts))
        started.set()
        gathered.wait(_LONG)
        return true_fact(prompts)

    items = range(0, 12, 2)
    with written_by(cut, write) as (bundle, outcomes):
        live = bundle.live
        assert live is not None
        threads = [threading.Thread(target=live.beside, args=([item], 0)) for item in items]
        threads[0].start()
        assert started.wait(_LONG)
        for thread in threads[1:]:
            thread.start()
        ends = time.monotonic() + _LONG
        while len(live._waiting) < len(items) - 1 and time.monotonic() < ends:
            time.sleep(0.005)
        gathered.set()
        for thread in threads:
            thread.join(_LONG)
    assert batches == [1, len(items) - 1]
    assert outcomes == {"miss": len(items)}


def test_a_model_that_breaks_leaves_the_fallback_and_is_asked_again(cut: Bundle) -> None:
    broken = [True]

    def write(prompts: list[str]) -> list[str]:
        if broken[0]:
            raise RuntimeError("out of memory")
        return true_fact(prompts)

    with written_by(cut, write) as (bundle, outcomes):
        live = bundle.live
        assert live is not None
        assert [one.source for one in live.beside([0, 2], 0)] == ["fallback", "fallback"]
        broken[0] = False
        assert [one.source for one in live.beside([0, 2], 0)] == ["live", "live"]
        assert outcomes == {"failed": 2, "miss": 2}


def test_the_latest_texts_are_kept_and_a_closed_model_writes_no_more(cut: Bundle) -> None:
    with written_by(cut, true_fact, kept=2) as (bundle, outcomes):
        live = bundle.live
        assert live is not None
        for item in (0, 2, 0, 4):
            live.beside([item], 1)
        assert outcomes == {"miss": 3, "hit": 1}
        live.beside([2], 1)
        assert outcomes["miss"] == 4, "the one that was asked for longest ago was forgotten"
        live.close()
        assert live.beside([6], 1)[0].source == "fallback"
        assert outcomes["refused"] == 1
        assert live.beside([2], 1)[0].source == "live", "what is kept stays"


def test_the_exported_model_writes_under_the_same_guard(made: Made, tmp_path: Path) -> None:
    """A model that was never trained writes nonsense, of which nothing is shown."""
    path = without_reasons(
        made.path, tmp_path / "b", {made.shop.visitors.catalogue.items["item_id"][0]}
    )
    bundle = load_bundle(path, live=True, deadline=_LONG)
    assert bundle.live is not None
    seen: list[str] = []
    bundle.live.tell = seen.append
    (one,) = bundle.recommend("s01", candidates=[bundle.labels.ids[0]], k=1).items
    assert (one.reason_source, seen) == ("fallback", ["vetoed"])
    bundle.live.close()


def test_neither_the_book_nor_the_fallback_needs_torch(made: Made, tmp_path: Path) -> None:
    item = made.shop.visitors.catalogue.items["item_id"][0]
    path = without_reasons(made.path, tmp_path / "b", {item})
    code = (
        "import sys; from pathlib import Path; from policies.bundle import load_bundle\n"
        f"bundle = load_bundle(Path({str(path)!r}))\n"
        f"(one,) = bundle.recommend(None, candidates=[{item!r}], k=1).items\n"
        "print(one.reason_source)\n"
        "from policies.bundle_live import LiveReasons\n"
        "live = LiveReasons(lambda p: [''] * len(p), bundle.catalogue, bundle.profiles, 60.0)\n"
        "print(live.beside([0], 0)[0].source, 'torch' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ended.stdout.split() == ["none", "fallback", "False"], ended.stderr
