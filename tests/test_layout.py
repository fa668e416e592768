"""The house stands as drawn: imported from the checkout, floors one way, no machine's paths."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: Each floor and the floors it may import.
FLOORS = {
    "envs": set[str](),
    "rewards": {"envs"},
    "sft": {"envs", "rewards"},
    "policies": {"envs", "rewards", "sft"},
    "experiments": {"envs", "rewards", "sft", "policies"},
}

#: What the user of a bundle loads, and what it must not bring along.
LIGHT = (
    "policies/bundle.py",
    "policies/logging_policies.py",
    "policies/service/supervisor.py",
    "policies/service/worker.py",
)
HEAVY = ("torch", "ray", "trl", "gymnasium", "transformers", "sklearn")


def _python(code: str, folder: Path) -> str:
    """Run code in a new interpreter that starts in ``folder``; return what it prints."""
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_each_folder_imports_from_the_checkout_wherever_one_stands(tmp_path: Path) -> None:
    names = ", ".join(FLOORS)
    code = f"import {names}\nfor m in ({names}): print(m.__file__)"
    files = [Path(line) for line in _python(code, tmp_path).splitlines()]
    assert files == [ROOT / name / "__init__.py" for name in FLOORS]


def _imported(source: str) -> Iterator[str]:
    """Yield the top-level name of everything that a source file imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are plain: from envs.shop import ..."
            yield (node.module or "").split(".")[0]


def test_the_reader_of_imports_sees_every_form() -> None:
    source = "import envs.shop as s\ndef f():\n    from policies.bundle import load\n"
    assert list(_imported(source)) == ["envs", "policies"]


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_run_one_way_only(floor: str) -> None:
    files = sorted((ROOT / floor).rglob("*.py"))
    assert files
    upwards = {*FLOORS, "tests"} - FLOORS[floor] - {floor}
    met = {
        str(path.relative_to(ROOT)): found
        for path in files
        if (found := upwards & set(_imported(path.read_text(encoding="utf-8"))))
    }
    assert met == {}


def _sources() -> Iterator[Path]:
    """Yield the text files of the repository: not what is built, run or installed beside them."""
    kept = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".json", ".html", ".css", ".js", ".sh"}
    yield ROOT / "Makefile"
    yield from (path for path in ROOT.glob("*.*") if path.suffix in kept)
    for folder in (*FLOORS, "tests", "docs", ".ci"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and (path.suffix in kept or folder == ".ci"):
                yield path


def test_no_source_names_a_folder_of_one_machine() -> None:
    # Not preceded by what makes it part of a longer path or an address.
    pattern = re.compile(r"(?<![\w.~*}])/(work|root|home|Users)/\w")
    assert pattern.search("at " + "/".join(["", "home", "me"]))
    met = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in _sources()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert met == []


@pytest.mark.parametrize("file", LIGHT)
def test_what_a_bundle_needs_loads_nothing_heavy(file: str, tmp_path: Path) -> None:
    module = file.removesuffix(".py").replace("/", ".")
    code = f"import sys, {module}; print(*({set(HEAVY)!r} & set(sys.modules)))"
    assert _python(code, tmp_path) == ""
