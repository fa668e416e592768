"""Which extra of the installation brings a library that is not there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

#: Modules whose package goes by another name.
_PACKAGES = {"sklearn": "scikit-learn", "yaml": "pyyaml"}
#: Where several extras bring a library, the one that the commands need.
_FIRST = ("serve", "train")
#: The checkout is what is installed, and says which libraries belong to which extra.
_PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def missing_extra(module: str) -> str | None:
    """Return one line on how to install what brings a module; None if no extra does."""
    top = module.split(".")[0]
    package = _PACKAGES.get(top, top.replace("_", "-")).lower()
    extras = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    found = [name for name, lines in extras.items() if name != "dev" and package in _names(lines)]
    if not found:
        return None
    best = min(found, key=lambda name: name not in _FIRST)
    return (
        f"this needs {package}, which is not installed; in the checkout, run "
        f"pip install -c constraints.txt -e '.[{best}]'"
    )


def _names(requirements: list[str]) -> set[str]:
    """Names of the packages of requirements: ``ray[rllib]==2.60.*`` is ray."""
    found = (re.match(r"[\w.-]+", line) for line in requirements)
    return {match[0].lower() for match in found if match}
