"""A run's folder on disk: whose it is, who is using it, and what in it is finished.

::

    runs/NAME/
      run.json         the marker: version, name and the whole configuration
      metrics.json     the figures of every finished stage
      STAGE/           what a stage wrote, and its stage.json; it appears at once, when finished
      .work/STAGE/     what an unfinished stage keeps to go on from

Whatever else lies in the folder is the user's, and is never touched.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from envs.errors import UserError, nearest
from envs.files import read_json, sha256, write_json

MARKER, METRICS, RECORD = "run.json", "metrics.json", "stage.json"
WORK, LOCK, TRASH = ".work", ".lock", ".trash"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Make the folder and keep every other run out of it while the context is open.

    The lock is the kernel's, so it ends with the process, however that ends.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"{folder}: cannot hold a run: {error.strerror}.") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder}: another run is using this folder; wait for it, or choose another --out."
            ) from None
        yield
    finally:
        os.close(descriptor)


def read_run(folder: Path) -> dict[str, Any]:
    """Return the marker of a run folder: ``version``, ``name`` and ``config`` as plain values."""
    try:
        marker = read_json(folder / MARKER)
    except (OSError, ValueError):
        marker = None
    if not isinstance(marker, dict) or not {"version", "name", "config"} <= marker.keys():
        raise UserError(f"{folder}: no run folder: it holds no readable {MARKER}.")
    return marker


def claim(folder: Path, marker: dict[str, Any], stages: Collection[str]) -> None:
    """Mark the folder as this run's, unless somebody else's files would get mixed into it."""
    ours = {MARKER, METRICS, WORK, LOCK}
    for name in stages:
        if (folder / name).exists() and not (folder / name / RECORD).is_file():
            raise UserError(
                f"{folder / name}: not made by a run (it holds no {RECORD}), and a stage of that "
                "name would replace it; move it away, or choose another --out."
            )
    known = (folder / MARKER).exists()
    if not known or read_run(folder)["name"] != marker["name"]:
        foreign = sorted(
            entry.name
            for entry in folder.iterdir()
            if not _is_remnant(entry.name, stages)
            and entry.name not in (ours if known else {LOCK})
            and not (known and (entry / RECORD).is_file())
        )
        if foreign:
            shown = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
            whose = f"the run {read_run(folder)['name']!r} and other files" if known else "files"
            raise UserError(
                f"{folder}: holds {whose} that are not of this run ({shown}); "
                "choose a new or an empty folder with --out."
            )
    write_json(folder / MARKER, marker)


def sweep(folder: Path, stages: Collection[str]) -> None:
    """Remove what a killed run left half-written; only under `hold`."""
    for entry in folder.iterdir():
        if not _is_remnant(entry.name, stages):
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _is_remnant(name: str, stages: Collection[str]) -> bool:
    # The temporary names of envs.files and of `discard`: ours, then tempfile's 8 characters.
    names = "|".join([*map(re.escape, stages), TRASH[1:]])
    random = "[a-z0-9_]{8}"
    pattern = rf"\.({names})(\.old)?\.{random}|\.(run|metrics)\.{random}\.json"
    return re.fullmatch(pattern, name) is not None


def discard(path: Path, folder: Path) -> None:
    """Remove a folder of the run so that no half of it is ever met under its name."""
    if path.exists():
        trash = Path(tempfile.mkdtemp(prefix=f"{TRASH}.", dir=folder))
        path.rename(trash / path.name)
        shutil.rmtree(trash)


def finished(stage_folder: Path, inputs_hash: str) -> dict[str, Any] | None:
    """Return the record of a stage that was finished from these inputs and is intact, or None."""
    try:
        record = read_json(stage_folder / RECORD)
        if record["status"] != "done" or record["inputs_hash"] != inputs_hash:
            return None
        if any(sha256(stage_folder / name) != met for name, met in record["files"].items()):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # missing or damaged in whatever way: the stage is to be run
    return record


def manifest(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file under ``folder``, by its relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def digest(path: Path) -> str:
    """Return one digest of an outside file, or of everything in an outside folder.

    Raises:
        UserError: there is no such file or folder, or it cannot be read.
    """
    try:
        if path.is_dir():
            return hashlib.sha256(repr(sorted(manifest(path).items())).encode()).hexdigest()
        return sha256(path)
    except FileNotFoundError:
        siblings = path.parent.iterdir() if path.parent.is_dir() else ()
        hint = nearest(path.name, (entry.name for entry in siblings))
        raise UserError(f"{path}: no such file or folder.{hint}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from None
