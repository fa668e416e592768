"""What happens to feedback when processes are killed, disks fill up and stores go away."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.service.process import Process, Shoppers, served, stored_events, until

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def service(bundle_path: Path, folder: Path) -> Iterator[Process]:
    with served(bundle_path, f"sqlite:///{folder}/one.db", folder, "--workers", "2") as process:
        yield process


def _goes_on(shoppers: Shoppers) -> None:
    """Wait until events are acknowledged again."""
    before = len(shoppers.acknowledged)
    until(lambda: len(shoppers.acknowledged) > before + 20)


def _all_kept_once(store: Path, shoppers: Shoppers) -> None:
    """Assert that no acknowledged event is missing, and none is there twice."""
    found = stored_events(store)
    assert len(found) == len(set(found))
    assert shoppers.acknowledged <= set(found)


def test_killed_under_load_it_loses_no_acknowledged_event_and_doubles_none(
    bundle_path: Path, folder: Path
) -> None:
    store = folder / "killed.db"
    first = Process(bundle_path, f"sqlite:///{store}", folder, "--workers", "2")
    try:
        with Shoppers(first.url) as shoppers:
            until(lambda: len(shoppers.acknowledged) > 60)
            first.kill()
            until(lambda: shoppers.answers["broken"] > 0)
            port = str(first.port)
            with served(
                bundle_path, f"sqlite:///{store}", folder, "--workers", "2", "--port", port
            ):
                before = len(shoppers.acknowledged)
                until(lambda: len(shoppers.acknowledged) > before + 30)
                shoppers.finish()
    finally:
        first.kill()
    found = stored_events(store)
    assert set(found) == shoppers.acknowledged
    assert len(found) == len(set(found))


def _health(service: Process) -> int:
    return httpx.get(service.url + "/healthz", timeout=30).status_code


def _shelf(service: Process) -> httpx.Response:
    return httpx.post(service.url + "/v1/shelf", json={}, timeout=30)


def test_a_full_disk_gives_503_until_there_is_room_again(service: Process, folder: Path) -> None:
    with Shoppers(service.url) as shoppers:
        until(lambda: len(shoppers.acknowledged) > 20)
        # No file of the workers may grow any further: what a full disk does to SQLite.
        for worker in service.workers():
            resource.prlimit(worker, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        until(lambda: shoppers.answers["503"] > 20)
        answer = _shelf(service)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "store_unavailable"
        assert int(answer.headers["retry-after"]) >= 1
        assert _health(service) == 503
        for worker in service.workers():
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(worker, resource.RLIMIT_FSIZE, unlimited)
        until(lambda: _health(service) == 200)
        _goes_on(shoppers)
    _all_kept_once(folder / "one.db", shoppers)


def test_a_store_that_is_moved_away_gives_503_until_it_is_back(
    service: Process, folder: Path
) -> None:
    files = [folder / f"one.db{end}" for end in ("", "-wal", "-shm")]
    with Shoppers(service.url) as shoppers:
        until(lambda: len(shoppers.acknowledged) > 20)
        for file in files:
            file.rename(file.with_name("away-" + file.name))
        until(lambda: shoppers.answers["503"] > 20)
        assert _health(service) == 503
        for file in files:
            file.with_name("away-" + file.name).rename(file)
        until(lambda: _health(service) == 200)
        _goes_on(shoppers)
    _all_kept_once(folder / "one.db", shoppers)


def test_bundles_change_under_load_without_a_dropped_request(
    service: Process, bundle_path: Path
) -> None:
    with Shoppers(service.url) as shoppers:
        for turn in range(3):
            before = len(shoppers.acknowledged)
            if turn == 0:
                service.process.send_signal(signal.SIGHUP)
                until(lambda: '"event": "reload"' in service.log.read_text())
            else:
                path = {"path": str(bundle_path)} if turn == 1 else {}
                answer = httpx.post(service.url + "/v1/reload", json=path, timeout=60)
                assert answer.status_code == 200, answer.text
                assert answer.json()["workers"] == 2
            until(lambda at=before: len(shoppers.acknowledged) > at + 10)  # type: ignore[misc]
    assert set(shoppers.answers) == {"200"}


def test_a_bad_bundle_is_refused_and_the_old_one_stays(service: Process, folder: Path) -> None:
    before = httpx.get(service.url + "/healthz").json()["bundle"]
    answer = httpx.post(service.url + "/v1/reload", json={"path": str(folder)}, timeout=60)
    assert answer.status_code == 409
    assert "manifest.json" in answer.json()["error"]["message"]
    assert _shelf(service).json()["bundle"] == before


def test_a_killed_worker_is_replaced(service: Process) -> None:
    killed = service.workers()[0]
    os.kill(killed, signal.SIGKILL)
    until(lambda: killed not in service.workers() and len(service.workers()) == 2, 90)
    for _ in range(10):
        assert _shelf(service).status_code == 200


def test_metrics_are_summed_over_workers(service: Process) -> None:
    for _ in range(10):
        assert _shelf(service).status_code == 200
    metrics = httpx.get(service.url + "/metrics").text
    lines = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    first = float(lines['shelftalk_slates_total{scene="home"}'])
    for _ in range(10):
        assert _shelf(service).status_code == 200
    metrics = httpx.get(service.url + "/metrics").text
    lines = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert float(lines['shelftalk_slates_total{scene="home"}']) == first + 10
    name = httpx.get(service.url + "/healthz").json()["bundle"]
    label = f'shelftalk_bundle{{id="{name["id"]}",name="{name["name"]}"}}'
    assert float(lines[label]) == 2


def test_asked_to_stop_it_finishes_what_is_at_work(service: Process) -> None:
    with Shoppers(service.url) as shoppers:
        until(lambda: len(shoppers.acknowledged) > 20)
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 40
        shoppers.give_up()
    assert set(shoppers.answers) <= {"200", "broken"}
