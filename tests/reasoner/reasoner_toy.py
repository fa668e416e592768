"""A toy reason task, and a small SFT policy for it that the reasoner's tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sft.train import Pair, train_sft
from sft.train_config import BaseModelConfig, SftConfig

FACTS = {
    "battery": "lasts days",
    "weight": "feels light",
    "price": "costs little",
    "sound": "plays loud",
}


def prompts(count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return rows such as ``watch price ->`` with the liked aspect beside."""
    kinds, aspects = ["watch", "phone", "big tablet"], list(FACTS)
    rows = []
    for _ in range(count):
        likes = str(rng.choice(aspects))
        rows.append({"prompt": f"{rng.choice(kinds)} {likes} ->", "likes": likes})
    return rows


def pairs(count: int, rng: np.random.Generator) -> list[Pair]:
    """Return mixed copywriting: half of the reasons fit the shopper, half are any fact."""
    rows = prompts(count, rng)
    picked = [row["likes"] if rng.random() < 0.5 else rng.choice(list(FACTS)) for row in rows]
    return [Pair(row["prompt"], FACTS[aspect]) for row, aspect in zip(rows, picked, strict=True)]


def fits(prompts: list[str], completions: list[str], columns: dict[str, list[Any]]) -> np.ndarray:
    """Return 1 for a reason that states the liked fact and no other, else 0, ``(B,)``."""
    wanted = [FACTS[likes] for likes in columns["likes"]]
    return np.array([float(text == want) for text, want in zip(completions, wanted, strict=True)])


SFT = SftConfig(
    base=BaseModelConfig(vocab_size=500),
    base_steps=60,
    adapter_steps=6,
    batch_size=32,
    base_lr=5e-3,
    evaluations=2,
)


def make_sft(folder: Path) -> Path:
    """Train the toy SFT policy and return its folder."""
    rng = np.random.default_rng(0)
    train_sft(pairs(600, rng), pairs(60, rng), SFT, folder / "sft", folder / "work", seed=0)
    return folder / "sft"
