"""PPO on TRL's online trainer: a critic, GAE, value clipping and a per-token KL penalty.

TRL 1.16 has no PPO trainer of its own any more (huggingface/trl#7020), but its GRPO trainer
accepts advantages per token, ``(B, T)``, from a subclass. TRL keeps generation, the clipped
policy loss, PEFT, logging and checkpoints; this file adds what makes it PPO
(Schulman et al. 2017, arXiv:1707.06347).

One cycle of the trainer: generate completions, score them with the policy and the reference,
shape rewards, then ``num_iterations`` epochs of ``steps_per_generation`` minibatch updates.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import DynamicCache
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import split_tensor_dict

from policies.reasoner.gae import (
    clipped_value_loss,
    gae,
    kl_k1,
    kl_k3,
    leave_one_out,
    masked_mean,
    token_rewards,
    whiten,
)
from policies.reasoner.generate import count, left_pad, read, write

CRITIC_FILE = "critic.safetensors"


@dataclass
class PpoArguments(GRPOConfig):
    """TRL's GRPO arguments, set so that its loss is PPO's, and what PPO needs besides."""

    # The KL is paid in the reward, so TRL's own KL term and its reference pass are off.
    beta: float = 0.0
    loss_type: str = "bnpo"
    scale_rewards: str = "none"
    kl_coefficient: float = field(default=0.05, metadata={"help": "Price of a nat of KL."})
    gamma: float = field(default=1.0, metadata={"help": "Discount per token."})
    lam: float = field(default=0.95, metadata={"help": "GAE's lambda."})
    value_clip: float = field(default=0.2, metadata={"help": "Largest move of a value."})
    value_coefficient: float = field(default=0.1, metadata={"help": "Weight of the value loss."})
    critic_learning_rate: float = field(default=1e-3, metadata={"help": "Rate of the critic."})


class Critic(nn.Module):
    """A value head: the policy's hidden state before a token -> the value of that state.

    The states are detached, so the critic can never pull the policy away from writing well.
    """

    def __init__(self, hidden: int) -> None:
        """Build the head; its last layer is zero, so that every value starts at 0."""
        super().__init__()
        self.inner = nn.Linear(hidden, hidden)
        self.outer = nn.Linear(hidden, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Map states ``(B, T, H)`` to values ``(B, T)``."""
        return self.outer(torch.tanh(self.inner(states.detach().float()))).squeeze(-1)


class PpoTrainer(GRPOTrainer):
    """TRL's GRPO trainer with a critic; pass a base model and a ``peft_config``.

    The reference policy is the base model without the adapter. Methods with a leading underscore
    override TRL 1.16's; ``tests/reasoner/test_ppo_trl_surface.py`` pins what they rely on. One
    process: the critic is called outside the model's own forward pass.
    """

    args: PpoArguments
    _buffered_inputs: list[dict[str, Any]] | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Build TRL's trainer, then hang the critic on the model so it trains with it."""
        super().__init__(*args, **kwargs)
        self.critic = Critic(self.model.config.get_text_config().hidden_size)
        self.critic.to(self.accelerator.device)
        # Part of the model for zero_grad, clipping and the optimiser. PEFT saves LoRA keys only.
        self.model.add_module("critic", self.critic)
        self._values = torch.empty(0)

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._metrics["train"][f"seconds/{name}"].append(time.perf_counter() - started)

    def _generate(self, prompts: list[str]) -> Any:
        with self._timed("generate"):
            return super()._generate(prompts)

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], images: Any, fields: Any, copies: int, **_: Any
    ) -> tuple[list[list[int]], None]:
        """Write the completions, reading each prompt once for its group."""
        ids, attended = left_pad(prompt_ids[::copies], self._tokenizer.pad_token_id)
        device = self.accelerator.device
        draws = torch.rand(len(prompt_ids), self.max_completion_length, dtype=torch.float64)
        completions = write(
            self.model,
            ids.to(device),
            attended.to(device),
            torch.tensor(self.eos_token_ids, device=device),
            self.max_completion_length,
            self.temperature,
            draws.to(device),
            copies,
        )
        return completions, None

    def _prepare_inputs(self, generation_batch: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the minibatch of this step, made of whole groups.

        TRL's own shuffles the rows, which would part the completions of a prompt; the order of
        the prompts is random already.
        """
        parts, epochs = self.args.steps_per_generation, self.num_iterations
        if self._step % (parts * epochs) == 0 or self._buffered_inputs is None:
            batch = self._generate_and_score_completions(generation_batch)
            self._buffered_inputs = split_tensor_dict(batch, parts)
        return self._buffered_inputs[self._step % parts]

    def _calculate_rewards(self, *args: Any) -> Tensor:
        with self._timed("reward"):
            return super()._calculate_rewards(*args)

    def _get_per_token_logps_and_entropies(
        self,
        model: nn.Module,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **_: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return log-probs and entropies ``(B, T)`` of the last ``logits_to_keep`` tokens.

        TRL's losses call this; the critic's values of the same pass are left in ``_values``.
        """
        parts = []
        for rows in torch.arange(len(input_ids)).split(batch_size or len(input_ids)):
            logits, states = self._read_groups(
                model, input_ids[rows], attention_mask[rows], logits_to_keep
            )
            targets = input_ids[rows, -logits_to_keep:][:, : logits.size(1)]
            log_all = (logits.float() / self.temperature).log_softmax(dim=-1)
            logps = log_all.gather(-1, targets[..., None]).squeeze(-1)
            with torch.no_grad():  # a figure to report, not a part of the loss
                entropy = -(log_all.exp() * log_all).sum(-1) if compute_entropy else logps
            padding = (0, logits_to_keep - logits.size(1))
            parts.append([pad(x, padding) for x in (logps, entropy, self.critic(states))])
        logps, entropy, self._values = (torch.cat(part) for part in zip(*parts, strict=True))
        return logps, entropy if compute_entropy else None, None

    def _read_groups(
        self, model: nn.Module, ids: Tensor, attended: Tensor, width: int
    ) -> tuple[Tensor, Tensor]:
        """Return logits and states before each completion token, ``(B, T', V)``, ``(B, T', H)``.

        The rows are whole groups, so each prompt is read once and its cache, through which the
        gradient flows, is shared by the completions: a third of the time of reading all rows.
        TRL pads to the longest prompt and completion of the cycle; T' <= ``width`` is what these
        rows need.
        """
        group, border = self.num_generations, ids.size(1) - width
        first = int(attended.any(dim=0).int().argmax())
        end = border + int(attended[:, border:].sum(dim=1).max().clamp(min=1))
        positions = count(attended)
        cache = DynamicCache(config=self.model.config)
        prompt = (slice(None, None, group), slice(first, border))
        read_prompt = read(
            model, ids[prompt], attended[prompt], cache, positions[prompt], keep=1, states=True
        )
        logits, states = read_prompt.logits, read_prompt.hidden_states[-1][:, -1:]
        logits, states = (x.repeat_interleave(group, dim=0) for x in (logits, states))
        if end - border == 1:
            return logits, states
        cache.batch_repeat_interleave(group)
        rest = (slice(None), slice(border, end - 1))
        read_rest = read(
            model,
            ids[rest],
            attended[:, first : end - 1],
            cache,
            positions[rest],
            keep=end - 1 - border,
            states=True,
        )
        return (
            torch.cat([logits, read_rest.logits], dim=1),
            torch.cat([states, read_rest.hidden_states[-1]], dim=1),
        )

    def _score(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the log-probs ``(B, T)`` of a generated batch under the model as it is."""
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        attended = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        logps, _, _ = self._get_per_token_logps_and_entropies(
            self.model,
            ids,
            attended,
            batch["completion_ids"].size(1),
            batch_size=self.args.per_device_train_batch_size,
        )
        return logps

    @torch.no_grad()
    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Add values, value targets and per-token advantages ``(B, T)`` to TRL's batch."""
        batch = super()._generate_and_score_completions(inputs)
        if "old_per_token_logps" not in batch:  # TRL leaves them out with a single update
            batch["old_per_token_logps"] = self._score(batch)
        logps, values = batch["old_per_token_logps"], self._values
        with self._timed("reference"), self.model.disable_adapter():
            reference = self._score(batch)
        mask = batch["completion_mask"]
        # TRL took the group's mean off already; leaving one out of that is the same number.
        terminal = leave_one_out(batch["advantages"], self.num_generations)
        rewards = token_rewards(terminal, kl_k1(logps, reference), mask, self.args.kl_coefficient)
        advantages, targets = gae(rewards, values, mask, self.args.gamma, self.args.lam)
        batch |= {
            "advantages": whiten(advantages, mask),
            "old_values": values,
            "value_targets": targets,
        }
        metrics = self._metrics["train"]
        metrics["kl"].append(masked_mean(kl_k3(logps, reference), mask).item())
        metrics["kl_sequence"].append((kl_k1(logps, reference) * mask).sum(1).mean().item())
        left = masked_mean((targets - values) ** 2, mask) / masked_mean(targets**2, mask)
        metrics["explained_variance"].append(1 - left.item())
        return batch

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """Return TRL's clipped policy loss plus the weighted clipped value loss."""
        loss = super()._compute_loss(model, inputs)
        value_loss = clipped_value_loss(
            self._values,
            inputs["old_values"],
            inputs["value_targets"],
            inputs["completion_mask"],
            self.args.value_clip,
        )
        self._metrics["train"]["vf_loss"].append(value_loss.item())
        return loss + self.args.value_coefficient * value_loss

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Give the critic its own learning rate: a fresh head learns faster than an adapter."""
        optimizer = super().create_optimizer(model)
        own = {id(parameter) for parameter in self.critic.parameters()}
        for group in optimizer.param_groups:
            group["params"] = [p for p in group["params"] if id(p) not in own]
        optimizer.add_param_group(
            {"params": list(self.critic.parameters()), "lr": self.args.critic_learning_rate}
        )
        return optimizer

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Save the critic beside the optimiser, before the file that marks a whole checkpoint."""
        super()._save_optimizer_and_scheduler(output_dir)
        save_file(self.critic.state_dict(), Path(output_dir) / CRITIC_FILE)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Load the critic too, when a killed run goes on."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.critic.load_state_dict(load_file(Path(checkpoint) / CRITIC_FILE))
