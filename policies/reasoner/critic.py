"""The critic: what a completion is expected to earn, judged before each of its tokens.

It is a small network beside the language model, with its own optimiser, and learns from states
that the scoring passes leave behind. It never sends a gradient into the policy, and a cycle of
its learning costs milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import skip_init

from policies.reasoner.gae import clipped_value_loss

#: Replaces the gradients of one process by their mean over all processes.
Average = Callable[[Tensor], Tensor]


class Critic(nn.Module):
    """Features before a token -> the value of that place in the text."""

    def __init__(self, features: int, hidden: int, generator: torch.Generator) -> None:
        """Build it from ``generator`` alone; its last layer is zero, so every value starts at 0."""
        super().__init__()
        # Laid out without drawing from the global generator, which is the training's own.
        self.inner = skip_init(nn.Linear, features, hidden)
        self.outer = skip_init(nn.Linear, hidden, 1)
        with torch.no_grad():
            bound = features**-0.5
            for parameter in self.inner.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Map features ``(..., F) float32`` to values ``(...) float32``."""
        return self.outer(torch.tanh(self.inner(features))).squeeze(-1)


class CriticLearner:
    """A critic, its optimiser, and the way both travel in a checkpoint."""

    def __init__(
        self,
        features: int,
        *,
        learning_rate: float,
        epochs: int,
        minibatches: int,
        value_clip: float,
        seed: int,
        device: torch.device,
        average: Average = lambda gradient: gradient,
    ) -> None:
        """Make a critic of ``features`` numbers a token; ``average`` is for several processes."""
        self._generator = torch.Generator().manual_seed(seed)
        self.critic = Critic(features, max(128, features // 4), self._generator).to(device)
        self._optimiser = torch.optim.Adam(self.critic.parameters(), lr=learning_rate)
        self._epochs, self._minibatches, self._clip = epochs, minibatches, value_clip
        self._average = average

    @torch.no_grad()
    def values(self, features: Tensor) -> Tensor:
        """Return values ``(B, T) float32`` of features ``(B, T, F) float32``."""
        return self.critic(features)

    @torch.enable_grad()
    def fit(self, features: Tensor, old_values: Tensor, targets: Tensor, mask: Tensor) -> float:
        """Learn ``targets (B, T)`` in a few passes over minibatches of rows; return the mean loss.

        Adam on the clipped value loss, in which no value gains by moving further than the clip
        from what it was at the cycle's start.
        """
        losses = []
        for _ in range(self._epochs):
            order = torch.randperm(len(features), generator=self._generator)
            for rows in order.chunk(self._minibatches):
                loss = clipped_value_loss(
                    self.critic(features[rows]),
                    old_values[rows],
                    targets[rows],
                    mask[rows],
                    self._clip,
                )
                self._optimiser.zero_grad()
                loss.backward()
                for parameter in self.critic.parameters():
                    assert parameter.grad is not None
                    parameter.grad = self._average(parameter.grad)
                self._optimiser.step()
                losses.append(loss.item())
        return sum(losses) / len(losses)

    def save(self, path: Path) -> None:
        """Write the critic, Adam's moments and the order of the next minibatches."""
        moments = {
            f"adam.{index}.{name}": value
            for index, state in self._optimiser.state_dict()["state"].items()
            for name, value in state.items()
        }
        order = {"generator": self._generator.get_state()}
        save_file({**self.critic.state_dict(), **moments, **order}, path)

    def load(self, path: Path) -> None:
        """Go on from what :meth:`save` wrote."""
        saved = load_file(path)
        self._generator.set_state(saved.pop("generator"))
        whole = self._optimiser.state_dict()
        for key in [key for key in saved if key.startswith("adam.")]:
            _, index, name = key.split(".")
            whole["state"].setdefault(int(index), {})[name] = saved.pop(key)
        self._optimiser.load_state_dict(whole)
        self.critic.load_state_dict(saved)
