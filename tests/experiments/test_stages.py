"""What a run folder promises: nothing half-written, run twice or lost that is the user's."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import Field

from envs.errors import UserError
from envs.files import read_json
from envs.settings import Settings
from experiments.console import Console
from experiments.run_folder import read_run
from experiments.stages import Stage, StageContext, run_stages, stage_seed


class Shop(Settings):
    items: int = 3


class Train(Settings):
    steps: int = 4


class Config(Settings):
    name: str = "demo"
    seed: int = 7
    shop: Shop = Field(default_factory=Shop)
    train: Train = Field(default_factory=Train)
    source: str = ""


class Pipeline:
    """shop -> train -> report, and beside them a free stage; counts how often each one ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran: list[str] = []
        self.console = Console(stream=StringIO())
        self.stages = [
            Stage("shop", self._shop, sections=("shop",), files=self._files),
            Stage("train", self._train, sections=("train",), needs=("shop",)),
            Stage("report", self._report, needs=("train",)),
            Stage("free", self._free),
        ]
        self.in_train: Callable[[StageContext], None] = lambda context: None

    def run(self, only: str | None = None, fresh: bool = False, **settings: Any) -> dict[str, Any]:
        config = Config(**settings)
        return run_stages(self.stages, config, self.folder, only, fresh, console=self.console)

    def ran_again(self) -> list[str]:
        """Return what ran since the last call."""
        ran, self.ran = self.ran, []
        return ran

    @staticmethod
    def _files(config: Config) -> list[Path]:
        return [Path(config.source)] if config.source else []

    def _shop(self, context: StageContext) -> dict[str, Any]:
        self.ran.append("shop")
        rng = np.random.default_rng(context.seed)
        prices = rng.random(context.config.shop.items)
        np.savetxt(context.out / "prices.txt", prices)
        context.warn("prices are made up")
        return {"items": np.int64(len(prices)), "mean": prices.mean(), "none": float("nan")}

    def _train(self, context: StageContext) -> dict[str, Any]:
        self.ran.append("train")
        self.in_train(context)
        prices = np.loadtxt(context.inputs["shop"] / "prices.txt", ndmin=1)
        for step in range(context.config.train.steps):
            context.progress(step + 1, context.config.train.steps, {"loss": 0.5})
        return {"total": float(prices.sum()) * context.config.train.steps}

    def _report(self, context: StageContext) -> dict[str, Any]:
        self.ran.append("report")
        total = context.metrics_of("train")["total"]
        (context.out / "report.html").write_text(f"<p>{total}</p>")
        return {}

    def _free(self, context: StageContext) -> dict[str, Any]:
        self.ran.append("free")
        return {"seed": context.seed}


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path / "runs" / "demo")


def _figures(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if name != "seconds"}


def test_a_run_writes_results_records_and_figures(pipeline: Pipeline) -> None:
    metrics = pipeline.run()
    assert pipeline.ran == ["shop", "train", "report", "free"]
    assert metrics["train"]["total"] == pytest.approx(metrics["shop"]["mean"] * 3 * 4)
    assert metrics["shop"]["items"] == 3
    assert metrics["shop"]["none"] is None
    assert metrics["warnings"] == ["shop: prices are made up"]
    assert set(metrics["seconds"]) == {"shop", "train", "report", "free"}
    assert read_json(pipeline.folder / "metrics.json") == metrics
    record = read_json(pipeline.folder / "shop" / "stage.json")
    assert record["status"] == "done"
    assert record["seed"] == stage_seed(7, "shop")
    assert record["versions"]["numpy"] == np.__version__
    assert list(record["files"]) == ["prices.txt"]
    assert read_run(pipeline.folder)["config"]["train"] == {"steps": 4}


def test_seeds_differ_between_stages_and_runs_and_fit_every_library() -> None:
    seeds = {stage_seed(run, name) for run in range(50) for name in ("shop", "train")}
    assert len(seeds) == 100
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_a_second_run_runs_nothing_and_ends_in_the_same_figures(pipeline: Pipeline) -> None:
    first = pipeline.run()
    pipeline.ran_again()
    (pipeline.folder / "metrics.json").unlink()
    assert pipeline.run() == first
    assert pipeline.ran_again() == []
    assert read_json(pipeline.folder / "metrics.json") == first


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"shop": Shop(items=5)}, ["shop", "train", "report"]),
        ({"train": Train(steps=2)}, ["train", "report"]),
        ({"seed": 8}, ["shop", "train", "report", "free"]),
        ({"name": "other"}, []),
    ],
)
def test_a_change_runs_what_reads_it_and_all_downstream(
    pipeline: Pipeline, change: dict[str, Any], expected: list[str]
) -> None:
    pipeline.run()
    pipeline.ran_again()
    changed = pipeline.run(**change)
    assert pipeline.ran_again() == expected
    anew = Pipeline(pipeline.folder.with_name("anew"))
    assert _figures(anew.run(**change)) == _figures(changed)


def test_a_change_in_an_outside_file_or_folder_is_seen(pipeline: Pipeline, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "items.tsv").write_text("a")
    pipeline.run(source=str(source))
    pipeline.ran_again()
    pipeline.run(source=str(source))
    assert pipeline.ran_again() == []
    (source / "deep" / "items.tsv").write_text("b")
    pipeline.run(source=str(source))
    assert pipeline.ran_again() == ["shop", "train", "report"]


def test_a_missing_outside_file_stops_before_anything_runs(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    (tmp_path / "items.tsv").write_text("")
    with pytest.raises(UserError, match=r"itms\.tsv: no such file.*Did you mean 'items\.tsv'\?"):
        pipeline.run(source=str(tmp_path / "itms.tsv"))
    assert pipeline.ran == []
    assert not pipeline.folder.exists()


@pytest.mark.parametrize("damage", ["edit", "remove", "break the record"])
def test_a_damaged_result_is_made_again(pipeline: Pipeline, damage: str) -> None:
    first = pipeline.run()
    pipeline.ran_again()
    result = pipeline.folder / "shop" / "prices.txt"
    if damage == "edit":
        result.write_bytes(result.read_bytes().replace(b"e", b"f", 1))
    elif damage == "remove":
        result.unlink()
    else:
        (pipeline.folder / "shop" / "stage.json").write_text("{")
    assert _figures(pipeline.run()) == _figures(first)
    assert pipeline.ran_again() == ["shop"]


# --- only, fresh --------------------------------------------------------------------------------


def test_only_runs_one_stage_again_and_drops_figures_that_are_out_of_date(
    pipeline: Pipeline,
) -> None:
    first = pipeline.run()
    pipeline.ran_again()
    assert _figures(pipeline.run(only="train")) == _figures(first)
    assert pipeline.ran_again() == ["train"]
    changed = pipeline.run(only="train", train=Train(steps=8))
    assert pipeline.ran_again() == ["train"]
    assert changed["train"]["total"] == pytest.approx(2 * first["train"]["total"])
    assert "report" not in changed
    assert "out of date now: report" in pipeline.console.stream.getvalue()  # type: ignore[attr-defined]


def test_only_without_its_inputs_names_the_missing_stage_and_the_command(
    pipeline: Pipeline,
) -> None:
    with pytest.raises(UserError, match=r"--only train: its input 'shop' .* missing.*--only shop"):
        pipeline.run(only="train")
    pipeline.run()
    pipeline.ran_again()
    with pytest.raises(UserError, match=r"--only train: its input 'shop' .* of other settings"):
        pipeline.run(only="train", shop=Shop(items=9))
    with pytest.raises(UserError, match=r"trian: no such stage\. Did you mean 'train'\?"):
        pipeline.run(only="trian")
    assert pipeline.ran_again() == []


def test_fresh_starts_over_checkpoints_included(pipeline: Pipeline) -> None:
    first = pipeline.run()
    pipeline.ran_again()

    def fail(context: StageContext) -> None:
        (context.work / "checkpoint").touch()
        raise RuntimeError

    pipeline.in_train = fail
    with pytest.raises(RuntimeError):
        pipeline.run(only="train")
    found: list[list[str]] = []
    pipeline.in_train = lambda context: found.append(os.listdir(context.work))
    pipeline.ran_again()
    assert _figures(pipeline.run(fresh=True)) == _figures(first)
    assert pipeline.ran_again() == ["shop", "train", "report", "free"]
    assert found == [[]]


# --- failures and checkpoints -------------------------------------------------------------------


def test_a_failing_stage_leaves_its_checkpoints_and_nothing_else(pipeline: Pipeline) -> None:
    def fail(context: StageContext) -> None:
        (context.out / "half.txt").write_text("half")
        (context.work / "checkpoint").write_text("3")
        raise UserError("no such column")

    pipeline.in_train = fail
    with pytest.raises(UserError, match="no such column"):
        pipeline.run()
    assert sorted(os.listdir(pipeline.folder)) == [
        ".lock", ".work", "metrics.json", "run.json", "shop",
    ]  # fmt: skip
    assert list(read_json(pipeline.folder / "metrics.json")["seconds"]) == ["shop"]

    found: list[list[str]] = []
    pipeline.in_train = lambda context: found.append(os.listdir(context.work))
    pipeline.run()
    assert found == [["checkpoint"]]
    assert pipeline.ran == ["shop", "train", "train", "report", "free"]
    assert os.listdir(pipeline.folder / ".work") == []


def test_checkpoints_of_other_settings_are_not_used(pipeline: Pipeline) -> None:
    found: list[list[str]] = []

    def look_and_fail(context: StageContext) -> None:
        found.append(os.listdir(context.work))
        (context.work / "checkpoint").touch()
        raise RuntimeError

    pipeline.in_train = look_and_fail
    for steps in (4, 5, 4):
        with pytest.raises(RuntimeError):
            pipeline.run(train=Train(steps=steps))
    assert found == [[], [], []]


def test_the_figures_of_a_stage_that_is_not_needed_are_refused(pipeline: Pipeline) -> None:
    pipeline.in_train = lambda context: print(context.metrics_of("free"))
    with pytest.raises(KeyError, match="not in its needs"):
        pipeline.run()


# --- other people's files -----------------------------------------------------------------------


def test_a_folder_with_other_files_is_refused_untouched(pipeline: Pipeline) -> None:
    pipeline.folder.mkdir(parents=True)
    (pipeline.folder / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"demo: holds files .* \(thesis\.txt\); .*--out"):
        pipeline.run()
    assert (pipeline.folder / "thesis.txt").read_text() == "mine"
    assert pipeline.ran == []


def test_another_run_may_take_a_run_folder_over_unless_it_holds_more(pipeline: Pipeline) -> None:
    pipeline.run()
    pipeline.run(name="other")
    assert read_run(pipeline.folder)["name"] == "other"
    (pipeline.folder / "notes.txt").write_text("mine")
    pipeline.run(name="other")
    with pytest.raises(UserError, match="holds the run 'other' and other files"):
        pipeline.run(name="third")
    assert (pipeline.folder / "notes.txt").read_text() == "mine"


def test_a_folder_named_like_a_stage_but_not_ours_is_not_replaced(pipeline: Pipeline) -> None:
    pipeline.run(only="shop")
    (pipeline.folder / "train").mkdir()
    (pipeline.folder / "train" / "mine.txt").write_text("mine")
    (pipeline.folder / ".vim.settings").mkdir()
    with pytest.raises(UserError, match=r"train: not made by a run"):
        pipeline.run()
    assert (pipeline.folder / "train" / "mine.txt").read_text() == "mine"
    assert (pipeline.folder / ".vim.settings").is_dir()


def test_two_runs_do_not_share_a_folder(pipeline: Pipeline) -> None:
    pipeline.run()
    with (pipeline.folder / ".lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another run is using this folder"):
            pipeline.run()
    pipeline.run()


def test_an_output_path_that_is_a_file_is_one_line(pipeline: Pipeline) -> None:
    pipeline.folder.parent.mkdir(parents=True)
    pipeline.folder.touch()
    with pytest.raises(UserError, match="demo: cannot hold a run: File exists"):
        pipeline.run()


# --- kill -9 ------------------------------------------------------------------------------------

SLOW_RUN = """
import sys, time
from pathlib import Path
from envs.settings import Settings
from experiments.console import Console
from experiments.stages import Stage, run_stages

class Config(Settings):
    name: str = "killed"
    seed: int = 1

def first(context):
    (context.out / "x.txt").write_text(str(context.seed))
    return {"x": context.seed}

def second(context):
    done = int((context.work / "step").read_text()) if (context.work / "step").exists() else 0
    (context.out / "half.txt").write_text("half")
    for step in range(done, 4):
        (context.work / "step").write_text(str(step + 1))
        while step == 2 and sys.argv[2] == "hang":
            time.sleep(0.01)
    return {"resumed_at": done, "x": context.metrics_of("first")["x"]}

stages = [Stage("first", first), Stage("second", second, needs=("first",))]
run_stages(stages, Config(), Path(sys.argv[1]), console=Console())
"""


def test_a_run_killed_in_a_stage_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", SLOW_RUN, str(folder)]
    killed = subprocess.Popen([*command, "hang"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not any(path.read_text() == "3" for path in folder.glob(".work/second/*/step")):
            assert time.monotonic() < deadline, "the run never reached the middle of its stage"
            assert killed.poll() is None, "the run ended before it was killed"
            time.sleep(0.01)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert not (folder / "second").exists()
    first = read_json(folder / "first" / "stage.json")

    subprocess.run([*command, "go"], check=True, capture_output=True)
    metrics = read_json(folder / "metrics.json")
    assert metrics["second"] == {"resumed_at": 3, "x": first["metrics"]["x"]}
    assert read_json(folder / "first" / "stage.json") == first
    assert sorted(os.listdir(folder)) == [
        ".lock", ".work", "first", "metrics.json", "run.json", "second",
    ]  # fmt: skip


# Forks a run, kills it at a file operation, resumes it; again for every fourth operation it makes
# (all of them take a minute on a busy disk). The audit hook sees every open, mkdir, rename and
# removal before it happens. Prints one line for each kill.
KILL_EVERYWHERE = """
import os, signal, sys
from pathlib import Path
from envs.files import read_json
from envs.settings import Settings
from experiments.console import Console
from experiments.stages import Stage, run_stages

os.fsync = lambda descriptor: None  # a killed process loses nothing that it wrote; disks are slow
base = Path(sys.argv[1])
log = base / "ran.log"

class Config(Settings):
    name: str = "killed"
    seed: int = 1

def work(context):
    with log.open("a") as stream:
        stream.write(context.out.parent.name + chr(10))
    (context.work / "checkpoint").write_text("1")
    (context.out / "x.txt").write_text(str(context.seed))
    return {"seed": context.seed}

stages = [Stage("a", work), Stage("b", work, needs=("a",))]

def go(folder, fresh):
    metrics = run_stages(stages, Config(), folder, fresh=fresh, console=Console(quiet=True))
    metrics.pop("seconds")
    return metrics

reference = go(base / "reference", False)
for fresh in (False, True):
    for at in range(0, 10_000, 4):
        folder = base / f"{fresh}-{at}"
        if fresh:
            go(folder, False)
        log.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            left = [at]
            def count(event, arguments):
                if "site-packages" in str(arguments) or event == "os.kill":
                    return
                if event.split(".")[0] in ("open", "os", "shutil", "tempfile", "fcntl"):
                    left[0] -= 1
                    if left[0] < 0:
                        os.kill(os.getpid(), signal.SIGKILL)
            sys.addaudithook(count)
            go(folder, fresh)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert go(folder, False) == reference, at
        assert read_json(folder / "metrics.json")["b"] == reference["b"], at
        ours = {"a", "b", "run.json", "metrics.json", ".work", ".lock"}
        leftovers = set(os.listdir(folder)) - ours
        assert not leftovers and not os.listdir(folder / ".work"), (at, leftovers)
        runs = len(log.read_text().split()) if log.exists() else 0
        assert runs <= 3, (at, runs)  # two stages, and at most one of them twice
        if not os.WIFSIGNALED(status):
            assert status == 0, status
            break
        print(fresh, at)
"""


def test_a_run_killed_all_along_its_file_operations_ends_in_the_same_figures(
    tmp_path: Path,
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", KILL_EVERYWHERE, str(tmp_path)], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    kills = ended.stdout.split("\n")
    # Each run makes over a hundred operations: fewer kills would mean that the hook saw nothing.
    assert sum(line.startswith("False") for line in kills) > 25
    assert sum(line.startswith("True") for line in kills) > 25
