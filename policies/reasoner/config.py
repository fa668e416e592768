"""Settings of the reasoner's reinforcement learning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from envs.settings import Settings
from policies.reasoner.alarms import AlarmsConfig


class PpoConfig(Settings):
    """Reinforcement learning of the reasoner."""

    algorithm: Literal["ppo", "grpo", "rloo"] = "ppo"
    """`ppo` has a critic (ours, on TRL); `grpo` and `rloo` are TRL's own."""
    seconds: float | None = Field(None, gt=0)
    """Time to train for, instead of `cycles`; the result then depends on the machine's speed."""
    cycles: int | None = Field(65, ge=1)
    """Cycles to train for, each writes, scores and learns once; null for `seconds`."""
    completions: int = Field(256, ge=2)
    """Completions written in a cycle, by all processes together."""
    generations: int = Field(8, ge=2)
    """Completions of each prompt, which are each other's baseline."""
    minibatches: int = Field(4, ge=1)
    """Updates that share a cycle's completions in one epoch."""
    accumulate: int = Field(1, ge=1)
    """Parts that each minibatch is read in, where one does not fit the memory at once."""
    epochs: int = Field(1, ge=1)
    """Times that a cycle's completions are learned from."""
    learning_rate: float = Field(8e-4, gt=0)
    """First learning rate of the adapter, which falls to zero over `cycles` (with `seconds` it
    stays; 1e-3 was seen to diverge)."""
    kl_in: Literal["reward", "loss"] = "reward"
    """Where ppo pays for leaving SFT: `reward` takes it off each token's reward, so that it is
    credited like any other reward; `loss` adds its k3 estimate to the loss (as grpo does)."""
    kl_coefficient: float = Field(0.025, ge=0)
    """Price of a nat of KL from the SFT policy: in the reward for rloo, in the loss for grpo."""
    kl_target: float | None = Field(None, gt=0)
    """Nats per completion that the price is steered towards: each cycle above raises it by up to
    2 %, each below lowers it; null keeps it (ppo only)."""
    entropy_coefficient: float = Field(0.0, ge=0)
    """Bonus for a nat of entropy per token, against a policy that says one thing only (not in
    rloo)."""
    clip: float = Field(0.2, gt=0)
    """How far the probability ratio of a token may move before its gradient stops."""
    gamma: float = Field(1.0, gt=0, le=1)
    """Discount per token (ppo only)."""
    lam: float = Field(0.95, ge=0, le=1)
    """GAE's lambda: 1 trusts the reward alone, 0 the critic alone (ppo with a critic)."""
    critic: Literal["head", "separate", "none"] = "head"
    """What judges a place in a text (ppo only): `head` reads the policy's own states, `separate`
    those of the SFT policy, which stay what they are, `none` leaves it to the other completions of
    the prompt (REINFORCE with a leave-one-out baseline)."""
    critic_learning_rate: float = Field(1e-3, gt=0)
    """Learning rate of the critic."""
    critic_epochs: int = Field(1, ge=1)
    """Times that the critic learns from a cycle's completions."""
    value_clip: float = Field(0.2, gt=0)
    """How far a value may move in a cycle before its gradient stops."""
    max_new_tokens: int = Field(32, ge=1)
    """Longest completion, in tokens."""
    temperature: float = Field(0.7, gt=0)
    """Sampling temperature of the completions: that of the policy which is trained and measured."""
    lora_r: int = Field(8, ge=1)
    """Rank of the LoRA matrices."""
    lora_alpha: int = Field(16, ge=1)
    """LoRA scale: the update counts alpha / r times."""
    use_vllm: bool = False
    """Let vLLM write the completions, on the training GPU (needs the package `vllm`)."""
    checkpoint_every: int = Field(5, ge=1)
    """Cycles between two checkpoints, from which a killed training goes on."""
    eval_every: int = Field(10, ge=1)
    """Cycles between two measurements on held-out prompts."""
    keep: Literal["best", "last"] = "best"
    """Which adapter is saved: `best` by the held-out reward (where there are held-out prompts), of
    those whose share of vetoes has not risen beyond `alarms.vetoed`; `last` the final one."""
    alarms: AlarmsConfig = AlarmsConfig()
    """What is a sign of a training gone wrong."""

    @model_validator(mode="after")
    def _consistent(self) -> PpoConfig:
        if (self.seconds is None) == (self.cycles is None):
            raise ValueError("give a budget in `seconds` or in `cycles`, and null for the other")
        if self.completions % (self.generations * self.minibatches * self.accumulate):
            raise ValueError(
                f"completions ({self.completions}) must be a multiple of generations times "
                f"minibatches times accumulate ({self.generations} x {self.minibatches} x "
                f"{self.accumulate})"
            )
        if self.kl_target is not None and not self.kl_coefficient:
            raise ValueError("kl_target multiplies kl_coefficient, which must then be above 0")
        if self.entropy_coefficient and self.algorithm == "rloo":
            raise ValueError("entropy_coefficient needs algorithm ppo or grpo: rloo has no bonus")
        return self

    @property
    def updates(self) -> int:
        """Updates in a cycle."""
        return self.epochs * self.minibatches
