"""Supervised fine-tuning with TRL: a base model in full, then an adapter on it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import AdaLoraConfig, PeftConfig
from transformers import EarlyStoppingCallback, PreTrainedModel, PreTrainedTokenizerBase
from trl import SFTConfig

from envs.errors import UserError
from envs.files import atomic_folder, write_json
from envs.progress import Progress, silent
from sft.adapters import ShareOutRanks, lift_zero_rows, make_adapter
from sft.base_model import check_context, context_length, load_model, make_local_model
from sft.checks import (
    Warn,
    check_batch,
    check_lengths,
    check_settings,
    pairs_at_once,
    tokens_needed,
    unheard,
)
from sft.completions import CompletionTrainer, Pair, encode_pairs, length_grouped
from sft.quiet import quiet_libraries
from sft.ranks import from_main, main_process, on_main, processes, wait_for_all
from sft.train_config import SftConfig
from sft.trainer_tools import (
    ReportProgress,
    claim_work,
    last_checkpoint,
    quiet_arguments,
    save_reasoner,
    tensorboard,
)

#: Held-out pairs measured at each evaluation: enough for a steady mean, cheap enough to repeat.
HELD_MEASURED = 256


@dataclass(frozen=True)
class Fitted:
    """A trained writer in memory, and how its training went."""

    model: Any
    """The base with its adapter on it; of `full` training a plain model."""
    tokenizer: PreTrainedTokenizerBase
    metrics: dict[str, Any]
    curve: dict[str, list[dict[str, float]]]


def train_sft(
    train_pairs: Sequence[Pair],
    held_pairs: Sequence[Pair],
    config: SftConfig,
    out: Path,
    work: Path,
    seed: int,
    progress: Progress = silent,
    adapter_pairs: Sequence[Pair] | None = None,
    warn: Warn = unheard,
) -> dict[str, Any]:
    """Train a writer and save ``out/base``, ``out/adapter`` and ``out/curve.json``.

    As :func:`fit_sft`, whose metrics it returns; the main process writes.

    Raises:
        UserError: as :func:`fit_sft`; nothing was written then.
    """
    fitted = fit_sft(
        train_pairs, held_pairs, config, work, seed, progress, adapter_pairs, warn
    )  # fmt: skip
    if main_process():
        with atomic_folder(out) as folder, quiet_libraries():
            save_reasoner(fitted.model, fitted.tokenizer, folder)
            write_json(folder / "curve.json", fitted.curve)
    wait_for_all()
    return fitted.metrics


def fit_sft(
    train_pairs: Sequence[Pair],
    held_pairs: Sequence[Pair],
    config: SftConfig,
    work: Path,
    seed: int,
    progress: Progress = silent,
    adapter_pairs: Sequence[Pair] | None = None,
    warn: Warn = unheard,
) -> Fitted:
    """Train a writer.

    A locally made base is trained in full on ``train_pairs`` and then adapted on
    ``adapter_pairs`` (all of ``train_pairs`` when not given); a base by path or hub id is only
    adapted. Each training keeps the weights with the best loss on ``held_pairs``. ``work`` holds
    checkpoints and TensorBoard logs: after a kill the same call goes on from there.

    Every process of a launch makes the same call with the same arguments; together they make the
    updates that one process would make. Doubts about the settings and the data are told through
    ``warn``.

    The metrics are ``base`` and ``adapter``, each with ``steps``, ``parameters`` (those that were
    trained), ``held_loss_before``, ``held_loss`` (nats per completion token) and ``seconds``, and
    ``pairs_too_long``, the number of training pairs left out.

    Raises:
        UserError: there are no pairs, too few for a batch or none that fits, or the model or a
            setting cannot be used. Nothing has begun then.
    """
    warn = warn if main_process() else unheard
    adapter_pairs = train_pairs if adapter_pairs is None else adapter_pairs
    wanted = {"training": train_pairs, "held-out": held_pairs, "adapter": adapter_pairs}
    for name, pairs in wanted.items():
        if not pairs:
            raise UserError(f"sft: there are no {name} pairs; at least one is needed.")
    check_settings(config, warn)
    local = config.base.model == "local"
    if local:
        texts = [f"{pair.prompt} {pair.completion}" for pair in train_pairs]
        model, tokenizer = make_local_model(texts, config.base, seed)
    else:
        model, tokenizer = load_model(config.base.model, config.base.chat)
    check_context(model, tokens_needed(config))

    def fitting(name: str, pairs: Sequence[Pair]) -> Dataset:
        encoded = encode_pairs(tokenizer, pairs)
        limit = config.max_length
        check_lengths(name, encoded["length"], limit, context_length(model), warn)
        return encoded.select(np.flatnonzero(np.array(encoded["length"]) <= limit))

    training, same = fitting("training", train_pairs), adapter_pairs is train_pairs
    data = {"base": training, "adapter": training if same else fitting("adapter", adapter_pairs)}
    held = fitting("held-out", held_pairs[:HELD_MEASURED])
    phases = ("base", "adapter") if local and config.base_steps else ("adapter",)
    for phase in phases:
        check_batch(config, phase, len(data[phase]))
    inputs = {
        "config": config.model_dump(),
        "seed": seed,
        "processes": processes(),
        "pairs": [list(pairs) for pairs in wanted.values()],
    }
    on_main(lambda: claim_work(work, inputs))

    steps = {"base": config.base_steps, "adapter": config.adapter_steps}
    metrics: dict[str, Any] = {"base": None, "pairs_too_long": len(train_pairs) - len(training)}
    curve: dict[str, list[dict[str, float]]] = {}
    with quiet_libraries():
        for phase in phases:
            if phase == "adapter" and config.adapter.dora:
                lift_zero_rows(model)
            adapter = make_adapter(config.adapter, steps["adapter"])
            model, metrics[phase], curve[phase] = _train_phase(
                phase,
                model,
                data[phase],
                tokenizer=tokenizer,
                held=held,
                config=config,
                seed=seed,
                progress=progress if main_process() else silent,
                total=sum(steps[name] for name in phases),
                work=work,
                peft_config=adapter if phase == "adapter" else None,
            )
    return Fitted(model, tokenizer, from_main(metrics), curve)


def _arguments(name: str, config: SftConfig, work: Path, seed: int) -> SFTConfig:
    full = name == "base" or config.adapter.kind == "full"
    # Its ranks are final only at the end, and PEFT cannot load half-way ones back.
    whole = name == "base" or config.adapter.kind != "adalora"
    steps = config.base_steps if name == "base" else config.adapter_steps
    interval = max(1, math.ceil(steps / config.evaluations))
    return SFTConfig(
        **quiet_arguments(work / name, seed)
        | {
            # TensorBoard is on already, in a folder that we know.
            "report_to": [name for name in config.report_to if name != "tensorboard"] or "none",
            "activation_checkpointing": config.gradient_checkpointing,
            "bf16": torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
        },
        max_steps=steps,
        per_device_train_batch_size=pairs_at_once(config),
        gradient_accumulation_steps=config.accumulate,
        # Without gradients there is room for a whole update's share.
        per_device_eval_batch_size=pairs_at_once(config) * config.accumulate,
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
    order = length_grouped(
        pairs["length"], config.batch_size, arguments.max_steps, np.random.default_rng(seed)
    )
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
        # One process decides: to another a checkpoint that it writes would look whole.
        checkpoint = on_main(
            lambda: str(found) if (found := last_checkpoint(work / name)) else None
        )
        # A checkpoint's log has the loss before training. It is not measured by `evaluate`, which
        # would leave the model without the wrapper that joins the gradients of the processes.
        trainer.args.eval_on_start = checkpoint is None
        trainer.train(resume_from_checkpoint=checkpoint)
    curve = [
        {ours: float(line[key]) for key, ours in {"step": "step", **names}.items() if key in line}
        for line in trainer.state.log_history
        if "loss" in line or "eval_loss" in line
    ]
    held_losses = [line["held_loss"] for line in curve if "held_loss" in line]
    metrics = {
        "steps": trainer.state.global_step,
        "parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "held_loss_before": held_losses[0],
        # That of the weights which are kept: the best ones, or the last where none are stored.
        "held_loss": min(held_losses[1:]) if arguments.load_best_model_at_end else held_losses[-1],
        "seconds": time.monotonic() - started,
    }
    return trainer.model, metrics, [line for line in curve if line["step"] > 0]
