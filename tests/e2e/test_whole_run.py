"""The whole pipeline at a miniature scale, through the command line, as a user would run it."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from envs.files import read_json
from policies.bundle import load_bundle

ROOT = Path(__file__).parents[2]
MINI = ROOT / "experiments" / "configs" / "mini.yaml"
STAGES = (
    "catalogue",
    "similarity",
    "sft",
    "ppo",
    "reasons",
    "rank",
    "simulate",
    "search",
    "ope",
    "export",
)


def shelftalk(*arguments: object, timeout: int = 600) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout)


def one_clear_line(result: subprocess.CompletedProcess[str]) -> str:
    """Assert that a command refused its input as users should see it; return the line."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "mini"
    result = shelftalk("run", MINI, "--out", folder, "--quiet")
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def metrics(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(run / "metrics.json")
    return found


def test_every_stage_leaves_its_record(run: Path, metrics: dict[str, Any]) -> None:
    for stage in STAGES:
        record = read_json(run / stage / "stage.json")
        assert record["status"] == "done"
        assert metrics["seconds"][stage] > 0
        assert {"inputs_hash", "seed", "versions"} <= record.keys()


def test_metrics_hold_what_the_contract_names(metrics: dict[str, Any]) -> None:
    ppo = metrics["ppo"]
    for name in ("reward", "claim_precision", "distinct2"):
        assert math.isfinite(ppo[f"{name}_before"])
        assert math.isfinite(ppo[f"{name}_after"])
    assert ppo["gain"]["low"] <= ppo["gain"]["mean"] <= ppo["gain"]["high"]
    assert ppo["gain"]["mean"] == pytest.approx(
        ppo["reward_after"] - ppo["reward_before"], abs=1e-6
    )
    assert math.isfinite(ppo["kl"])
    for name in ("random", "popularity", "similarity", "ranker", "oracle", "ranker+sft"):
        for metric in ("return", "ctr", "purchases", "session_length"):
            figure = metrics["simulate"]["policies"][name][metric]
            assert figure["low"] <= figure["mean"] <= figure["high"]
    assert {"a", "b", "metric", "diff", "low", "high"} <= metrics["simulate"]["paired"][0].keys()
    assert math.isfinite(metrics["ope"]["truth"])
    names = {estimate["estimator"] for estimate in metrics["ope"]["estimates"]}
    assert {"SNIPS", "RIPS", "DM", "DR"} <= names
    assert metrics["export"]["bundle"] == "export/bundle"


def test_paired_differences_are_differences_of_the_policies(metrics: dict[str, Any]) -> None:
    policies = metrics["simulate"]["policies"]
    for pair in metrics["simulate"]["paired"]:
        means = [policies[pair[side]][pair["metric"]]["mean"] for side in ("a", "b")]
        assert pair["diff"] == pytest.approx(means[0] - means[1], abs=1e-9)


def test_a_second_run_keeps_everything(run: Path, metrics: dict[str, Any]) -> None:
    stamps = {stage: (run / stage / "stage.json").read_text() for stage in STAGES}
    result = shelftalk("run", MINI, "--out", run)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("finished before, kept") == len(STAGES) + 1
    assert stamps == {stage: (run / stage / "stage.json").read_text() for stage in STAGES}
    assert read_json(run / "metrics.json") == metrics


def test_the_report_is_one_page(run: Path) -> None:
    page = (run / "report" / "report.html").read_text(encoding="utf-8")
    assert "mini" in page
    assert 'src="http' not in page


def test_the_exported_bundle_recommends_without_ray_or_trl(run: Path) -> None:
    bundle = run / "export" / "bundle"
    code = (
        "import sys; from pathlib import Path; from policies.bundle import load_bundle;"
        f"shelf = load_bundle(Path({str(bundle)!r})).recommend('s00', k=3);"
        "assert len(shelf.items) == 3 and all(item.reason for item in shelf.items);"
        "assert not {'ray', 'trl'} & set(sys.modules), 'heavy'"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_recommend_prints_a_shelf_and_json(run: Path) -> None:
    bundle = run / "export" / "bundle"
    result = shelftalk("recommend", bundle, "--query", "quiet kettle", "-k", 2, "--json", "-")
    assert result.returncode == 0, result.stderr
    assert len(json.loads(result.stdout)["items"]) == 2


def test_a_changed_byte_in_a_bundle_is_found(run: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(run / "export" / "bundle", bundle)
    assert shelftalk("check", bundle).returncode == 0
    weights = next(bundle.glob("ranker/*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    for command in (("check", bundle), ("recommend", bundle, "--shopper", "s00")):
        assert weights.name in one_clear_line(shelftalk(*command))


def test_the_log_of_the_run_is_evaluated_by_the_command(run: Path, metrics: dict[str, Any]) -> None:
    log = run / "ope" / "log.parquet"
    result = shelftalk("ope", log, "--target-columns", "--estimators", "SNIPS,DR", "--json", "-")
    assert result.returncode == 0, result.stderr
    found = {row["estimator"]: row["value"] for row in json.loads(result.stdout)}
    known = {row["estimator"]: row["value"] for row in metrics["ope"]["estimates"]}
    assert found["SNIPS"] == pytest.approx(known["SNIPS"])
    assert found["DR"] == pytest.approx(known["DR"])


def test_policies_of_a_run_can_be_compared_again(run: Path) -> None:
    result = shelftalk(
        "simulate", run, "--policies", "similarity,ranker", "--sessions", 50, "--json", "-"
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert set(found["policies"]) == {"similarity", "ranker"}
    assert "rankr" in one_clear_line(shelftalk("simulate", run, "--policies", "rankr"))


def test_export_again_equals_the_runs_own_bundle(run: Path, tmp_path: Path) -> None:
    result = shelftalk("export", run, tmp_path / "again")
    assert result.returncode == 0, result.stderr
    ours, theirs = (
        read_json(folder / "manifest.json")["files"]
        for folder in (run / "export" / "bundle", tmp_path / "again")
    )
    assert ours["reasons.parquet"] == theirs["reasons.parquet"]


def test_smaller_forms_are_exported_with_what_they_cost(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    result = shelftalk(
        "export", run, out, "--ranker", "linear", "--reasoner", "int8", "--json", "-", "--quiet"
    )
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["forms"] == {"ranker": "linear", "reasoner": "int8"}
    assert told["measured"]["ranker"]["return_difference"].keys() == {"mean", "low", "high"}
    assert told["measured"]["reasoner"]["bytes"] < told["measured"]["reasoner"]["bytes_full"] / 2
    manifest = read_json(out / "manifest.json")
    assert manifest["measured"] == told["measured"]
    assert manifest["source"]["seed"] == read_json(run / "run.json")["config"]["seed"]
    checked = shelftalk("check", out)
    assert checked.returncode == 0, checked.stderr
    assert "the self-test's 10 answers are the same" in checked.stdout


def test_the_loop_goes_around_once(run: Path, tmp_path: Path) -> None:
    """Serve, visit over HTTP, export, evaluate, retrain, check, reload, visit again."""
    out, told = tmp_path / "loop", tmp_path / "loop.json"
    command = (
        "loop", run, "--out", out, "--sessions", 300, "--later", 60, "--simulated", 100,
        "--json", told,
    )  # fmt: skip
    result = shelftalk(*command)
    assert result.returncode == 0, result.stderr
    found = read_json(told)
    # Every request was answered, those during the change of bundle too.
    assert {name.split()[-1] for name in found["http"]["answers"]} == {"200"}
    assert found["http"]["answers"]["POST /v1/reload 200"] == 1
    assert [side["shoppers"] for side in found["visits"].values()] == [300, 60]
    shelves = sum(side["pages"] for side in found["visits"].values())
    assert found["http"]["answers"]["POST /v1/shelf 200"] == shelves
    assert found["log"]["slates"] == found["visits"]["before"]["pages"]
    learned = found["retrain"]
    assert learned["learned_from"] + learned["held_out"] == found["log"]["sessions"]
    assert learned["dropped"] == {}
    assert learned["bundle"] == load_bundle(out / "after").id != load_bundle(out / "before").id
    assert {"before", "after"} == found["truth"].keys() == found["simulated"]["policies"].keys()
    assert shelftalk("check", out / "after").returncode == 0
    assert "true value of after" in result.stdout
    assert "exists and is not empty" in one_clear_line(shelftalk(*command))


def test_users_mistakes_get_one_line(tmp_path: Path) -> None:
    config = tmp_path / "wrong.yaml"
    config.write_text("name: x\nshop: {slotz: 3}\n")
    line = one_clear_line(shelftalk("run", config))
    assert "slotz" in line
    assert "slots" in line
    missing = one_clear_line(shelftalk("run", ROOT / "experiments" / "configs" / "demos.yaml"))
    assert "demo.yaml" in missing
    config.write_text("name: x\ncatalogue: {kind: folder, path: nowhere}\n")
    assert "nowhere" in one_clear_line(shelftalk("run", config, "--out", tmp_path / "out"))
    assert "unknown key" in one_clear_line(shelftalk("run", MINI, "--set", "a.b=1"))
