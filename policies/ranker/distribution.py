"""RLlib's view of the Plackett-Luce distribution."""

from __future__ import annotations

from typing import Any

import gymnasium
import torch
from ray.rllib.core.distribution.distribution import Distribution
from torch import Tensor

from policies.ranker import plackett_luce


class PlackettLuceSlates(Distribution):
    """An action distribution over slates, from logits ``(B, N)`` that carry the mask.

    A logit below ``plackett_luce.MASKED / 2`` (minus infinity too) marks a candidate that may
    not be shown. Draws come from torch's default generator, because RLlib has no way to hand
    one over: it seeds that generator in each runner, and `train.isolated_randomness` keeps it
    from leaking into the caller. Use `slates_of` to fix the number of slots.
    """

    slots = 0
    with_entropy = True

    def __init__(self, logits: Tensor, greedy: bool = False) -> None:
        """Keep logits ``(B, N)``; a greedy distribution samples its most probable slate."""
        self.mask = logits > plackett_luce.MASKED / 2
        self.logits = logits
        self.greedy = greedy

    @classmethod
    def from_logits(cls, logits: Tensor, **kwargs: Any) -> PlackettLuceSlates:
        """Return the distribution of logits ``(B, N)``."""
        return cls(logits)

    def sample(self, *, sample_shape: Any = None, **kwargs: Any) -> Tensor:
        """Return one slate a row, ``(B, slots)`` int64."""
        if self.greedy:
            return plackett_luce.top_k(self.logits, self.mask, self.slots)
        return plackett_luce.sample_slates(self.logits, self.mask, self.slots)

    def rsample(self, *, sample_shape: Any = None, **kwargs: Any) -> Tensor:
        """Raise: a slate is discrete, so no sample of it has a gradient."""
        raise NotImplementedError("a slate is discrete: it has no reparameterised sample")

    def logp(self, value: Tensor, **kwargs: Any) -> Tensor:
        """Return log-probabilities ``(B,)`` of slates ``(B, slots)`` before `to_deterministic`."""
        return plackett_luce.log_prob(self.logits, self.mask, value.long())

    def entropy(self, **kwargs: Any) -> Tensor:
        """Return an unbiased estimate ``(B,)``, in nats.

        RLlib's loss asks for it at every gradient step; where no bonus needs it, it is a tenth
        of the training time for nothing, and zero is returned.
        """
        if not self.with_entropy:
            return self.logits.new_zeros(len(self.logits))
        return plackett_luce.entropy(self.logits, self.mask, self.slots)

    def kl(self, other: Distribution, **kwargs: Any) -> Tensor:
        """Return an estimate ``(B,)`` of KL(self || other), in nats."""
        return plackett_luce.kl_divergence(self.logits, other.logits, self.mask, self.slots)

    def to_deterministic(self) -> PlackettLuceSlates:
        """Return the distribution that always shows the most probable slate."""
        return type(self)(self.logits, greedy=True)

    @staticmethod
    def required_input_dim(space: gymnasium.Space, **kwargs: Any) -> int:
        """Return N, the number of logits an action space of slates needs."""
        assert isinstance(space, gymnasium.spaces.MultiDiscrete)
        return int(space.nvec[0])


def slates_of(slots: int, with_entropy: bool = True) -> type[PlackettLuceSlates]:
    """Return the distribution class for slates of ``slots`` items."""
    members = {"slots": slots, "with_entropy": with_entropy}
    return type(f"PlackettLuceSlatesOf{slots}", (PlackettLuceSlates,), members)


def sample_with_log_prob(logits: Tensor, slots: int, greedy: bool) -> tuple[Tensor, Tensor]:
    """Return (slates ``(B, slots)``, log-probabilities ``(B,)``), as RLlib's connectors would."""
    with torch.no_grad():
        distribution = slates_of(slots)(logits, greedy)
        slates = distribution.sample()
        return slates, distribution.logp(slates)
