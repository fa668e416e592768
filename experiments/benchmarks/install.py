"""What each part of the installation weighs: the files of all packages that it brings."""

from __future__ import annotations

import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from experiments.benchmarks.timing import row

_PROJECT = Path(__file__).parents[2] / "pyproject.toml"
_MIB = 2**20


def measure(repeats: int) -> list[dict[str, Any]]:
    """Return MiB and number of packages of the bare installation and of each extra on top of it.

    Packages that are not installed here do not count, and are named.
    """
    project = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]
    parts = {"bare": [], **project["optional-dependencies"]}
    del parts["dev"]
    rows = []
    for name, lines in parts.items():
        found, missing = installed([*project["dependencies"], *lines])
        size = sum(map(files_size, found.values())) / _MIB
        what = f"{len(found)} packages" + (f", without {', '.join(missing)}" if missing else "")
        rows.append(row(name, "install_size", "MiB", what, [size]))
    return rows


def installed(requirements: list[str]) -> tuple[dict[str, Distribution], list[str]]:
    """Return the installed packages that requirements bring, by name, and those not installed."""
    found: dict[str, Distribution] = {}
    missing: set[str] = set()
    asked = [Requirement(line) for line in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while asked:
        one = asked.pop()
        name, extras = canonicalize_name(one.name), frozenset(one.extras)
        if (name, extras) in seen or not _applies(one, frozenset()):
            continue
        seen.add((name, extras))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            missing.add(name)
            continue
        for line in found[name].requires or []:
            further = Requirement(line)
            if _applies(further, extras):
                further.marker = None
                asked.append(further)
    return found, sorted(missing)


def files_size(package: Distribution) -> int:
    """Return the bytes of a package's files as they lie here, compiled ones included."""
    paths = {Path(str(package.locate_file(file))) for file in package.files or []}
    return sum(path.stat().st_size for path in paths if path.is_file())


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))
