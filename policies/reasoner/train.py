"""Reinforcement learning of the reasoner: from an SFT folder and a reward to a PPO adapter."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from datasets import Dataset
from pydantic import Field, model_validator
from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from envs.errors import UserError
from envs.files import atomic_folder, sha256, write_json
from envs.progress import Progress, silent
from envs.settings import Settings
from policies.reasoner.generate import load_reasoner
from policies.reasoner.ppo import PpoArguments, PpoTrainer
from sft.base_model import check_context, decode_completions, encode_prompts
from sft.quiet import quiet_libraries
from sft.trainer_tools import (
    claim_work,
    last_checkpoint,
    lora,
    quiet_arguments,
    save_reasoner,
    tensorboard,
)
from sft.virtual_tokens import WithVirtualTokens

#: Called as ``reward(prompts, completions, columns)``; returns ``(B,)`` finite numbers.
Reward = Callable[[list[str], list[str], dict[str, list[Any]]], np.ndarray]

#: Cycles whose prompts are laid out when seconds are the budget; then they come round again.
MANY = 1000
#: More cycles than any budget in seconds reaches.
ENDLESS = 1_000_000
#: Log key of TRL -> name in the curve.
FIGURES = {
    "reward": "reward",
    "reward_std": "reward_std",
    "kl": "kl",
    "kl_sequence": "kl_sequence",
    "entropy": "entropy",
    "vf_loss": "vf_loss",
    "explained_variance": "explained_variance",
    "clip_ratio/region_mean": "clip_fraction",
    "completions/mean_length": "length",
    "grad_norm": "grad_norm",
    "seconds/generate": "seconds_generate",
    "seconds/reward": "seconds_reward",
    "seconds/reference": "seconds_reference",
}


class PpoConfig(Settings):
    """Reinforcement learning of the reasoner."""

    algorithm: Literal["ppo", "grpo", "rloo"] = "ppo"
    """`ppo` has a critic (ours, on TRL); `grpo` and `rloo` are TRL's own."""
    seconds: float | None = Field(None, gt=0)
    """Time to train for, instead of `cycles`; the result then depends on the machine's speed."""
    cycles: int | None = Field(80, ge=1)
    """Cycles to train for, each writes, scores and learns once; null for `seconds`."""
    completions: int = Field(256, ge=2)
    """Completions written in a cycle."""
    generations: int = Field(8, ge=2)
    """Completions of each prompt, which are each other's baseline."""
    minibatches: int = Field(4, ge=1)
    """Updates that share a cycle's completions in one epoch."""
    epochs: int = Field(1, ge=1)
    """Times that a cycle's completions are learned from."""
    learning_rate: float = Field(8e-4, gt=0)
    """First learning rate of the adapter, which falls to zero over `cycles` (with `seconds` it
    stays); 1e-3 was seen to diverge."""
    critic_learning_rate: float = Field(1e-3, gt=0)
    """Learning rate of the critic (ppo only)."""
    kl_coefficient: float = Field(0.03, ge=0)
    """Price of a nat of KL from the SFT policy: in the reward for ppo, in the loss for grpo."""
    clip: float = Field(0.2, gt=0)
    """How far the probability ratio of a token may move before its gradient stops."""
    gamma: float = Field(1.0, gt=0, le=1)
    """Discount per token (ppo only)."""
    lam: float = Field(0.95, ge=0, le=1)
    """GAE's lambda: 1 trusts the reward alone, 0 the critic alone (ppo only)."""
    value_clip: float = Field(0.2, gt=0)
    """How far a value may move in a cycle before its gradient stops (ppo only)."""
    value_coefficient: float = Field(0.1, ge=0)
    """Weight of the critic's loss (ppo only)."""
    max_new_tokens: int = Field(32, ge=1)
    """Longest completion, in tokens."""
    temperature: float = Field(0.7, gt=0)
    """Sampling temperature of the completions: that of the policy which is trained and measured."""
    lora_r: int = Field(8, ge=1)
    """Rank of the LoRA matrices."""
    lora_alpha: int = Field(16, ge=1)
    """LoRA scale: the update counts alpha / r times."""
    checkpoint_every: int = Field(5, ge=1)
    """Cycles between two checkpoints, from which a killed training goes on."""

    @model_validator(mode="after")
    def _consistent(self) -> PpoConfig:
        if (self.seconds is None) == (self.cycles is None):
            raise ValueError("give a budget in `seconds` or in `cycles`, and null for the other")
        if self.completions % (self.generations * self.minibatches):
            raise ValueError(
                f"completions ({self.completions}) must be a multiple of generations times "
                f"minibatches ({self.generations} x {self.minibatches})"
            )
        return self

    @property
    def updates(self) -> int:
        """Updates in a cycle."""
        return self.epochs * self.minibatches


def train_ppo(
    sft_folder: Path,
    prompts: Sequence[dict[str, Any]],
    reward: Reward,
    config: PpoConfig,
    out: Path,
    work: Path,
    seed: int,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train a fresh adapter on the SFT policy and save ``out/base``, ``adapter``, ``curve.json``.

    ``prompts`` are rows with ``prompt`` and any further columns, which ``reward`` gets as lists.
    ``out/base`` is the SFT policy with its adapter merged: the reference of the KL and the base
    of ``out/adapter``. ``work`` holds checkpoints and TensorBoard logs: after a kill the same
    call goes on from there (a changed reward function is not noticed: give it an empty folder).
    Raises UserError when the reward returns a wrong shape or NaN.

    Returns ``cycles``, ``seconds``, ``reward_first`` and ``reward_last`` (means of the first and
    of the last three cycles' samples, on training prompts), ``kl`` (nats per token) and
    ``seconds_per_cycle`` by part.
    """
    if not prompts:
        raise UserError("ppo: there are no prompts; at least one is needed.")
    texts = [row["prompt"] for row in prompts]
    weights = {path.parent.name: sha256(path) for path in sft_folder.glob("*/*.safetensors")}
    claim_work(
        work, {"config": config.model_dump(), "seed": seed, "prompts": texts, "sft": weights}
    )
    model, tokenizer = load_reasoner(sft_folder)
    if isinstance(model, WithVirtualTokens):
        raise UserError(
            f"ppo: the adapter in {sft_folder} is made of virtual tokens, which cannot be merged "
            "into a reference policy: train sft with adapter.kind lora, adalora or full."
        )
    longest = max(map(len, encode_prompts(tokenizer, texts)))
    check_context(model, longest + config.max_new_tokens)
    started = time.monotonic()
    with quiet_libraries():
        budget = _Budget(config, progress)
        trainer = _trainer(config, model, tokenizer, prompts, reward, work, seed, budget)
        with tensorboard(trainer, work / "tb"):
            checkpoint = last_checkpoint(work)
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        curve = _curve(trainer.state.log_history, config.updates)
        with atomic_folder(out) as folder:
            save_reasoner(trainer.model, tokenizer, folder)
            write_json(folder / "curve.json", curve)
    return _summary(curve, time.monotonic() - started)


def _trainer(
    config: PpoConfig,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[dict[str, Any]],
    reward: Reward,
    work: Path,
    seed: int,
    budget: TrainerCallback,
) -> Trainer:
    """Return TRL's trainer for the chosen algorithm, ready to train."""
    # The whole order is drawn at once, so that a resumed training meets the same prompts. Only
    # a row's number travels through Arrow, which would change columns with nested values.
    needed = config.completions // config.generations * (config.cycles or MANY)
    rng = np.random.default_rng(seed)
    passes = [rng.permutation(len(prompts)) for _ in range(-(-needed // len(prompts)))]
    rows = np.concatenate(passes)[:needed].tolist()
    dataset = Dataset.from_dict({"prompt": [prompts[i]["prompt"] for i in rows], "row": rows})
    arguments: dict[str, Any] = {
        **quiet_arguments(work, seed),
        "per_device_train_batch_size": config.completions // config.minibatches,
        "steps_per_generation": config.minibatches,
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
    }
    trainer_type: type[Trainer]
    if config.algorithm == "ppo":
        arguments |= {
            name: getattr(config, name)
            for name in ("kl_coefficient", "gamma", "lam", "value_clip", "value_coefficient")
        }
        arguments["critic_learning_rate"] = config.critic_learning_rate
        trainer_type, trl_config = PpoTrainer, PpoArguments(**arguments)
    elif config.algorithm == "grpo":
        trainer_type = GRPOTrainer
        trl_config = GRPOConfig(**arguments, beta=config.kl_coefficient, loss_type="bnpo")
    else:
        trainer_type = RLOOTrainer
        trl_config = RLOOConfig(**arguments, beta=config.kl_coefficient)
    return trainer_type(
        model=model,
        args=trl_config,
        train_dataset=dataset,
        processing_class=tokenizer,
        reward_funcs=checked_reward(reward, prompts, tokenizer),
        peft_config=lora(config.lora_r, config.lora_alpha),
        callbacks=[budget],
    )


def checked_reward(
    reward: Reward, prompts: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
) -> Callable[..., list[float]]:
    """Return ``reward`` as a TRL reward function that lets no NaN and no wrong length through."""
    name = getattr(reward, "__name__", type(reward).__name__)
    columns = [key for key in prompts[0] if key != "prompt"]

    def score(completion_ids: list[list[int]], row: list[int], **_: Any) -> list[float]:
        texts = decode_completions(tokenizer, completion_ids)
        chosen = [prompts[index] for index in row]
        values = np.asarray(
            reward(
                [one["prompt"] for one in chosen],
                texts,
                {key: [one[key] for one in chosen] for key in columns},
            ),
            dtype=np.float64,
        )
        if values.shape != (len(texts),):
            raise UserError(
                f"ppo: reward {name!r} must return one number for each of {len(texts)} "
                f"completions, it returned shape {values.shape}: mend the reward."
            )
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise UserError(
                f"ppo: reward {name!r} returned {values[bad[0]]} for the completion "
                f"{texts[bad[0]]!r} of the prompt {chosen[bad[0]]['prompt']!r}: every reward must "
                "be finite; mend the reward."
            )
        return values.tolist()

    score.__name__ = name
    return score


class _Budget(TrainerCallback):
    """Stops after a number of seconds, counted over all the runs of a resumed training."""

    def __init__(self, config: PpoConfig, progress: Progress) -> None:
        self.config, self.progress = config, progress
        self.spent = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count what earlier runs spent, from the log that the checkpoint carries."""
        rows = _curve(state.log_history, self.config.updates)
        self.spent = sum(row["seconds"] for row in rows)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Report one cycle, and stop when the time is spent."""
        rows = _curve([{**logs, "step": state.global_step}], self.config.updates)
        if not rows:
            return
        self.spent += rows[0]["seconds"]
        figures = ("reward", "kl", "entropy")
        shown: dict[str, float] = {name: rows[0][name] for name in figures if name in rows[0]}
        if self.config.cycles is not None:
            self.progress(int(rows[0]["cycle"]), self.config.cycles, shown)
        elif self.config.seconds is not None:
            total = round(self.config.seconds)
            self.progress(min(round(self.spent), total), total, shown)
            control.should_training_stop |= self.spent >= self.config.seconds


def _curve(history: list[dict[str, Any]], updates: int) -> list[dict[str, float]]:
    """Return one row of figures for each cycle in a trainer's log."""
    rows = []
    for line in history:
        if "reward" in line:
            row = {"cycle": line["step"] / updates, "seconds": line["step_time"] * updates}
            row |= {
                ours: float(line[key])
                for key, ours in FIGURES.items()
                if line.get(key) is not None and np.isfinite(line[key])
            }
            rows.append(row)
    return rows


def _summary(curve: list[dict[str, float]], seconds: float) -> dict[str, Any]:
    """Return the figures of a training that are worth a glance."""
    parts = {
        key.removeprefix("seconds_"): float(np.mean([row[key] for row in curve]))
        for key in curve[-1]
        if key.startswith("seconds_")
    }
    total = float(np.mean([row["seconds"] for row in curve]))
    return {
        "cycles": len(curve),
        "seconds": seconds,
        "reward_first": curve[0]["reward"],
        "reward_last": float(np.mean([row["reward"] for row in curve[-3:]])),
        "kl": curve[-1].get("kl"),
        "entropy": curve[-1].get("entropy"),
        "length": curve[-1].get("length"),
        "seconds_per_cycle": {"total": total, **parts, "update": total - sum(parts.values())},
    }
