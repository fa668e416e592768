"""TRL 1.12's PPO trainer, run by `against_trl` with the Python of another virtual environment.

It imports nothing of this project: the other environment has TRL 1.12, the last one with a PPO
trainer, and not what Shelftalk needs. Settings come as JSON in the one argument. Rewards are asked
of the parent process over two pipes, a line of JSON each way: ``{"rows": [...], "tokens": [...]}``
out, ``{"rewards": [...], "cpu": seconds}`` back.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from peft import LoraConfig
from torch import nn
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer


class ParentReward(nn.Module):
    """Stands where TRL wants a reward model; `asked` answers for it."""


class Clock(transformers.TrainerCallback):
    """Notes the CPU seconds at the end of each cycle, and the scores of its completions."""

    def __init__(self) -> None:
        """Start at the first cycle's beginning."""
        self.started = time.process_time()
        self.elsewhere = 0.0
        self.cycles: list[float] = []
        self.scores: list[float] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start again: loading the models is not training."""
        self.started = time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Take note of the time."""
        self.cycles.append(time.process_time() - self.started + self.elsewhere)


def main() -> None:
    """Train and save the adapter; tell how long each cycle took."""
    told = json.loads(sys.argv[1])
    torch.set_num_threads(told["threads"])
    base, out = Path(told["base"]), Path(told["out"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(base, padding_side="left")
    # A pad inside a completion would end it, so the pad must be a token of its own.
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    prompts: list[list[int]] = json.loads(Path(told["prompts"]).read_text(encoding="utf-8"))
    row_of = {tuple(prompt): row for row, prompt in enumerate(prompts)}
    batch, minibatches = told["completions"], told["minibatches"]
    arguments = PPOConfig(
        output_dir=str(out / "work"), use_cpu=True, bf16=False, gradient_checkpointing=False,
        report_to="none", save_strategy="no", disable_tqdm=True, logging_steps=1_000_000,
        per_device_train_batch_size=batch // minibatches, gradient_accumulation_steps=minibatches,
        num_mini_batches=minibatches, local_rollout_forward_batch_size=batch // minibatches,
        total_episodes=batch * told["cycles"], num_sample_generations=0,
        response_length=told["max_new_tokens"], temperature=told["temperature"], stop_token="eos",
        kl_coef=told["kl"], learning_rate=told["learning_rate"], num_ppo_epochs=told["epochs"],
        lr_scheduler_type="linear", seed=told["seed"],
    )  # fmt: skip
    clock = Clock()
    to_parent, from_parent = os.fdopen(told["write"], "w"), os.fdopen(told["read"])
    theirs = ppo_trainer.get_reward

    def asked(model: Any, texts: torch.Tensor, pad: int, context: int) -> Any:
        """TRL's `get_reward`, with the parent in place of a reward model."""
        if not isinstance(model, ParentReward):
            return theirs(model, texts, pad, context)
        rows = [row_of[tuple(x for x in text[:context].tolist() if x != pad)] for text in texts]
        tokens = [[x for x in text[context:].tolist() if x != pad] for text in texts]
        print(json.dumps({"rows": rows, "tokens": tokens}), file=to_parent, flush=True)
        answer = json.loads(from_parent.readline())
        clock.elsewhere += answer["cpu"]
        clock.scores.append(sum(answer["rewards"]) / len(rows))
        return None, torch.tensor(answer["rewards"]), None

    ppo_trainer.get_reward = asked
    trainer = PPOTrainer(
        args=arguments,
        processing_class=tokenizer,
        model=transformers.AutoModelForCausalLM.from_pretrained(base),
        ref_model=None,
        reward_model=ParentReward(),
        train_dataset=Dataset.from_dict({"input_ids": prompts}),
        value_model=transformers.AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=1
        ),
        callbacks=[clock],
        peft_config=LoraConfig(
            r=told["lora_r"],
            lora_alpha=told["lora_alpha"],
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )
    trainer.train()
    trainer.policy_model.save_pretrained(str(out / "adapter"))
    found = {"cpu_seconds": clock.cycles, "scores": clock.scores}
    (out / "rival.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
