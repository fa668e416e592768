"""Held-out prompts during training: what a policy earns there, and the best adapter so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerBase

from envs.files import atomic_path
from policies.reasoner.generate import generate
from policies.reasoner.reward import Reward, ask

Row = dict[str, float]
#: Called as ``measure(model)``; returns ``held_reward``, its standard error and ``held_vetoed``.
Measure = Callable[[Any], Row]


def held_out_measure(
    reward: Reward,
    rows: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> Measure:
    """Return a function that lets a policy write once for each row and scores what it wrote.

    Each call draws the same random numbers, so two policies differ by what they are; the random
    state of the training is not touched.
    """

    def measure(model: Any) -> Row:
        written = generate(
            model,
            tokenizer,
            [row["prompt"] for row in rows],
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
        )
        scores = ask(reward, rows, written)
        figures = {
            "held_reward": float(scores.total.mean()),
            "held_reward_se": float(scores.total.std() / len(rows) ** 0.5),
        }
        if scores.vetoed is not None:
            figures["held_vetoed"] = float(scores.vetoed.mean())
        return figures

    return measure


class BestAdapter:
    """The adapter with the highest held-out reward so far, in one file that survives a kill."""

    def __init__(self, path: Path, veto_rise: float | None) -> None:
        """Keep it at ``path``; more vetoes than at first plus ``veto_rise`` rule one out."""
        self._path, self._veto_rise = path, veto_rise

    def forget(self) -> None:
        """Drop what an earlier training left."""
        self._path.unlink(missing_ok=True)

    def kept(self) -> Row | None:
        """Return ``cycle`` and ``held_reward`` of the adapter that is kept."""
        if not self._path.is_file():
            return None
        with safe_open(self._path, framework="pt") as stored:
            return {name: float(value) for name, value in stored.metadata().items()}

    def offer(self, model: PeftModel, row: Row, first: Row) -> None:
        """Keep the adapter of ``model`` if its measured ``row`` is the best; ``first`` is SFT's."""
        kept = self.kept()
        risen = row.get("held_vetoed", 0.0) - first.get("held_vetoed", 0.0)
        if self._veto_rise is not None and risen > self._veto_rise:
            return
        if kept is not None and row["held_reward"] <= kept["held_reward"]:
            return
        weights = {
            name: weight.detach().cpu().contiguous()
            for name, weight in get_peft_model_state_dict(model).items()
        }
        told = {name: repr(row[name]) for name in ("cycle", "held_reward")}
        with atomic_path(self._path) as temporary:
            save_file(weights, temporary, metadata=told)

    def restore(self, model: PeftModel) -> None:
        """Put the kept adapter into ``model``."""
        weights = {name: weight.to(model.device) for name, weight in load_file(self._path).items()}
        with torch.no_grad():
            set_peft_model_state_dict(model, weights)
