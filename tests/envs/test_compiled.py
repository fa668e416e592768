"""Compiled kernels are kept on disk, and never those of another source."""

from __future__ import annotations

import shutil
from pathlib import Path

import numba
import pytest

from envs import compiled


@pytest.mark.parametrize("edited", ["behaviour.py", "counter_rng.py", "kernels_session.py"])
def test_an_edited_equation_is_compiled_anew(
    edited: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numba alone would go on with what was inlined from the file before."""
    shutil.copytree(Path(compiled.__file__).parent, tmp_path / "envs")
    monkeypatch.setattr(compiled, "_HERE", tmp_path / "envs")
    before = compiled._cache_folder()
    assert compiled._cache_folder() == before
    source = tmp_path / "envs" / edited
    source.write_text(source.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
    assert compiled._cache_folder() != before


def test_the_users_own_cache_folder_is_kept_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert compiled._cache_folder().parent == tmp_path


def test_every_module_that_kernels_are_made_of_counts() -> None:
    """A file that compiles or lends functions to kernels must be part of the folder's name."""
    folder = Path(compiled.__file__).parent
    users = {
        path.name
        for path in folder.glob("*.py")
        if "from envs.compiled import" in path.read_text(encoding="utf-8")
    }
    listed = set(compiled._SOURCES) | {path.name for path in folder.glob("kernels*.py")}
    assert users <= listed
    assert all((folder / name).is_file() for name in compiled._SOURCES)
