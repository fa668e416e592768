"""Choosing tokens: the settings, the draws that each row has to itself, and the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from envs.errors import UserError


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen."""

    #: Longest text, in tokens.
    max_new_tokens: int = 32
    #: Below 1 likely tokens become likelier still.
    temperature: float = 1.0
    #: Only the likeliest tokens that together reach this probability are drawn from.
    top_p: float = 1.0
    #: Take the likeliest token; nothing is drawn.
    greedy: bool = False
    seed: int = 0

    def check(self, copies: int = 1) -> None:
        """Raise UserError for settings that mean nothing."""
        if not self.greedy and self.temperature <= 0:
            raise UserError(f"generate: temperature must be above 0, it is {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise UserError(f"generate: top_p must be above 0 and at most 1, it is {self.top_p}.")
        if self.greedy and copies > 1:
            raise UserError(
                f"generate: greedy writing has one text for each prompt, {copies} are asked for: "
                "sample, or ask for one."
            )


def draw_uniforms(rows: Sequence[int], copies: int, sampling: Sampling) -> Tensor:
    """Return uniforms ``(rows * copies, steps) float64``, the copies of a row side by side.

    Copy j of row i comes from the Philox stream of key (seed, i) whose counter starts at j * 2^128,
    so no two of them ever meet.
    """
    streams = (
        np.random.Generator(np.random.Philox(counter=copy << 128, key=[sampling.seed, row]))
        for row in rows
        for copy in range(copies)
    )
    return torch.from_numpy(
        np.stack([stream.random(sampling.max_new_tokens) for stream in streams])
    )


def choose(logits: Tensor, temperature: float, draw: Tensor | None, top_p: float = 1.0) -> Tensor:
    """Return the next token of each row, ``(B,) int64``, from logits ``(B, V)``.

    A uniform ``draw (B,)`` picks the token by inverting the cumulative distribution; without one
    the likeliest token is taken.
    """
    if draw is None:
        return logits.argmax(dim=-1)
    chances = (logits.double() / temperature).softmax(dim=-1)
    if top_p < 1:
        chances = nucleus(chances, top_p)
    cumulative = chances.cumsum(dim=-1)
    # Scaled by the total, which rounding leaves a little off 1 and a nucleus well below it.
    return torch.searchsorted(cumulative, draw[:, None] * cumulative[:, -1:], right=True).squeeze(1)


def nucleus(chances: Tensor, top_p: float) -> Tensor:
    """Return ``(B, V)`` probabilities with 0 outside the nucleus, not scaled up again.

    The nucleus is the smallest set of likeliest tokens whose probability reaches ``top_p``
    (Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", equation 2); of equally
    likely tokens at its edge the first ones belong to it.
    """
    falling, order = chances.sort(dim=-1, descending=True, stable=True)
    likelier = falling.cumsum(dim=-1) - falling
    kept = torch.zeros_like(chances, dtype=torch.bool).scatter(-1, order, likelier < top_p)
    return chances * kept
