"""Two processes of one launch write apart, learn together and save once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from envs.files import read_json

ROOT = Path(__file__).parents[2]

# Each process writes down what its reward was asked and which weights it ended with.
DRIVER = """
import hashlib, os, sys
from pathlib import Path

import numpy as np
import torch
from peft import get_peft_model_state_dict

from envs.files import write_json
from policies.reasoner.config import PpoConfig
from policies.reasoner.train import train_ppo
from policies.reasoner.watch import Watch
from tests.reasoner.reasoner_toy import fits, prompts

torch.set_num_threads(1)
sft, folder = map(Path, sys.argv[1:])
seen = {"asked": [], "held": 0}

def told(asked, completions, columns):
    seen["held"] += "held" in columns
    seen["asked"].append(completions)
    return fits(asked, completions, columns)

def fingerprint(weights):
    parts = [weights[name].detach().numpy().tobytes() for name in sorted(weights)]
    return hashlib.sha256(b"".join(parts)).hexdigest()

class Seen(Watch):
    def on_train_begin(self, *args, **kwargs):
        seen["before"] = fingerprint(get_peft_model_state_dict(self.trainer.model))
        super().on_train_begin(*args, **kwargs)

    def on_train_end(self, *args, **kwargs):
        super().on_train_end(*args, **kwargs)
        seen["adapter"] = fingerprint(get_peft_model_state_dict(self.trainer.model))
        seen["critic"] = fingerprint(self.trainer.learner.critic.state_dict())
        seen["kl_price"] = self.trainer.kl_price

import policies.reasoner.train as training
training.Watch = Seen

config = PpoConfig(
    cycles=3, completions=64, generations=4, minibatches=2, accumulate=2, epochs=2,
    max_new_tokens=8, kl_target=0.5, entropy_coefficient=0.01,
    checkpoint_every=2, eval_every=2,
)
rng = np.random.default_rng(0)
seen["metrics"] = train_ppo(
    sft, prompts(100, rng), told, config, folder / "out", folder / "work", 0,
    held_prompts=[{**row, "held": True} for row in prompts(20, rng)],
)
write_json(folder / f"seen-{os.environ['RANK']}.json", seen)
"""


@pytest.fixture(scope="module")
def launched(toy_sft: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("launched")
    (folder / "driver.py").write_text(DRIVER)
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node=2", str(folder / "driver.py"), str(toy_sft), str(folder)),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.fixture(scope="module")
def both(launched: Path) -> list[dict[str, Any]]:
    return [read_json(launched / f"seen-{rank}.json") for rank in (0, 1)]


def test_both_end_with_the_same_weights_which_have_moved(both: list[dict[str, Any]]) -> None:
    first, second = both
    assert first["before"] == second["before"]
    for part in ("adapter", "critic", "kl_price"):
        assert first[part] == second[part]
    assert first["adapter"] != first["before"]
    assert first["kl_price"] != 0.03


def test_each_writes_its_half_and_is_told_what_all_are_worth(both: list[dict[str, Any]]) -> None:
    batches = [[asked for asked in one["asked"] if len(asked) == 64] for one in both]
    assert len(batches[0]) == 3
    assert batches[0] == batches[1]
    assert all(batch[:32] != batch[32:] for batch in batches[0])


def test_the_main_process_alone_writes_for_the_held_out_prompts(
    both: list[dict[str, Any]],
) -> None:
    # Before training, after the second cycle, and at the end.
    assert [one["held"] for one in both] == [3, 0]


def test_the_curve_is_of_both_and_saved_once(launched: Path, both: list[dict[str, Any]]) -> None:
    curve = read_json(launched / "out" / "curve.json")
    assert [row["cycle"] for row in curve] == [1, 2, 3]
    first = next(asked for asked in both[0]["asked"] if len(asked) == 64)
    assert curve[0]["unique_share"] == len(set(first)) / 64
    assert both[0]["metrics"]["kept_cycle"] == both[1]["metrics"]["kept_cycle"]
    assert (launched / "out" / "adapter" / "adapter_model.safetensors").is_file()
