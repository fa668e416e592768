"""From what was served and clicked to a log that off-policy evaluation takes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from envs.errors import UserError
from envs.feedback import read_feedback
from experiments.ope.bundle_target import bundle_target
from policies.bundle import Explore
from policies.logging_policies import PlackettLuce
from policies.service.export import ExportOptions, export_log
from policies.service.logs import JsonLog
from policies.service.settings import ServiceSettings
from policies.service.shelves import slate_key
from tests.service.conftest import Client, running

ROOT = Path(__file__).parents[2]
_TEMPERATURE = 0.5


@dataclass
class Served:
    """A store, and what the service answered while it was filled."""

    url: str
    file: Path
    client: Client
    shelves: list[dict[str, Any]]
    #: Told of items: (slate_id, item_id) -> clicks told, purchases told, value told.
    told: dict[tuple[str, str], tuple[int, int, float]]


@pytest.fixture(scope="module")
def filled(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Sixty sessions of one to three pages under a Plackett-Luce rule, and their feedback."""
    folder = tmp_path_factory.mktemp("filled")
    file = folder / "store.db"
    settings = ServiceSettings(
        bundle=bundle_path, store=f"sqlite:///{file}", explore=f"plackett_luce:{_TEMPERATURE}"
    )
    rng = np.random.default_rng(7)
    with running(settings, folder, JsonLog(b"secret")) as client:
        served = Served(settings.store, file, client, [], {})
        for visit in range(60):
            pages: list[dict[str, Any]] = []
            session: dict[str, Any] = {}
            for step in range(int(rng.integers(1, 4))):
                asked: dict[str, Any] = {"shopper": f"s{visit:02d}"} if visit % 5 else {}
                if step and visit % 3 == 0:
                    asked["item"] = pages[-1]["shown"][0]
                elif visit % 4 == 0:
                    asked["query"] = "headphones"
                shelf = client.shelf(**asked, session=session | {"pages": pages})
                served.shelves.append(shelf)
                assert shelf["step"] == step
                session = {"session_id": shelf["session_id"]}
                shown = [item["item_id"] for item in shelf["items"]]
                clicked = [item for item in shown if rng.random() < 0.3]
                bought = [item for item in clicked if rng.random() < 0.5]
                pages.append({"shown": shown, "clicked": clicked, "bought": bought})
                for item in clicked:
                    _tell(served, shelf, item, "click")
                for item in bought:
                    _tell(served, shelf, item, "purchase", value=1.5)
        yield served


def _tell(served: Served, shelf: dict[str, Any], item: str, kind: str, **more: Any) -> None:
    event = {
        "event_id": f"{shelf['slate_id']}-{item}-{kind}", "slate_id": shelf["slate_id"],
        "item_id": item, "type": kind, **more,
    }  # fmt: skip
    assert served.client.feedback(event, event).json() == {"stored": 1, "duplicates": 1}
    clicks, buys, value = served.told.get((shelf["slate_id"], item), (0, 0, 0.0))
    if kind == "click":
        clicks += 1
    else:
        buys, value = buys + 1, value + more["value"]
    served.told[shelf["slate_id"], item] = (clicks, buys, value)


@pytest.fixture(scope="module")
def log(filled: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "log"
    counts = export_log(filled.url, out, ExportOptions())
    assert counts["slates"] == len(filled.shelves)
    assert counts["sessions"] == 60
    return out


def test_every_shown_item_is_a_row_with_what_was_told_of_it(filled: Served, log: Path) -> None:
    frame = read_feedback(log).set_index(["slate_id", "position"])
    assert len(frame) == sum(len(shelf["items"]) for shelf in filled.shelves)
    for shelf in filled.shelves:
        for item in shelf["items"]:
            row = frame.loc[(shelf["slate_id"], item["position"])]
            told = filled.told.get((shelf["slate_id"], item["item_id"]), (0, 0, 0.0))
            assert row["item_id"] == item["item_id"]
            assert row["reason_id"] == item["reason_id"] or pd.isna(row["reason_id"])
            assert (row["click"], row["purchase"]) == (min(told[0], 1), min(told[1], 1))
            assert row["reward"] == pytest.approx(0.2 * row["click"] + told[2])


def test_sessions_are_numbered_and_end_once(filled: Served, log: Path) -> None:
    frame = read_feedback(log)
    slates = frame[frame["position"] == 0].sort_values(["session_id", "step"])
    for _, session in slates.groupby("session_id"):
        assert session["step"].tolist() == list(range(len(session)))
        assert session["done"].tolist() == [False] * (len(session) - 1) + [True]
    scenes = frame.drop_duplicates("slate_id").set_index("slate_id")["scene"]
    assert scenes.to_dict() == {s["slate_id"]: s["scene"] for s in filled.shelves}
    assert set(scenes) == {"home", "similar", "search"}


def test_a_slate_and_its_propensities_follow_from_its_id(filled: Served, log: Path) -> None:
    frame = read_feedback(log)
    bundle = filled.client.service.room.served.bundle
    checked = 0
    for shelf in filled.shelves:
        if shelf["step"] or shelf["scene"] != "home":
            continue
        rule = Explore(PlackettLuce(_TEMPERATURE), slate_key(shelf["slate_id"]))
        again = bundle.recommend(shelf["shopper"], explore=rule)
        rows = frame[frame["slate_id"] == shelf["slate_id"]].sort_values("position")
        assert [item.item_id for item in again.items] == rows["item_id"].tolist()
        for name in ("pscore", "pscore_cascade", "pscore_item_position"):
            assert [getattr(item, name) for item in again.items] == rows[name].tolist()
        assert rows["candidates"].iloc[0].tolist() == again.candidates
        checked += 1
    assert checked > 20


def test_a_bundle_finds_its_own_propensities_in_the_log(filled: Served, log: Path) -> None:
    # In every scene and on every page of a visit.
    frame = read_feedback(log)
    bundle = filled.client.service.room.served.bundle
    target = bundle_target(frame, bundle, PlackettLuce(_TEMPERATURE))
    for name in ("pscore", "pscore_cascade", "pscore_item_position"):
        np.testing.assert_allclose(target[f"eval_{name}"], frame[name], rtol=1e-4)


def test_off_policy_evaluation_takes_the_log_with_a_bundle_as_target(
    log: Path, bundle_path: Path
) -> None:
    command = ["ope", str(log), "--target", str(bundle_path), "--temperature", str(_TEMPERATURE)]
    ended = subprocess.run(
        [sys.executable, "-m", "experiments", *command, "--estimators", "IPS,SNIPS,RIPS",
         "--quiet", "--json", "-"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    slates = read_feedback(log)["slate_id"].nunique()
    for estimate in json.loads(ended.stdout):
        assert estimate["n"] == slates
        assert estimate["low"] < estimate["value"] < estimate["high"]


def test_a_stretch_of_time_and_names_for_shoppers(filled: Served, tmp_path: Path) -> None:
    frame = pd.DataFrame(filled.shelves)
    middle = pd.Timestamp(sorted(frame["shown_at"])[len(frame) // 2]).timestamp()
    early = export_log(filled.url, tmp_path / "a", ExportOptions(until=middle))
    late = export_log(filled.url, tmp_path / "b", ExportOptions(since=middle))
    assert early["slates"] + late["slates"] == len(frame)
    assert (
        early["slates"]
        == (frame["shown_at"].map(lambda t: pd.Timestamp(t).timestamp()) < middle).sum()
    )
    export_log(filled.url, tmp_path / "c", ExportOptions(hash_key=b"k"))
    export_log(filled.url, tmp_path / "d", ExportOptions())
    hashed, plain = read_feedback(tmp_path / "c"), read_feedback(tmp_path / "d")
    pairs = set(zip(plain["shopper_id"].fillna(""), hashed["shopper_id"].fillna("")))
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    assert not {a for a, _ in pairs if a} & {b for _, b in pairs if b}


def test_a_purchase_that_names_no_value_is_worth_the_item_s_own_margin(
    bundle_path: Path, tmp_path: Path
) -> None:
    settings = ServiceSettings(bundle=bundle_path, store=f"sqlite:///{tmp_path}/s.db")
    with running(settings, tmp_path, JsonLog(b"secret")) as client:
        shelf = client.shelf()
        served = Served(settings.store, tmp_path / "s.db", client, [shelf], {})
        item = shelf["items"][1]["item_id"]
        event = {
            "event_id": "e", "slate_id": shelf["slate_id"], "item_id": item, "type": "purchase"
        }  # fmt: skip
        assert client.feedback(event).status_code == 200
        counts = export_log(served.url, tmp_path / "log", ExportOptions(w_click=0.5, w_buy=2))
        table = client.service.room.served.bundle.catalogue.items
    margin = table.set_index("item_id")["margin"]
    # Who bought has clicked.
    assert (counts["clicks"], counts["purchases"]) == (1, 1)
    assert counts["reward"] == pytest.approx(0.5 + 2 * margin[item] / margin.median())


def test_what_cannot_be_exported_is_one_line(filled: Served, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        export_log("sqlite:////nowhere/store.db", tmp_path / "log", ExportOptions())
    with pytest.raises(UserError, match="no item was shown in that time"):
        export_log(filled.url, tmp_path / "log", ExportOptions(since=4e9))
    assert not (tmp_path / "log").exists()
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "mine").write_text("x")
    with pytest.raises(UserError, match="exists already"):
        export_log(filled.url, tmp_path / "log", ExportOptions())
    (tmp_path / "other.db").write_bytes(b"")
    with pytest.raises(UserError, match="holds no store"):
        export_log(f"sqlite:///{tmp_path}/other.db", tmp_path / "new", ExportOptions())
