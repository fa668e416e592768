"""Two processes of one launch make the updates, the files and the figures that one would make."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from envs.errors import UserError
from envs.files import read_json
from experiments.followers import check_launch, lonely_launch
from experiments.stages import Stage
from sft.checks import pairs_at_once
from sft.ranks import from_main, main_process, on_main, processes, wait_for_all
from sft.train_config import SftConfig
from tests.sft.launched import run

ROOT = Path(__file__).parents[2]

LAUNCHED = Path(__file__).with_name("launched.py")

# A stage in which every process meets the same mistake; it imports nothing heavy.
MISTAKE = """
import sys
from pathlib import Path
from envs.errors import UserError
from envs.settings import Settings
from experiments.console import Console, run_cli
from experiments.stages import Stage, run_stages
import typer

class Config(Settings):
    name: str = "mistaken"
    seed: int = 1

def shared(context):
    (context.out / "half.txt").write_text("half")
    raise UserError("the pairs are too long: shorten them.")

app = typer.Typer()

@app.command()
def main(folder: Path):
    stages = [Stage("data", lambda context: {}), Stage("sft", shared, together=True)]
    run_stages(stages, Config(), folder, console=Console(quiet=True))

run_cli(app)
"""


def launch(script: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Start two processes, as `accelerate launch` does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run(
        [*launcher, str(script), str(folder)],
        env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("launch")
    run(folder / "by1")
    ended = launch(LAUNCHED, folder / "by2")
    assert ended.returncode == 0, ended.stderr
    return folder


def test_the_batch_of_an_update_is_shared_out(folder: Path) -> None:
    alone = read_json(folder / "by1-0.json")["reads"]
    shared = [read_json(folder / f"by2-{rank}.json")["reads"] for rank in (0, 1)]
    # Six updates of eight pairs, each read in two parts.
    assert alone == [4] * 12
    assert shared == [[2] * 12, [2] * 12]


def test_two_processes_learn_what_one_learns(folder: Path) -> None:
    one, two = (read_json(folder / f"by{n}" / "sft" / "curve.json") for n in (1, 2))
    for phase in ("base", "adapter"):
        losses = [[line["loss"] for line in curve[phase] if "loss" in line] for curve in (one, two)]
        # Each loss is met after the updates before it: one of another size or direction shows.
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
        assert losses[0][-1] < losses[0][0]


def test_the_folder_is_the_same_whoever_made_it(folder: Path) -> None:
    def files(count: int) -> list[str]:
        run = folder / f"by{count}"
        return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())

    assert files(2) == files(1)


def test_only_the_main_process_comes_back_and_all_know_the_inputs(folder: Path) -> None:
    first, second = (read_json(folder / f"by2-{rank}.json") for rank in (0, 1))
    assert first["metrics"] == read_json(folder / "by2" / "metrics.json")
    assert "metrics" not in second
    assert first["facts"] == second["facts"] == 4


def test_a_mistake_of_all_is_told_once_and_nothing_is_left(tmp_path: Path) -> None:
    script = tmp_path / "mistake.py"
    script.write_text(MISTAKE)
    ended = launch(script, tmp_path / "run")
    assert ended.returncode != 0
    assert ended.stderr.count("shelftalk: the pairs are too long: shorten them.") == 1
    assert "UserError" not in ended.stderr
    folders = sorted(path.name for path in (tmp_path / "run").iterdir() if path.is_dir())
    assert folders == [".work", "data"]


# --- a single process ---------------------------------------------------------------------------


def test_without_a_launcher_nothing_waits() -> None:
    assert (processes(), main_process()) == (1, True)
    value = object()
    assert from_main(value) is value
    assert on_main(lambda: value) is value
    wait_for_all()


def test_a_batch_that_cannot_be_shared_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pairs_at_once(SftConfig(batch_size=12, accumulate=3)) == 4
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert pairs_at_once(SftConfig(batch_size=12, accumulate=3)) == 2
    with pytest.raises(UserError, match=r"batch_size 10 cannot be shared by 2 processes .* of 6"):
        pairs_at_once(SftConfig(batch_size=10, accumulate=3))


def test_work_for_one_process_is_refused_to_several(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Stage("rank", lambda context: {})
    shared = Stage("sft", lambda context: {}, together=True)
    check_launch([alone], [shared, alone])
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_launch([alone, shared], [alone, shared])  # the others wait while one is busy
    check_launch([], [alone, shared])
    with pytest.raises(UserError, match=r"2 processes .* 'rank' runs in one: .* \(sft\)"):
        check_launch([shared, alone], [shared, alone])


def test_a_launch_of_one_where_several_were_asked_for_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert lonely_launch() is None
    # What `accelerate launch --num_processes 2` sets on a machine without GPUs.
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert "add --multi_gpu" in str(lonely_launch())
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert lonely_launch() is None
