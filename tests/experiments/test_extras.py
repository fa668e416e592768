"""A command whose libraries are not installed says which extra brings them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import experiments
from experiments.extras import missing_extra

ROOT = Path(experiments.__file__).parents[1]
TRAIN = "pip install -c constraints.txt -e '.[train]'"


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("torch", "train"), ("sklearn.cluster", "train"), ("ray.rllib", "train"),
        ("fastapi", "serve"), ("prometheus_client", "serve"), ("psycopg", "postgres"),
    ],
)  # fmt: skip
def test_each_library_has_its_extra(module: str, extra: str) -> None:
    line = missing_extra(module)
    assert line is not None
    assert line.endswith(f"pip install -c constraints.txt -e '.[{extra}]'")


def test_a_module_of_nobodys_is_our_own_bug() -> None:
    assert missing_extra("envs.nothing") is None
    assert missing_extra("") is None


def without(*modules: str) -> str:
    """Code that makes modules look as if they were not installed, then runs the command line."""
    return f"""
import sys

class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {modules!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Gone())
from experiments.cli import app
app()
"""


@pytest.mark.parametrize(
    ("arguments", "modules"),
    [
        (("run", "experiments/configs/demo.yaml", "--out", "OUT"), ("sklearn", "torch")),
        (("simulate", "OUT"), ("gymnasium", "torch")),
    ],
)
def test_a_command_without_its_extra_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], modules: tuple[str, ...], tmp_path: Path
) -> None:
    given = [str(tmp_path / "out") if part == "OUT" else part for part in arguments]
    done = subprocess.run(
        [sys.executable, "-c", without(*modules), *given],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("shelftalk: this needs ")
    assert line.endswith(TRAIN)
    assert not (tmp_path / "out").exists()


def test_help_needs_no_extra() -> None:
    heavy = ("torch", "sklearn", "ray", "trl", "gymnasium", "jinja2", "fastapi", "sqlalchemy")
    done = subprocess.run(
        [sys.executable, "-c", without(*heavy), "--help"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "recommend" in done.stdout
