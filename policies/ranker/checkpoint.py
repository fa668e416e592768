"""The resume-only checkpoint of a ranker in training: one folder, swapped in at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from envs.files import atomic_folder, read_json, write_json
from policies.ranker.scorer import SlateScorer, load_scorer, save_scorer

Row = dict[str, float | None]


@dataclass
class Standing:
    """How far training has come."""

    iteration: int = 0
    env_steps: int = 0
    seconds: float = 0.0
    curve: list[Row] = field(default_factory=list)
    best_return: float | None = None


def save_checkpoint(
    folder: Path,
    fingerprint: dict[str, Any],
    standing: Standing,
    state: dict[str, Any],
    best: SlateScorer,
) -> None:
    """Write the standing, the trainer's state and the best scorer so far."""
    with atomic_folder(folder) as temporary:
        save_file(
            {name: tensor.contiguous() for name, tensor in state["weights"].items()},
            temporary / "weights.safetensors",
        )
        torch.save(state["optimizer"], temporary / "optimizer.pt")
        save_scorer(best, temporary / "best")
        write_json(temporary / "standing.json", {"fingerprint": fingerprint, **vars(standing)})


def load_checkpoint(
    folder: Path, fingerprint: dict[str, Any]
) -> tuple[Standing, dict[str, Any], SlateScorer] | None:
    """Return (standing, state, best scorer), or None without a checkpoint of this training.

    A checkpoint with another fingerprint belongs to other settings: training starts afresh.
    """
    if not (folder / "standing.json").is_file():
        return None
    sheet = read_json(folder / "standing.json")
    if sheet.pop("fingerprint") != fingerprint:
        return None
    state = {
        "weights": load_file(folder / "weights.safetensors"),
        # Our own tensors and numbers: nothing that needs unpickling of code.
        "optimizer": torch.load(folder / "optimizer.pt", weights_only=True),
    }
    return Standing(**sheet), state, load_scorer(folder / "best")
