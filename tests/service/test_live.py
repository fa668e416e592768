"""Live reasons in the service: shelves come in time, and nothing else waits for the model."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from policies.bundle_live import OUTCOMES, LiveReasons
from policies.service import metrics
from policies.service.logs import JsonLog
from policies.service.settings import ServiceSettings
from tests.policies.bundle_at_hand import Made, make_bundle, make_reasoner, without_reasons
from tests.service.conftest import Client, running

_LONG = 60.0


@pytest.fixture(scope="module")
def lacking(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Path]:
    """A bundle with a language model, and the same whose book lacks every second item."""
    folder = tmp_path_factory.mktemp("lacking")
    made = make_bundle(folder / "whole", make_reasoner(folder / "reasoner"))
    missing = set(made.shop.visitors.catalogue.items["item_id"][::2])
    return made, without_reasons(made.path, folder / "cut", missing)


@pytest.fixture
def client(lacking: tuple[Made, Path], tmp_path: Path) -> Iterator[Client]:
    """A service that writes live, within a tenth of a second."""
    settings = ServiceSettings(
        bundle=lacking[1], store=f"sqlite:///{tmp_path}/store.db", live=True, live_deadline=0.1
    )
    with running(settings, tmp_path, JsonLog(b"secret")) as made:
        yield made


def _outcomes() -> dict[str, float]:
    found = [sample for metric in metrics.LIVE.collect() for sample in metric.samples]
    return {one.labels["outcome"]: one.value for one in found if one.name.endswith("_total")}


def test_it_says_how_much_there_is_to_write(lacking: tuple[Made, Path], tmp_path: Path) -> None:
    """Who tries live reasons on a whole book would else wait for what never comes."""
    for path, count in ((lacking[0].path, 1), (lacking[1], 40)):
        said = StringIO()
        settings = ServiceSettings(bundle=path, store=f"sqlite:///{tmp_path}/store.db", live=True)
        with running(settings, tmp_path, JsonLog(b"secret", said)):
            told = [json.loads(line) for line in said.getvalue().splitlines()]
        (one,) = [line for line in told if line["event"] == "live_reasons"]
        assert (one["items"], one["lacking"]) == (80, count)
    assert set(_outcomes()) == set(OUTCOMES)


def test_while_the_model_is_stuck_shelves_and_all_else_are_answered(client: Client) -> None:
    room = client.service.room
    assert not room.served.quick, "no shelf may wait on the event loop"
    stuck = threading.Event()

    def write(prompts: list[str]) -> list[str]:
        stuck.wait(_LONG)
        return ["Made for every day."] * len(prompts)

    served, old = room.served, room.served.bundle
    live = LiveReasons(write, old.catalogue, old.profiles, 0.1)
    assert old.live is not None
    live.tell = old.live.tell
    room.change(replace(served, bundle=replace(old, live=live)))
    before, began = _outcomes(), time.monotonic()
    asked = [("POST", "/v1/shelf", {"json": {"shopper": f"s{n:02d}"}}) for n in range(8)]
    answers = client.ask_all([*asked, ("GET", "/healthz", {})])
    took = time.monotonic() - began
    assert {one.status_code for one in answers} == {200}
    assert took < _LONG / 2, "nobody waited for the model"
    sources = {i["reason_source"] for one in answers[:8] for i in one.json()["items"]}
    assert "fallback" in sources
    assert sources <= {"fallback", "model"}
    shelf = answers[0].json()
    event = {
        "event_id": "e1", "slate_id": shelf["slate_id"],
        "item_id": shelf["items"][0]["item_id"], "type": "click",
    }  # fmt: skip
    assert client.feedback(event).json() == {"stored": 1, "duplicates": 0}
    assert _outcomes()["late"] > before.get("late", 0)
    stuck.set()
    ends = time.monotonic() + _LONG
    while time.monotonic() < ends:
        sources = {one["reason_source"] for one in client.shelf(shopper="s00")["items"]}
        if "live" in sources:
            break
    assert "live" in sources, "what was late is there for whoever asks next"
    assert _outcomes()["hit"] > before.get("hit", 0)
    assert 'shelftalk_live_reasons_total{outcome="late"}' in client.ask("GET", "/metrics").text


def test_a_change_of_bundle_lets_the_old_model_go(
    client: Client, lacking: tuple[Made, Path]
) -> None:
    room = client.service.room
    old = room.served.bundle.live
    assert old is not None
    client.shelf(shopper="s01")
    answer = client.ask("POST", "/v1/reload", json={"path": str(lacking[0].path)})
    assert answer.status_code == 200, answer.text
    room._slow.shutdown(wait=True)
    assert old._thread is None or not old._thread.is_alive()
    new = room.served.bundle.live
    assert new is not None
    assert new is not old
