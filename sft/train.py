"""Supervised fine-tuning with TRL: a base model in full, then a LoRA adapter on it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from peft import AdaLoraConfig, PeftConfig
from pydantic import Field
from transformers import EarlyStoppingCallback, PreTrainedModel, PreTrainedTokenizerBase
from trl import SFTConfig, SFTTrainer

from envs.errors import UserError
from envs.files import atomic_folder, write_json
from envs.progress import Progress, silent
from envs.settings import Settings
from sft.adapters import AdapterConfig, ShareOutRanks, make_adapter, orthogonality
from sft.base_model import (
    BaseModelConfig,
    check_context,
    encode_completions,
    encode_prompts,
    load_model,
    make_local_model,
)
from sft.quiet import quiet_libraries
from sft.trainer_tools import (
    ReportProgress,
    claim_work,
    last_checkpoint,
    quiet_arguments,
    save_reasoner,
    tensorboard,
)

#: Label that the loss ignores (PyTorch's convention).
IGNORED = -100
#: Held-out pairs measured at each evaluation: enough for a steady mean, cheap enough to repeat.
HELD_MEASURED = 256


class Pair(NamedTuple):
    """A prompt and the text that should follow it."""

    prompt: str
    completion: str


class SftConfig(Settings):
    """Supervised training of the reasoner."""

    base: BaseModelConfig = BaseModelConfig()
    """The language model to start from."""
    base_steps: int = Field(640, ge=0)
    """Updates that train a locally made model in full; a model by path or hub id takes none."""
    base_lr: float = Field(3e-3, gt=0)
    """Peak learning rate of the full training."""
    adapter_steps: int = Field(80, ge=1)
    """Updates that train the adapter."""
    adapter_lr: float = Field(1e-3, gt=0)
    """Peak learning rate of the adapter."""
    batch_size: int = Field(64, ge=1)
    """Pairs in one update."""
    max_length: int = Field(192, ge=8)
    """Longest prompt with its completion, in tokens; a longer pair is left out and counted."""
    accumulate: int = Field(1, ge=1)
    """Parts that an update's pairs are read in, where they do not fit the memory at once."""
    gradient_checkpointing: bool = False
    """Save memory by computing activations twice; about a third slower."""
    report_to: tuple[str, ...] = ()
    """Further trackers beside TensorBoard, as transformers names them: wandb, mlflow, trackio."""
    adapter: AdapterConfig = AdapterConfig()
    """What the second training changes."""
    patience: int = Field(3, ge=1)
    """Evaluations without a better held-out loss after which a training stops."""
    evaluations: int = Field(6, ge=1)
    """Times that the held-out loss is measured during each training."""


def train_sft(
    train_pairs: Sequence[Pair],
    held_pairs: Sequence[Pair],
    config: SftConfig,
    out: Path,
    work: Path,
    seed: int,
    progress: Progress = silent,
    adapter_pairs: Sequence[Pair] | None = None,
) -> dict[str, Any]:
    """Train a writer and save ``out/base``, ``out/adapter`` and ``out/curve.json``.

    A locally made base is trained in full on ``train_pairs`` and then adapted on
    ``adapter_pairs`` (all of ``train_pairs`` when not given); a base by path or hub id is only
    adapted. Each training keeps the weights with the best loss on ``held_pairs``. ``work`` holds
    checkpoints and TensorBoard logs: after a kill the same call goes on from there.

    Returns ``base`` and ``adapter``, each with ``steps``, ``parameters`` (those that were trained),
    ``held_loss_before``, ``held_loss`` (nats per completion token) and ``seconds``, and
    ``pairs_too_long``.
    """
    for name, pairs in (("training", train_pairs), ("held-out", held_pairs)):
        if not pairs:
            raise UserError(f"sft: there are no {name} pairs; at least one is needed.")
    adapter_pairs = train_pairs if adapter_pairs is None else adapter_pairs
    claim_work(
        work,
        {
            "config": config.model_dump(),
            "seed": seed,
            "pairs": [list(train_pairs), list(held_pairs), list(adapter_pairs)],
        },
    )
    local = config.base.model == "local"
    if local:
        texts = [f"{pair.prompt} {pair.completion}" for pair in train_pairs]
        model, tokenizer = make_local_model(texts, config.base, seed)
    else:
        model, tokenizer = load_model(config.base.model)
    check_context(model, config.max_length)

    held = encode_pairs(tokenizer, held_pairs[:HELD_MEASURED], config.max_length)
    total = (config.base_steps if local else 0) + config.adapter_steps
    metrics: dict[str, Any] = {"base": None}
    curve: dict[str, list[dict[str, float]]] = {}
    common = {"tokenizer": tokenizer, "held": held, "config": config, "seed": seed}
    common |= {"progress": progress, "total": total, "work": work}
    encoded = encode_pairs(tokenizer, train_pairs, config.max_length)
    metrics["pairs_too_long"] = len(train_pairs) - len(encoded)
    with quiet_libraries():
        if local and config.base_steps:
            model, metrics["base"], curve["base"] = _train_phase("base", model, encoded, **common)
        if adapter_pairs is not train_pairs:
            encoded = encode_pairs(tokenizer, adapter_pairs, config.max_length)
        model, metrics["adapter"], curve["adapter"] = _train_phase(
            "adapter",
            model,
            encoded,
            peft_config=make_adapter(config.adapter, config.adapter_steps),
            **common,
        )
        with atomic_folder(out) as folder:
            save_reasoner(model, tokenizer, folder)
            write_json(folder / "curve.json", curve)
    return metrics


def encode_pairs(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], max_length: int
) -> Dataset:
    """Return token ids and labels of each pair; the labels of prompt tokens are IGNORED.

    Pairs longer than ``max_length`` tokens are left out: a cut reason never ends.
    """
    prompts = encode_prompts(tokenizer, [pair.prompt for pair in pairs])
    completions = encode_completions(tokenizer, [pair.completion for pair in pairs])
    fits = [(p, c) for p, c in zip(prompts, completions, strict=True) if len(p + c) <= max_length]
    if not fits:
        longest = min(len(p + c) for p, c in zip(prompts, completions, strict=True))
        raise UserError(
            f"sft: no pair fits max_length {max_length}, the shortest has {longest} tokens: "
            "raise max_length or shorten the prompts."
        )
    return Dataset.from_dict(
        {
            "input_ids": [p + c for p, c in fits],
            "labels": [[IGNORED] * len(p) + c for p, c in fits],
            "length": [len(p) + len(c) for p, c in fits],
        }
    )


class CompletionTrainer(SFTTrainer):
    """SFTTrainer whose head and softmax run on completion tokens only.

    TRL's fused head scores every position where Triton is missing; on a CPU the prompt's share
    of it is about half the time of a step of the small model.
    """

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the mean negative log-likelihood of the labelled tokens, in nats."""
        labels = inputs["labels"][:, 1:]
        # The head of a causal LM keeps the positions it is told to: here, from the first label on.
        first = int((labels != IGNORED).any(dim=0).nonzero()[0])
        logits = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            logits_to_keep=inputs["input_ids"].size(1) - first,
            use_cache=False,
        ).logits[:, :-1]
        targets = labels[:, first:]
        kept = targets != IGNORED
        reduction = "mean" if num_items_in_batch is None else "sum"
        loss = torch.nn.functional.cross_entropy(
            logits[kept].float(), targets[kept], reduction=reduction
        )
        if num_items_in_batch is not None:
            loss = loss / num_items_in_batch
        # Only training pays it: held-out losses of all kinds of adapters stay comparable.
        parts = self.args.gradient_accumulation_steps
        return loss + orthogonality(model) / parts if model.training else loss


def length_grouped(
    lengths: Sequence[int], batch_size: int, batches: int, rng: np.random.Generator
) -> list[int]:
    """Return ``batch_size * batches`` row numbers, in batches of like lengths in random order.

    Every row is used once before any is used again. The whole order is drawn at once, so that a
    resumed training meets the very batches that it would have met.
    """
    order: list[int] = []
    while len(order) < batch_size * batches:
        rows = rng.permutation(len(lengths))
        # Sorting within a window keeps batches varied from one pass to the next.
        windows = [rows[i : i + 50 * batch_size] for i in range(0, len(rows), 50 * batch_size)]
        rows = np.concatenate([w[np.argsort(np.take(lengths, w), kind="stable")] for w in windows])
        chunks = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
        # A short last chunk would shift the batches after it: it goes last.
        whole = [chunks[i] for i in rng.permutation(len(rows) // batch_size)]
        order += [int(row) for chunk in [*whole, *chunks[len(whole) :]] for row in chunk]
    return order[: batch_size * batches]


def _arguments(name: str, config: SftConfig, work: Path, seed: int) -> SFTConfig:
    full = name == "base" or config.adapter.kind == "full"
    # Its ranks are final only at the end, and PEFT cannot load half-way ones back.
    whole = name == "base" or config.adapter.kind != "adalora"
    steps = config.base_steps if name == "base" else config.adapter_steps
    interval = max(1, math.ceil(steps / config.evaluations))
    return SFTConfig(
        **quiet_arguments(work / name, seed)
        | {
            "report_to": list(config.report_to) or "none",
            "activation_checkpointing": config.gradient_checkpointing,
            "bf16": torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
        },
        max_steps=steps,
        per_device_train_batch_size=config.batch_size // config.accumulate,
        gradient_accumulation_steps=config.accumulate,
        per_device_eval_batch_size=config.batch_size,
        learning_rate=config.base_lr if name == "base" else config.adapter_lr,
        lr_scheduler_type="cosine",
        warmup_steps=steps // 20,
        weight_decay=0.01 if full else 0.0,
        # Pairs are encoded and measured already: TRL need not map over them again.
        max_length=None,
        train_sampling_strategy="sequential",
        eval_strategy="steps",
        save_strategy="steps" if whole else "no",
        eval_steps=interval,
        save_steps=interval,
        save_total_limit=2,
        load_best_model_at_end=whole,
        metric_for_best_model="eval_loss",
        prediction_loss_only=True,
    )


def _train_phase(
    name: str,
    model: PreTrainedModel,
    pairs: Dataset,
    *,
    tokenizer: PreTrainedTokenizerBase,
    held: Dataset,
    config: SftConfig,
    seed: int,
    progress: Progress,
    total: int,
    work: Path,
    peft_config: PeftConfig | None = None,
) -> tuple[PreTrainedModel, dict[str, float], list[dict[str, float]]]:
    """Train ``model`` and return it with its metrics and its curve."""
    started = time.monotonic()
    arguments = _arguments(name, config, work, seed)
    names = {"loss": "loss", "eval_loss": "held_loss"}
    before = 0 if name == "base" else total - config.adapter_steps
    size = config.batch_size // config.accumulate * config.accumulate
    order = length_grouped(pairs["length"], size, arguments.max_steps, np.random.default_rng(seed))
    trainer = CompletionTrainer(
        model=model,
        args=arguments,
        train_dataset=pairs.select(order),
        eval_dataset=held,
        processing_class=tokenizer,
        peft_config=peft_config,
        callbacks=[
            ReportProgress(progress, names, before, total),
            ShareOutRanks()
            if isinstance(peft_config, AdaLoraConfig)
            else EarlyStoppingCallback(early_stopping_patience=config.patience),
        ],
    )
    with tensorboard(trainer, work / "tb" / name):
        held_before = trainer.evaluate()["eval_loss"]
        checkpoint = last_checkpoint(work / name)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    curve = [
        {ours: float(line[key]) for key, ours in {"step": "step", **names}.items() if key in line}
        for line in trainer.state.log_history
        if "loss" in line or "eval_loss" in line
    ]
    trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    metrics = {
        "steps": trainer.state.global_step,
        "parameters": trained,
        "held_loss_before": held_before,
        "held_loss": float(np.min([line["held_loss"] for line in curve if "held_loss" in line])),
        "seconds": time.monotonic() - started,
    }
    return trainer.model, metrics, curve
