"""The ranker's settings; light to import, so that a command line can read them at once."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from envs.settings import Settings


class ScorerConfig(Settings):
    """The shape of the scorer and the score it starts from."""

    kind: Literal["deep_sets", "attention", "linear"] = "deep_sets"
    """How a candidate's score reads the shelf: deep_sets sees the mean of the others, attention
    sees each of them, linear sees none (a weighted sum of features, weights by context)."""

    hidden: int = Field(default=32, ge=1)
    """Width of every hidden layer."""

    heads: int = Field(default=4, ge=1)
    """Attention heads; only attention has them, and they divide the width."""

    baseline_features: tuple[str, ...] = ()
    """Item features whose equal-weight mean is the score at the start; none starts uniform."""

    baseline_weight: float = 6.0
    """Logit between a mean of 0 and a mean of 1 at the start: higher starts greedier."""

    crowd_in_search: float = Field(default=1.0, ge=0, le=1)
    """How much a candidate gives way to others of its class in search, as a share of how much it
    does elsewhere. Who typed a query often wants one class only: less is more relevant there, and
    earns a little less where shoppers tire of a class (docs/search.md)."""

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> ScorerConfig:
        if self.kind == "attention" and self.hidden % self.heads:
            raise ValueError(
                f"heads ({self.heads}) must divide hidden ({self.hidden}) where kind is attention"
            )
        return self


class WarmStartConfig(Settings):
    """What the ranker learns from logged slates before PPO goes on from there."""

    slates: int = Field(default=600_000, ge=0)
    """Slates to log, sampled from the score that the scorer starts from; 0 starts PPO there. An
    env whose info has no slot_reward, (B, slots), is not logged: PPO starts there as well."""

    logging_weight: float = Field(default=4.0, ge=0)
    """Logit between a mean of 0 and a mean of 1 of the scorer's baseline_features while slates are
    logged: higher shows more of what similarity would, 0 shows anything."""

    epochs: int = Field(default=2, ge=1)
    """Passes over the log."""

    minibatch: int = Field(default=512, ge=1)
    """Slates in one gradient step."""

    lr: float = Field(default=3e-3, gt=0)
    """Adam's first step size, which falls to zero."""

    spread: float = Field(default=2.0, gt=0)
    """Spread of the logits on a page that PPO starts from: higher starts greedier."""


class RankerConfig(Settings):
    """PPO for the ranker (Schulman et al. 2017), through RLlib."""

    algorithm: Literal["ppo", "appo"] = "ppo"
    """ppo collects, then learns; appo does both at once in worker processes (Luo et al. 2020),
    each update a `minibatch` of slates that its workers collected with older weights, corrected by
    V-trace in place of `lam`."""

    scorer: ScorerConfig = ScorerConfig()
    """The network that scores the candidates."""

    warm_start: WarmStartConfig = WarmStartConfig()
    """What is learned from logged slates first."""

    iterations: int = Field(default=100, ge=1)
    """How many batches to collect and learn from."""

    num_envs: int = Field(default=256, ge=1)
    """Shopper sessions stepped side by side in each env runner."""

    batch: int = Field(default=8192, ge=1)
    """Slates shown between two updates."""

    minibatch: int = Field(default=512, ge=1)
    """Slates in one gradient step."""

    epochs: int = Field(default=4, ge=1)
    """Passes over each batch."""

    lr: float = Field(default=3e-3, gt=0)
    """Adam's step size."""

    gamma: float = Field(default=0.95, ge=0, le=1)
    """Discount of a reward one slate later."""

    lam: float = Field(default=0.9, ge=0, le=1)
    """Lambda of generalised advantage estimation: 0 trusts the critic, 1 the rewards."""

    clip: float = Field(default=0.2, gt=0)
    """How far one update may move a slate's probability ratio from one."""

    entropy_coeff: float = Field(default=0.0, ge=0)
    """Weight of the entropy bonus, which keeps slates varied."""

    fast_runner: bool = True
    """Whether to step whole arrays instead of using RLlib's runner (same episodes, slower)."""

    num_env_runners: int = Field(default=0, ge=0)
    """Worker processes that collect slates; 0 trains in this process, without a Ray cluster."""

    num_learners: int = Field(default=0, ge=0)
    """Processes that learn, each on its share of a batch; 0 learns in this process. More than 0
    needs num_env_runners above 0."""

    address: str | None = None
    """Ray cluster to train on (host:port, or auto for the one of this machine); null starts a
    small Ray here where num_env_runners is above 0."""

    eval_every: int = Field(default=5, ge=1)
    """Iterations between two evaluations of the most probable slates."""

    eval_sessions: int = Field(default=8192, ge=1)
    """Sessions in an evaluation, the same ones every time."""

    checkpoint_every: int = Field(default=5, ge=1)
    """Iterations that a killed run loses at most."""

    @model_validator(mode="after")
    def _has_workers(self) -> RankerConfig:
        for what, needed in (
            ("algorithm appo", self.algorithm == "appo"),
            (f"num_learners {self.num_learners}", self.num_learners > 0),
            (f"address {self.address}", self.address is not None),
        ):
            if needed and not self.num_env_runners:
                raise ValueError(f"{what} works with worker processes; set num_env_runners to 1+")
        return self
