"""`shelftalk ope`, `score`, `sft --inspect` and `simulate --log` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from envs.errors import UserError
from envs.feedback import read_feedback
from experiments.benchmarks.ope import made_up_log
from experiments.cli import cli

DEMO = Path(__file__).parents[2] / "experiments" / "configs" / "mini.yaml"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with two targets: ``eval`` and one that is the logging policy itself."""
    frame = made_up_log(2_000)
    for name in ("pscore", "pscore_cascade", "pscore_item_position"):
        frame[f"same_{name}"] = frame[name]
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    frame.to_parquet(path)
    return path


def result_of(*arguments: object) -> object:
    outcome = CliRunner().invoke(cli, [*map(str, arguments), "--json", "-"])
    assert outcome.exit_code == 0, (outcome.output, outcome.exception)
    return json.loads(outcome.stdout)


def refusal_of(*arguments: object) -> str:
    outcome = CliRunner().invoke(cli, list(map(str, arguments)))
    assert isinstance(outcome.exception, UserError), outcome.output
    return str(outcome.exception)


def test_a_target_that_is_the_logging_policy_is_worth_what_was_logged(log: Path) -> None:
    found = result_of("ope", log, "--targets", "same,eval")
    assert isinstance(found, dict)
    values = {one["target"]: one["value"] for one in found["policies"]}
    assert values["same"] == pytest.approx(values["logged"])
    pair = next(p for p in found["pairs"] if {p["a"], p["b"]} == {"same", "logged"})
    assert pair["value"] == pytest.approx(0, abs=1e-12)


def test_chunks_give_the_same_values_as_the_whole_log(log: Path) -> None:
    asked = ("ope", log, "--target-columns", "--estimators", "RIPS,SNSIPS,CascadeDR")
    whole, parts = result_of(*asked), result_of(*asked, "--chunk", 700)
    assert isinstance(whole, list)
    assert isinstance(parts, list)
    for one, other in zip(whole, parts, strict=True):
        assert other["value"] == pytest.approx(one["value"], rel=1e-9)


def test_clipping_asks_for_the_clipped_estimator(log: Path) -> None:
    found = result_of("ope", log, "--target-columns", "--estimators", "SIPS", "--clip", "3")
    assert isinstance(found, list)
    assert [one["estimator"] for one in found] == ["ClippedIPS@3"]


def test_a_forest_is_drawn(log: Path, tmp_path: Path) -> None:
    result_of("ope", log, "--targets", "eval,same", "--forest", tmp_path / "forest.svg")
    assert (tmp_path / "forest.svg").read_text().lstrip().startswith("<?xml")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "say where the target policy is"),
        (("--target-columns", "--targets", "eval"), "say where the target policy is, once"),
        (("--target-columns", "--interval", "boostrap"), "Did you mean 'bootstrap'"),
        (("--targets", "evil"), "evil_pscore"),
        (("--target-columns", "--model-columns", "q"), "name two columns"),
        (("--targets", "eval", "--estimators", "RIPS,SIPS"), "name one"),
        (("--targets", "eval", "--interval", "bca"), "leave --interval out"),
        (("--target-columns", "--truth", "RUN"), "--truth: goes with --target alone"),
        (("--target-columns", "--forest", "x.svg"), "--forest: goes with --targets alone"),
        (("--targets", "eval", "--chunk", "9"), "--chunk: goes with --target-columns alone"),
    ],
)
def test_mistakes_are_named(log: Path, options: tuple[str, ...], said: str) -> None:
    assert said in refusal_of("ope", log, *options)


def test_a_log_is_written_and_continued(tmp_path: Path) -> None:
    asked = (
        "simulate", DEMO, "--policies", "popularity", "--log", tmp_path / "log",
        "--logging", "epsilon", "--quiet",
    )  # fmt: skip
    first = result_of(*asked, "--impressions", 60)
    more = result_of(*asked, "--impressions", 200)
    assert isinstance(first, dict)
    assert isinstance(more, dict)
    assert 60 <= first["impressions"] < 200 <= more["impressions"]
    frame = read_feedback(tmp_path / "log")
    assert len(frame) == more["impressions"]
    assert set(frame["logging_policy"]) == {more["logging_policy"]}
    assert "popularity" in more["logging_policy"]


def test_a_table_is_imported_and_evaluated(tmp_path: Path) -> None:
    """Weights 0.4/0.8 and 0.6/0.2: (3 * 0.5 * 1 + 1 * 3 * 0) / 4, one bad row left out."""
    rows = pd.DataFrame(
        {
            "action": ["a", "a", "a", "b", "b"], "click": [1, 1, 1, 0, 1],
            "chance": [0.8, 0.8, 0.8, 0.2, 0.0], "wanted": [0.4, 0.4, 0.4, 0.6, 0.6],
        }
    )  # fmt: skip
    rows.to_csv(tmp_path / "log.csv", index=False)
    columns = ("item_id=action", "pscore=chance", "eval_pscore=wanted")
    named = [part for column in columns for part in ("--map", column)]
    asked = ("import", "table", tmp_path / "log.csv", tmp_path / "out", *named, "--quiet")
    assert "row 4" in refusal_of(*asked)
    assert not (tmp_path / "out").exists()
    counts = result_of(*asked, "--drop")
    assert isinstance(counts, dict)
    assert counts["dropped"] == {"pscore is no probability in (0, 1]": 1}
    found = result_of("ope", tmp_path / "out", "--target-columns", "--estimators", "IPS")
    assert isinstance(found, list)
    assert found[0]["value"] == pytest.approx(1.5 / 4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("table", "--limit", "3"), "--limit: is for import icecat, not for table"),
        (("icecat", "--drop"), "--drop: is for import open_bandit and table, not for icecat"),
        (("open_bandit", "--map", "item_id=a"), "--map: is for import table, not for open_bandit"),
        (("table", "--target", "uniform"), "--target: is for import open_bandit"),
    ],
)
def test_options_of_another_kind_of_source_are_refused(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    kind, *options = arguments
    assert said in refusal_of("import", kind, tmp_path, tmp_path / "out", *options)


def test_the_corpus_can_be_looked_at_before_training() -> None:
    found = result_of("sft", DEMO, "--inspect", "--quiet")
    assert isinstance(found, dict)
    assert len(found["examples"]) == 10
    assert found["tokens"]["too_long"] == 0


def test_texts_are_scored_beside_their_floors(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    rows = [{"text": f"It has {n} ports.", "reference": f"It has {n} ports."} for n in range(30)]
    pd.DataFrame(rows).to_json(path, orient="records", lines=True)
    found = result_of("score", path, "--metrics", "overlap", "--quiet")
    assert isinstance(found, dict)
    bleu = found["metrics"]["bleu"]
    assert bleu["value"] == pytest.approx(100)
    assert bleu["floors"]["fixed"] < bleu["value"]
