"""What the reasoner's tests share: one small SFT policy, trained once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.reasoner.reasoner_toy import make_sft


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def toy_sft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the toy SFT policy."""
    return make_sft(tmp_path_factory.mktemp("toy"))
