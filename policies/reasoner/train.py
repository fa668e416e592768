"""Reinforcement learning of the reasoner: from an SFT folder and a reward to a PPO adapter."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, Trainer
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from envs.errors import UserError
from envs.files import atomic_folder, sha256, write_json
from envs.progress import Progress, silent
from policies.reasoner.alarms import all_alarms
from policies.reasoner.config import PpoConfig
from policies.reasoner.curve import summary
from policies.reasoner.generate import load_reasoner
from policies.reasoner.held_out import BestAdapter, held_out_measure
from policies.reasoner.ppo import PpoArguments, PpoTrainer
from policies.reasoner.prompts import OurPrompts
from policies.reasoner.reward import Reward, trl_reward
from policies.reasoner.reward_state import KeepsReward
from policies.reasoner.watch import Watch
from sft.base_model import check_context, encode_prompts
from sft.quiet import quiet_libraries
from sft.ranks import join, main_process, on_main, processes, wait_for_all
from sft.trainer_tools import (
    claim_work,
    last_checkpoint,
    lora,
    quiet_arguments,
    save_reasoner,
    tensorboard,
)
from sft.virtual_tokens import WithVirtualTokens

#: Cycles whose prompts are laid out when seconds are the budget; then they come round again.
MANY = 1000
#: More cycles than any budget in seconds reaches.
ENDLESS = 1_000_000
#: Settings of ours that go to our trainer by their own names.
OURS = (
    "kl_in", "kl_coefficient", "kl_target", "gamma", "lam", "critic", "critic_learning_rate",
    "critic_epochs", "value_clip",
)  # fmt: skip
BEST_FILE = "best.safetensors"


class _Ppo(KeepsReward, PpoTrainer):
    """Ours."""


class _Grpo(KeepsReward, OurPrompts, GRPOTrainer):
    """TRL's own."""


class _Rloo(KeepsReward, OurPrompts, RLOOTrainer):
    """TRL's own."""


def train_ppo(
    sft_folder: Path,
    prompts: Sequence[dict[str, Any]],
    reward: Reward,
    config: PpoConfig,
    out: Path,
    work: Path,
    seed: int,
    progress: Progress = silent,
    held_prompts: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Train a fresh adapter on the SFT policy and save ``out/base``, ``adapter``, ``curve.json``.

    ``prompts`` are rows with ``prompt`` and any further columns, which ``reward`` gets as lists.
    On ``held_prompts``, rows like them that are never learned from, the policy writes every
    ``config.eval_every`` cycles; the best adapter there is what is saved (``config.keep``).
    ``out/base`` is the SFT policy with its adapter merged: the reference of the KL and the base
    of ``out/adapter``. ``work`` holds checkpoints and TensorBoard logs: after a kill the same
    call goes on from there (a changed reward function is not noticed: give it an empty folder).
    Under a launcher every process calls this alike, and the main one writes.

    Raises UserError, before the training, for prompts or a model that do not fit, and during it
    for a reward that raises, returns a wrong shape or NaN or the same number on and on, and for
    completions that are all empty.

    Returns ``cycles``, ``seconds``, ``reward_first`` and ``reward_last`` (means of the first and
    of the last three cycles' samples, on training prompts), ``kl`` (nats per token),
    ``kl_sequence`` (nats per completion), ``seconds_per_cycle`` by part, ``alarms`` (a list of
    ``{cycle, name, value, limit, action}``), and with held-out prompts ``held_reward_first``,
    ``held_reward`` and ``kept_cycle`` of what was saved.
    """
    model, tokenizer = _checked_model(sft_folder, prompts, held_prompts, config)
    texts = [row["prompt"] for row in prompts]
    weights = {path.parent.name: sha256(path) for path in sft_folder.glob("*/*.safetensors")}
    inputs = {"config": config.model_dump(), "seed": seed, "prompts": texts, "sft": weights}
    if held_prompts:
        inputs["held"] = [row["prompt"] for row in held_prompts]
    on_main(lambda: claim_work(work, inputs))
    measure = None
    if held_prompts:
        measure = held_out_measure(
            reward, held_prompts, tokenizer, config.max_new_tokens, config.temperature, seed
        )
    veto_rise = config.alarms.vetoed.limit if config.alarms.vetoed else None
    best = BestAdapter(work / BEST_FILE, veto_rise)
    watch = Watch(config, progress, measure, best if config.keep == "best" else None)
    started = time.monotonic()
    with quiet_libraries():
        trainer = make_trainer(config, model, tokenizer, prompts, reward, work, seed, watch)
        with tensorboard(trainer, work / "tb"):
            checkpoint = last_checkpoint(work)
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        rows = watch.rows(trainer.state)
        curve = [row for row in rows if row["cycle"] >= 1]
        kept = _kept(config, rows, best) if held_prompts else {}
        if main_process():
            if config.keep == "best" and kept:
                best.restore(trainer.model)
            with atomic_folder(out) as folder:
                save_reasoner(trainer.model, tokenizer, folder)
                write_json(folder / "curve.json", curve)
        wait_for_all()
    figures = summary(curve, time.monotonic() - started)
    return {**figures, **kept, "alarms": all_alarms(curve, config.alarms)}


def _checked_model(
    sft_folder: Path,
    prompts: Sequence[Mapping[str, Any]],
    held_prompts: Sequence[Mapping[str, Any]],
    config: PpoConfig,
) -> tuple[Any, PreTrainedTokenizerBase]:
    """Return the SFT policy, its adapter merged, and its tokenizer, or raise UserError."""
    if not prompts:
        raise UserError("ppo: there are no prompts; at least one is needed.")
    part = config.generations * config.minibatches * config.accumulate * processes()
    if config.completions % part:
        raise UserError(
            f"ppo: completions ({config.completions}) must be a multiple of {part} (generations "
            f"x minibatches x accumulate x {processes()} processes): change one of them."
        )
    if config.use_vllm and importlib.util.find_spec("vllm") is None:
        raise UserError(
            "ppo: use_vllm is true but the package vllm is not installed: install it (it needs a "
            "GPU), or set ppo.use_vllm to false, which writes with PyTorch."
        )
    try:
        model, tokenizer = load_reasoner(sft_folder)
    except RuntimeError as error:  # what PEFT raises where shapes differ
        raise UserError(
            f"ppo: the adapter in {sft_folder} does not fit the base beside it "
            f"({str(error).strip().splitlines()[-1].strip()}): give a folder that one sft training "
            "wrote."
        ) from error
    if isinstance(model, WithVirtualTokens):
        raise UserError(
            f"ppo: the adapter in {sft_folder} is made of virtual tokens, which cannot be merged "
            "into a reference policy: train sft with adapter.kind lora, adalora or full."
        )
    texts = [row["prompt"] for row in (*prompts, *held_prompts)]
    longest = max(map(len, encode_prompts(tokenizer, texts)))
    check_context(model, longest + config.max_new_tokens)
    return model, tokenizer


def _kept(config: PpoConfig, rows: Sequence[Mapping[str, float]], best: BestAdapter) -> Any:
    """Return what is known on held-out prompts of the policy before, and of the one to save."""
    measured = [row for row in rows if "held_reward" in row]
    last = measured[-1]
    kept = best.kept() if config.keep == "best" else None
    chosen = kept or last
    return {
        "held_reward_first": measured[0]["held_reward"],
        "held_reward": chosen["held_reward"],
        "kept_cycle": round(chosen["cycle"]),
    }


def make_trainer(
    config: PpoConfig,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Mapping[str, Any]],
    reward: Reward,
    work: Path,
    seed: int,
    watch: Watch,
) -> Trainer:
    """Return TRL's trainer for the chosen algorithm, ready to train."""
    if processes() > 1:
        join()
    arguments: dict[str, Any] = {
        **quiet_arguments(work, seed),
        "per_device_train_batch_size": config.completions
        // (config.minibatches * config.accumulate * processes()),
        "gradient_accumulation_steps": config.accumulate,
        "steps_per_generation": config.minibatches * config.accumulate,
        "num_generations": config.generations,
        "num_iterations": config.epochs,
        "max_completion_length": config.max_new_tokens,
        "temperature": config.temperature,
        "top_k": 0,
        "shuffle_dataset": False,
        "learning_rate": config.learning_rate,
        # Towards the end of a known budget small steps settle what large ones have found.
        "lr_scheduler_type": "linear" if config.cycles else "constant",
        "epsilon": config.clip,
        "max_steps": (config.cycles or ENDLESS) * config.updates,
        "logging_steps": config.updates,
        "save_steps": config.checkpoint_every * config.updates,
        "save_total_limit": 2,
        # Every weight of the adapter takes part in every loss; to search for those that do not
        # would also look at the last of the two passes of an update only.
        "ddp_find_unused_parameters": False,
        "use_vllm": config.use_vllm,
        "vllm_mode": "colocate",
    }
    trainer_type: type[Trainer]
    if config.algorithm == "ppo":
        arguments |= {name: getattr(config, name) for name in OURS}
        trainer_type, trl_config = (
            _Ppo,
            PpoArguments(**arguments, entropy_coef=config.entropy_coefficient),
        )
    elif config.algorithm == "grpo":
        trainer_type = _Grpo
        trl_config = GRPOConfig(
            **arguments,
            beta=config.kl_coefficient,
            loss_type="bnpo",
            entropy_coef=config.entropy_coefficient,
        )
    else:
        trainer_type = _Rloo
        trl_config = RLOOConfig(**arguments, beta=config.kl_coefficient)
    trainer = trainer_type(
        model=model,
        args=trl_config,
        train_dataset=_prompts_in_order(config, prompts, seed),
        processing_class=tokenizer,
        reward_funcs=trl_reward(reward, prompts, tokenizer),
        peft_config=lora(config.lora_r, config.lora_alpha),
        callbacks=[watch],
    )
    if hasattr(reward, "state"):
        trainer.learned_reward = reward
    watch.trainer = trainer
    return trainer


def _prompts_in_order(
    config: PpoConfig, prompts: Sequence[Mapping[str, Any]], seed: int
) -> Dataset:
    """Return the prompts of the whole training, so that a resumed one meets the same.

    Only a row's number travels through Arrow, which would change columns with nested values.
    """
    needed = config.completions // config.generations * (config.cycles or MANY)
    rng = np.random.default_rng(seed)
    passes = [rng.permutation(len(prompts)) for _ in range(-(-needed // len(prompts)))]
    rows = np.concatenate(passes)[:needed].tolist()
    return Dataset.from_dict({"prompt": [prompts[i]["prompt"] for i in rows], "row": rows})
