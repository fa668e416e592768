"""PPO on TRL's online trainer: a critic, GAE, value clipping and a per-token KL penalty.

TRL 1.16 has no PPO trainer of its own any more (huggingface/trl#7020), but its GRPO trainer
accepts advantages per token, ``(B, T)``, from a subclass. TRL keeps generation, the clipped
policy loss, the entropy bonus, PEFT, logging and checkpoints; this file adds what makes it PPO
(Schulman et al. 2017, arXiv:1707.06347).

One cycle of the trainer: generate completions, score them with the policy and the reference,
shape rewards, let the critic judge and learn, then ``num_iterations`` epochs of minibatch
updates of the policy. B and T are this process's completions and their longest length.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import split_tensor_dict

from envs.files import read_json, write_json
from policies.reasoner.cache import roomy_cache
from policies.reasoner.critic import CriticLearner
from policies.reasoner.gae import gae, leave_one_out, token_rewards, whiten
from policies.reasoner.generate import left_pad, write
from policies.reasoner.groups import read_groups
from policies.reasoner.kl import adapted, kl_k1, kl_k3
from policies.reasoner.prompts import OurPrompts
from policies.reasoner.trace import Recorder, Trace, chosen, entropies, log_chances

CRITIC_FILE = "critic.safetensors"
STATE_FILE = "ppo_state.json"


@dataclass
class PpoArguments(GRPOConfig):
    """TRL's GRPO arguments, set so that its loss is PPO's, and what PPO needs besides."""

    # The reference is read here, once a cycle, so TRL's own pass is off.
    beta: float = 0.0
    loss_type: str = "bnpo"
    scale_rewards: str = "none"
    kl_in: str = field(default="reward", metadata={"help": "Where KL is paid: reward or loss."})
    kl_coefficient: float = field(default=0.05, metadata={"help": "Price of a nat of KL."})
    kl_target: float | None = field(default=None, metadata={"help": "Nats per completion."})
    gamma: float = field(default=1.0, metadata={"help": "Discount per token."})
    lam: float = field(default=0.95, metadata={"help": "GAE's lambda."})
    critic: str = field(default="head", metadata={"help": "head, separate or none."})
    critic_learning_rate: float = field(default=1e-3, metadata={"help": "Rate of the critic."})
    critic_epochs: int = field(default=4, metadata={"help": "Passes of the critic in a cycle."})
    value_clip: float = field(default=0.2, metadata={"help": "Largest move of a value."})


class PpoTrainer(OurPrompts, GRPOTrainer):
    """TRL's GRPO trainer with a critic; pass a base model and a ``peft_config``.

    The reference policy is the base model without the adapter. Methods with a leading underscore
    override TRL 1.16's; ``tests/reasoner/test_ppo_trl_surface.py`` pins what they rely on.
    """

    args: PpoArguments
    _buffered_inputs: list[dict[str, Any]] | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Build TRL's trainer, and the critic beside it."""
        super().__init__(*args, **kwargs)
        self.kl_price = self.args.kl_coefficient
        self.learner = self._make_learner()
        #: What the policy thinks of the cycle's completions; None until they are read.
        self._trace: Trace | None = None
        #: Entropies of the tokens of this step's minibatch, as they were written.
        self._entropies = torch.empty(0)
        self._price_of_cycle = self.kl_price

    def _make_learner(self) -> CriticLearner | None:
        if self.args.critic == "none":
            return None
        return CriticLearner(
            self.model.config.get_text_config().hidden_size,
            learning_rate=self.args.critic_learning_rate,
            epochs=self.args.critic_epochs,
            minibatches=self.args.steps_per_generation,
            value_clip=self.args.value_clip,
            seed=self.args.seed,
            device=self.accelerator.device,
            average=lambda gradient: self.accelerator.reduce(gradient, "mean"),
        )

    def _sum(self, sums: Tensor) -> Tensor:
        """Add up a tensor over the processes of the launch."""
        return self.accelerator.reduce(sums, "sum")

    def _mean(self, x: Tensor, mask: Tensor) -> float:
        """Return the mean of ``x`` where ``mask`` is 1, over all processes."""
        total, number = self._sum(torch.stack([(x * mask).sum(), mask.sum().to(x.dtype)]))
        return (total / number.clamp(min=1)).item()

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
    ) -> tuple[list[list[int]], Any]:
        """Write the completions, reading each prompt once for its group (unless vLLM does)."""
        self._trace = None
        if self.use_vllm:
            return super()._generate_single_turn(prompt_ids, images, fields, copies)
        ids, attended = left_pad(prompt_ids[::copies], self._tokenizer.pad_token_id)
        device, steps = self.accelerator.device, self.max_completion_length
        draws = torch.rand(len(prompt_ids), steps, dtype=torch.float64)
        recorder = Recorder(len(prompt_ids), steps, self.temperature, self.args.critic == "head")
        completions = write(
            self.model,
            ids.to(device),
            attended.to(device),
            torch.tensor(self.eos_token_ids, device=device),
            steps,
            self.temperature,
            draws.to(device),
            copies,
            recorder=recorder,
        )
        self._trace = recorder.trace()
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

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: Any, completions: Any, ids: list[list[int]]
    ) -> Tensor:
        with self._timed("reward"):
            return super()._calculate_rewards(inputs, prompts, completions, ids)

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

        TRL's passes and losses call this. The entropies are a figure to report, so they are those
        of the writing, unless a bonus makes them a part of the loss.
        """
        if not torch.is_grad_enabled():
            trace = self._own_trace(input_ids, attention_mask, logits_to_keep)
            return trace.logps, trace.entropies if compute_entropy else None, None
        bonus = self._entropy_bonus_enabled
        read = self._read(model, input_ids, attention_mask, logits_to_keep, entropy=bonus)
        return read.logps, read.entropies if bonus else self._entropies, None

    def _own_trace(self, ids: Tensor, attended: Tensor, width: int) -> Trace:
        """Return what the policy thinks of the cycle's completions: it knows if it wrote them."""
        if self._trace is None:
            head = self.args.critic == "head"
            with self._timed("logprobs"):
                self._trace = self._read(self.model, ids, attended, width, True, states=head)
        return self._trace.of_length(width)

    def _read(
        self, model: nn.Module, ids: Tensor, attended: Tensor, width: int,
        entropy: bool = False, states: bool = False,
    ) -> Trace:  # fmt: skip
        """Read prompts with completions padded to ``width``; entropies and states if asked for."""
        parts = []
        for rows in torch.arange(len(ids)).split(self.args.per_device_train_batch_size):
            cache = roomy_cache(self.model.config)
            logits, before = read_groups(
                model, ids[rows], attended[rows], width, self.num_generations, cache, states
            )
            log_all = log_chances(logits, self.temperature)
            logps = chosen(log_all, ids[rows, -width:][:, : logits.size(1)])
            entropy_of = entropies(log_all) if entropy else logps.new_empty(len(rows), 0)
            parts.append(Trace(logps, entropy_of, before).of_length(width))
        return Trace.joined(parts)

    def _of_batch(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, int]:
        """Return prompts with completions, what of it is attended to, and T."""
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        attended = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        return ids, attended, batch["completion_ids"].size(1)

    def _reference_trace(self, batch: dict[str, Tensor]) -> Trace:
        """Return what the model without its adapter thinks of the cycle's completions."""
        with self._timed("reference"), self.model.disable_adapter():
            separate = self.args.critic == "separate"
            return self._read(self.model, *self._of_batch(batch), states=separate)

    @torch.no_grad()
    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Replace the advantages ``(B,)`` of TRL's batch by those of each token, ``(B, T)``."""
        batch = super()._generate_and_score_completions(inputs)
        own, reference = self._own_trace(*self._of_batch(batch)), self._reference_trace(batch)
        # TRL leaves these out with a single update.
        batch |= {"old_per_token_logps": own.logps, "entropies": own.entropies}
        mask = batch["completion_mask"]
        states = reference.states if self.args.critic == "separate" else own.states
        kl = kl_k1(own.logps, reference.logps)
        in_loss = self.args.kl_in == "loss"
        # TRL took the group's mean off already; leaving one out of that is the same number.
        terminal = leave_one_out(batch["advantages"], self.num_generations)
        rewards = token_rewards(terminal, kl, mask, 0.0 if in_loss else self.kl_price)
        batch["advantages"] = whiten(self._judge(states, rewards, mask), mask, self._sum)
        metrics = self._metrics["train"]
        if in_loss:
            batch["ref_per_token_logps"] = reference.logps  # TRL's loss reports its KL itself
        else:
            metrics["kl"].append(self._mean(kl_k3(own.logps, reference.logps), mask))
        nats = (kl * mask).sum(dim=1)
        metrics["kl_sequence"].append(self._mean(nats, torch.ones_like(nats)))
        metrics["kl_coefficient"].append(self.kl_price)
        self._price_of_cycle = self.kl_price
        self.kl_price = adapted(self.kl_price, metrics["kl_sequence"][-1], self.args.kl_target)
        return batch

    def _judge(self, states: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        """Return advantages ``(B, T)`` of token rewards, and let the critic learn from them.

        Without a critic each token gets the rewards that follow it: REINFORCE, whose baseline is
        the mean of the other completions (Ahmadian et al. 2024, arXiv:2402.14740).
        """
        if self.learner is None:
            return gae(rewards, torch.zeros_like(rewards), mask, self.args.gamma, lam=1.0)[0]
        with self._timed("critic"):
            values = self.learner.values(states)
            advantages, targets = gae(rewards, values, mask, self.args.gamma, self.args.lam)
            loss = self.learner.fit(states, values, targets, mask)
        metrics = self._metrics["train"]
        metrics["vf_loss"].append(loss)
        left = self._mean((targets - values) ** 2, mask) / max(self._mean(targets**2, mask), 1e-12)
        metrics["explained_variance"].append(1 - left)
        return advantages

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """Return TRL's clipped policy loss, with its own k3 term where KL is paid in the loss."""
        self._entropies = inputs["entropies"]
        self.beta = self._price_of_cycle if self.args.kl_in == "loss" else 0.0
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self.beta = 0.0  # or TRL would read the reference once more for the next cycle

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Save critic and KL price too, before the file that marks a whole checkpoint."""
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            write_json(Path(output_dir) / STATE_FILE, {"kl_price": self.kl_price})
            if self.learner is not None:
                self.learner.save(Path(output_dir) / CRITIC_FILE)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Load the critic and the KL price too, when a killed run goes on."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.kl_price = read_json(Path(checkpoint) / STATE_FILE)["kl_price"]
            if self.learner is not None:
                self.learner.load(Path(checkpoint) / CRITIC_FILE)
