"""The bundle at hand, exported once."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.bundle import Bundle, load_bundle
from tests.policies.bundle_at_hand import Made, make_bundle, make_reasoner


@pytest.fixture(scope="session")
def reasoner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a language model."""
    return make_reasoner(tmp_path_factory.mktemp("reasoner"))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, reasoner: Path) -> Made:
    """The bundle's folder, and what it was made from."""
    return make_bundle(tmp_path_factory.mktemp("export") / "bundle", reasoner)


@pytest.fixture(scope="session")
def bundle(made: Made) -> Bundle:
    """The bundle, loaded; it is never changed."""
    return load_bundle(made.path)
