"""The commands of the service: what is wrong is one line, before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envs.feedback import read_feedback
from experiments.cli import cli
from experiments.console import run_cli
from policies.service.keys import find_key, read_keys
from policies.service.logs import JsonLog
from policies.service.settings import ServiceSettings
from tests.service.conftest import running


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        run_cli(cli, list(arguments))
    code = ended.value.code
    assert isinstance(code, int)
    return code


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--host", "0.0.0.0"], "binds to a loopback address only"),
        (["--store", "mysql://somewhere"], "not 'mysql'"),
        (["--store", "what is this"], "--store: must be a URL such as"),
        (["--store", "sqlite://"], "a file of SQLite"),
        (["--keys", "no-such-file"], "--keys no-such-file: cannot be read"),
        (["--port", "70000"], "--port"),
        (["--workers", "0"], "--workers"),
        (["--timeout", "0"], "--timeout"),
    ],
)
def test_settings_that_cannot_be_carried_out(
    bundle_path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], options: list[str],
    told: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert _run("serve", str(bundle_path), *options) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert told in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_no_bundle_is_found_before_a_store_is_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run("serve", "nowhere") == 2
    assert "nowhere: it has no manifest.json" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.faults
def test_what_the_workers_find_is_one_line_too(
    bundle_path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = f"sqlite:///{tmp_path}/store.db"
    assert _run("serve", str(bundle_path), "--store", store, "--explore", "greedy:1") == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("{")]
    assert lines == [
        "shelftalk: --explore greedy:1: must be plackett_luce:TEMPERATURE, epsilon:CHANCE or "
        "explore:CHANCE, for example plackett_luce:0.25"
    ]


def test_a_new_key_opens_what_its_line_says(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _run("service-key", "shop.backend", "--admin") == 0
    key, line = capfd.readouterr().out.splitlines()
    (tmp_path / "keys").write_text(line + "\n")
    found = find_key(read_keys(tmp_path / "keys", None), key)
    assert found is not None
    assert (found.name, found.role) == ("shop.backend", "admin")
    assert _run("service-key", "no spaces") == 2
    assert "a name has 1 to 64 letters" in capfd.readouterr().err


def test_feedback_export_writes_a_log(
    bundle_path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store.db"
    settings = ServiceSettings(bundle=bundle_path, store=f"sqlite:///{store}")
    with running(settings, tmp_path, JsonLog(b"secret")) as client:
        shelf = client.shelf(shopper="s01")
    capfd.readouterr()
    out = tmp_path / "log"
    assert _run("feedback", "export", str(store), str(out), "--json", "-", "--quiet") == 0
    counts = json.loads(capfd.readouterr().out)
    assert (counts["slates"], counts["impressions"]) == (1, len(shelf["items"]))
    assert set(read_feedback(out)["shopper_id"]) == {"s01"}
    assert _run("feedback", "export", str(store), str(out), "--quiet") == 2
    assert "exists already" in capfd.readouterr().err
    later = tmp_path / "later"
    assert _run("feedback", "export", str(store), str(later), "--since", "2999-01-01") == 2
    assert "no item was shown in that time" in capfd.readouterr().err
    assert _run("feedback", "export", str(store), str(later), "--since", "lately") == 2
    assert "--since lately: must be an ISO time" in capfd.readouterr().err
    assert not later.exists()
