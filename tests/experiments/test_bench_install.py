"""What an installation weighs: the packages that it brings, and those alone."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

from experiments.benchmarks.install import files_size, installed, measure


def test_a_service_brings_no_training_library() -> None:
    found = {row["name"]: row for row in measure(1)}
    assert found["bare"]["value"] < found["serve"]["value"] < found["live"]["value"]
    assert found["live"]["value"] < found["train"]["value"]
    bare, _ = installed(["numpy", "onnxruntime", "pandas", "numba", "fastapi", "sqlalchemy"])
    assert not {"torch", "ray", "trl", "transformers", "gymnasium", "scikit-learn"} & bare.keys()


def test_what_is_brought_is_followed_and_what_is_missing_is_named() -> None:
    found, missing = installed(["numba>=0.1", "no-such-package-of-anyones", "ray[rllib]"])
    assert {"numba", "llvmlite", "numpy", "ray", "gymnasium"} <= found.keys()
    assert missing == ["no-such-package-of-anyones"]
    elsewhere, _ = installed(["numpy; sys_platform == 'no such system'"])
    assert elsewhere == {}


def test_size_is_that_of_the_files() -> None:
    package = distribution("typer")
    listed = [Path(str(package.locate_file(file))) for file in package.files or []]
    assert files_size(package) == sum(path.stat().st_size for path in set(listed) if path.is_file())
