"""A run of two stages, the second shared by all processes: what `test_launch.py` launches.

``python launched.py FOLDER``: the run goes into FOLDER, and each process writes what it saw beside
it, into FOLDER-RANK.json.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from pydantic import Field

from envs.files import write_json
from envs.settings import Settings
from experiments.console import Console
from experiments.stages import Stage, StageContext, run_stages
from sft.completions import CompletionTrainer, Pair
from sft.train import train_sft
from sft.train_config import BaseModelConfig, SftConfig


class Config(Settings):
    name: str = "launched"
    seed: int = 1
    sft: SftConfig = Field(
        default_factory=lambda: SftConfig(
            base=BaseModelConfig(vocab_size=300),
            base_steps=4,
            adapter_steps=2,
            batch_size=8,
            accumulate=2,
            evaluations=2,
        )
    )


def data(context: StageContext) -> dict[str, Any]:
    (context.out / "facts.txt").write_text("lasts days|feels light|costs little|plays loud")
    return {"facts": 4}


def run(folder: Path) -> None:
    """Run both stages in this process's part of the launch."""
    seen: dict[str, Any] = {"reads": []}

    class Counted(CompletionTrainer):
        def training_step(self, model: Any, inputs: Any, *rest: Any) -> Any:
            seen["reads"].append(len(inputs["input_ids"]))
            return super().training_step(model, inputs, *rest)

    def sft(context: StageContext) -> dict[str, Any]:
        facts = (context.inputs["data"] / "facts.txt").read_text().split("|")
        # Completions of several lengths, so that the mean over tokens is not one over processes.
        pairs = [
            Pair(f"watch {i % 5} | fact: {facts[i % 4]} ->", facts[i % 4] * (1 + i % 3))
            for i in range(40)
        ]
        seen["facts"] = context.metrics_of("data")["facts"]
        return train_sft(
            pairs[:32], pairs[32:], context.config.sft, context.out, context.work, context.seed
        )

    stages = [Stage("data", data), Stage("sft", sft, needs=("data",), together=True)]
    try:
        with patch("sft.train.CompletionTrainer", Counted):
            seen["metrics"] = run_stages(stages, Config(), folder, console=Console(quiet=True))
    finally:
        write_json(folder.parent / f"{folder.name}-{os.environ.get('RANK', '0')}.json", seen)


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]))
