"""The resume-only checkpoint of a ranker in training: one folder, swapped in at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from envs.errors import UserError
from envs.files import atomic_folder, read_json, write_json
from policies.ranker.scorer import SlateScorer, check_tensors, load_scorer, save_scorer

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
    """Return (standing, state, best scorer), or None where there is no checkpoint yet.

    Raises `UserError` for a checkpoint of another training (other settings, features or seed) and
    for a damaged one: going on from it would be wrong, and starting afresh would overwrite it.
    """
    if not (folder / "standing.json").is_file():
        return None
    try:
        sheet = read_json(folder / "standing.json")
        met = sheet.pop("fingerprint")
        standing = Standing(**sheet)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder}: a damaged checkpoint ({error}); remove it.") from error
    if met != fingerprint:
        raise UserError(
            f"{folder}: a checkpoint of another training ({_first_difference(met, fingerprint)});"
            f" give this one another folder, or start over (--fresh)."
        )
    try:
        state = {
            "weights": load_file(folder / "weights.safetensors"),
            # Our own tensors and numbers: nothing that needs unpickling of code.
            "optimizer": torch.load(folder / "optimizer.pt", weights_only=True),
        }
    except (OSError, SafetensorError, RuntimeError, UnpicklingError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"{folder}: a damaged checkpoint ({first}); remove it.") from error
    best = load_scorer(folder / "best")
    check_tensors(best, state["weights"], folder / "weights.safetensors")
    return standing, state, best


def _first_difference(there: Any, here: Any, name: str = "") -> str:
    """Return ``"config.lr: 0.003 there, 0.001 here"`` for the first value that differs."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in [*here, *(key for key in there if key not in here)]:
            if there.get(key) != here.get(key):
                dotted = f"{name}.{key}" if name else str(key)
                return _first_difference(there.get(key), here.get(key), dotted)
    return f"{name}: {_short(there)} there, {_short(here)} here"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
