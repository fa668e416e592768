"""What every TRL training here shares: quiet settings, progress, and resuming after a kill."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import torch
from peft import LoraConfig, PeftModel
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
)
from transformers.integrations import TensorBoardCallback

from envs.files import read_json, write_json
from envs.progress import Progress
from sft.ranks import main_process

# TRL pings the hub when a trainer is built; nothing here may need or use a network.
huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True


def quiet_arguments(work: Path, seed: int) -> dict[str, Any]:
    """Return the arguments that every TRL config of ours starts from."""
    cuda = torch.cuda.is_available()
    return {
        "output_dir": str(work),
        "seed": seed,
        "use_cpu": not cuda,
        "bf16": False,
        "activation_checkpointing": False,
        "disable_tqdm": True,
        # The processes beside the main one would be louder than it.
        "log_level_replica": "error",
        # Our own TensorBoard callback knows its folder; TRL's would choose one by clock and host.
        "report_to": "none",
        "logging_steps": 1,
        "dataloader_pin_memory": cuda,
        "save_only_model": False,
    }


def lora(r: int, alpha: int) -> LoraConfig:
    """Return LoRA on every linear layer but the head (Hu et al. 2021, arXiv:2106.09685)."""
    return LoraConfig(
        r=r, lora_alpha=alpha, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM"
    )


def save_reasoner(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write ``folder/base`` and, of a PEFT model, ``folder/adapter``, all as safetensors.

    A PEFT model is taken apart by this and is of no use afterwards.
    """
    if isinstance(model, PeftModel):
        # The adapter lies beside its base wherever the two are moved.
        model.peft_config["default"].base_model_name_or_path = "../base"
        # Unless told, PEFT asks the hub whether the vocabulary has grown; it never does here.
        model.save_pretrained(folder / "adapter", save_embedding_layers=False)
        # A card that asks the reader to fill it in helps nobody.
        (folder / "adapter" / "README.md").unlink(missing_ok=True)
        # Virtual tokens stand beside the base; the other kinds sit in its layers.
        virtual = model.active_peft_config.is_prompt_learning
        model = model.get_base_model() if virtual else model.unload()
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")


def claim_work(work: Path, inputs: dict[str, Any]) -> None:
    """Keep ``work`` when it belongs to the same inputs, else empty it.

    A checkpoint may only be resumed by the training that wrote it.
    """
    text = json.dumps(inputs, sort_keys=True, ensure_ascii=False, default=str)
    key = {"inputs": hashlib.sha256(text.encode()).hexdigest()}
    marker = work / "inputs.json"
    if marker.is_file() and read_json(marker) == key:
        return
    shutil.rmtree(work, ignore_errors=True)
    write_json(marker, key)


def last_checkpoint(work: Path) -> Path | None:
    """Return the newest whole checkpoint in ``work``, or None.

    The trainer's state file is written last, so a folder without a readable one is half a
    checkpoint that a kill left behind.
    """
    found = sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for folder in reversed(found):
        with contextlib.suppress(OSError, ValueError):
            read_json(folder / "trainer_state.json")
            return folder
    return None


@contextlib.contextmanager
def tensorboard(trainer: Trainer, folder: Path) -> Iterator[None]:
    """Log ``trainer`` to TensorBoard under ``folder``, and print nothing; the main process logs."""
    from torch.utils.tensorboard import SummaryWriter

    trainer.remove_callback(PrinterCallback)
    if not main_process():
        yield
        return
    writer = SummaryWriter(log_dir=str(folder))
    trainer.add_callback(TensorBoardCallback(tb_writer=writer))
    try:
        yield
    finally:
        writer.close()


class ReportProgress(TrainerCallback):
    """Pass chosen figures of a trainer's log to a Progress callback, and keep them."""

    def __init__(self, progress: Progress, names: dict[str, str], done_before: int, total: int):
        """Report ``names`` (log key -> figure name) at ``done_before + step`` of ``total``."""
        self.progress, self.names = progress, names
        self.done_before, self.total = done_before, total
        self.latest: dict[str, float] = {}

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Report the figures of this log line."""
        self.latest |= {ours: float(logs[key]) for key, ours in self.names.items() if key in logs}
        self.progress(self.done_before + state.global_step, self.total, self.latest)
