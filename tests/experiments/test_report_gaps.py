"""Reports of runs that lack something, or hold something broken."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envs.errors import UserError
from envs.files import read_json, write_json
from experiments.report import write_report
from tests.experiments import report_run
from tests.experiments.report_page import alter, report_of, well_formed


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return report_run.write_run(tmp_path / "fixture")


def _delete(*names: str) -> Callable[[Path], None]:
    def delete(run: Path) -> None:
        for name in names:
            if name.endswith(".json"):
                (run / name).unlink()
            else:
                shutil.rmtree(run / name, ignore_errors=True)
                metrics = read_json(run / "metrics.json")
                metrics.pop(name, None)
                metrics["seconds"].pop(name, None)
                write_json(run / "metrics.json", metrics)

    return delete


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (("catalogue",), "the catalogue"),
        (("sft",), "the curve of supervised training"),
        (("ppo",), "the comparison of reasons"),
        (("rank",), "the curve of the ranker's training"),
        (("simulate",), "the comparison of policies"),
        (("ope",), "the offline evaluation"),
        (("simulate/shelves.json",), "the shelves"),
        (
            ("reasons", "export", "run.json", "ppo/samples.json", "ppo/curve.json"),
            "the curve of PPO",
        ),
    ],
)
def test_a_missing_part_is_named_in_its_place(
    run: Path, missing: tuple[str, ...], said: str | None
) -> None:
    _delete(*missing)(run)
    text = well_formed(report_of(run)).text
    if said is None:
        assert "Not run yet" not in text
        assert "The run folder holds no settings." in text
    else:
        assert f"Not run yet: {said}" in text
    assert "not shown" not in text


def test_a_run_that_has_only_begun_says_so_everywhere(tmp_path: Path) -> None:
    run = tmp_path / "begun"
    write_json(run / "metrics.json", {"seconds": {}, "warnings": []})
    counts = write_report(run, tmp_path / "report.html")
    assert counts["missing"] == 8
    text = well_formed((tmp_path / "report.html").read_text()).text
    assert "This run has not come to a result yet" in text
    assert "begun" in text
    assert "Warnings None." in text
    assert text.count("Not run yet") >= 10


def test_parts_with_missing_fields_are_shown_as_far_as_they_go(run: Path) -> None:
    metrics = {
        "catalogue": {"items": 3},
        "ppo": {"reward_after": 0.5, "held_out_gain": 0.25},
        "reasons": {"ppo": {}, "seconds": 3.0},
        "simulate": {"policies": {"similarity": {"return": {"mean": 2.0}}, "random": {}}},
        "ope": {"truth": None, "estimates": [{"estimator": "IPS", "value": None}]},
        "export": {},
    }
    write_json(run / "metrics.json", metrics)
    text = well_formed(report_of(run)).text
    assert (
        "not shown"
        not in text.replace("is not of the run's present settings", "").split("Warnings")[0]
    )
    assert "Similarity shelf 2.0" in text
    assert "Gain in the held-out shop: +0.250" in text


def test_stage_records_stand_in_for_missing_metrics(run: Path) -> None:
    (run / "metrics.json").unlink()
    text = well_formed(report_of(run)).text
    assert "The RL ranker earns 4.74 more per session" in text
    assert "ppo 121.9 s" in text


def test_a_stage_of_other_settings_is_left_out_and_named(run: Path) -> None:
    def change(metrics: dict[str, Any]) -> None:
        del metrics["ppo"], metrics["seconds"]["ppo"]

    alter(run, "metrics.json", change)
    text = well_formed(report_of(run)).text
    assert "ppo: this folder is not of the run's present settings" in text
    assert "Norvik N2 headphones" not in text
    assert "PPO reward" not in text


def test_the_reports_own_earlier_folder_is_no_problem(run: Path) -> None:
    write_json(run / "report" / "stage.json", {"status": "done"})
    write_json(run / ".sft.abcd1234" / "stage.json", {"status": "done"})
    assert write_report(run, run.parent / "report.html")["warnings"] == 1


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("simulate/shelves.json", "[{]", "simulate/shelves.json: no readable JSON"),
        ("ppo/samples.json", '[{"title": 3}]', "ppo/samples.json: 0.title: Input should be"),
        ("ppo/curve.json", '"?"', "ppo/curve.json: "),
        ("sft/stage.json", "[]", "stage.json: : Input should be"),
    ],
)
def test_a_broken_part_is_named_and_the_rest_is_shown(
    run: Path, file: str, content: str, said: str
) -> None:
    (run / file).write_text(content)
    text = well_formed(report_of(run)).text
    assert said in text.split("Warnings", 2)[-1]
    assert "The RL ranker earns 4.74 more per session" in text


def test_odd_rows_of_a_curve_are_left_out(run: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"cycle": 1, "reward": None, "note": "text"},
        {"cycle": 2, "reward": 0.5, "flag": True},
    ]
    write_json(run / "ppo" / "curve.json", rows)
    (run / "rank" / "curve.json").write_text('[{"iteration": 1, "return_topk": NaN}]')
    html = report_of(run)
    page = well_formed(html)
    assert "PPO reward, by cycles: reward goes from 0.5 to 0.5" in html
    assert "PPO note" not in page.text
    assert "PPO flag" not in page.text
    assert "NaN" not in html
    assert "nan" not in re.findall(r'points="[^"]*"', html)


def test_a_folder_without_a_run_is_one_clear_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=rf"{folder}: no run to report.*shelftalk run CONFIG"):
            write_report(folder, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
def test_broken_metrics_are_one_clear_line(run: Path, content: str) -> None:
    (run / "metrics.json").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"metrics\.json: .*run the pipeline again") as caught:
        write_report(run, run.parent / "report.html")
    assert "\n" not in str(caught.value)


# --- Numbers and charts -----------------------------------------------------------------------
