"""Where the shared development data lies, for tests that need it."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def shared_data(name: str) -> Path:
    """Return the path of ``name`` in the shared data folder, or skip the test, saying why."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"the shared data {name!r} is not at hand (looked for ../shared/data/{name})")
    return path
