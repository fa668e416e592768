"""Policy-gradient mathematics over masked token sequences, as pure functions.

Arrays are ``(B, T) float32``: B completions of at most T tokens, right-padded. ``mask`` is
``(B, T)``, 1 on the tokens of a completion (its end-of-text token included) and 0 on padding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Keeps the division defined where all values are equal.
_TINY = 1e-8


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Return advantages and value targets, ``(B, T)`` each, zero on padding.

    delta_t = r_t + gamma V_{t+1} - V_t,  A_t = delta_t + gamma lam A_{t+1},  target = A_t + V_t,
    with V = A = 0 after the last token. Schulman et al. 2016, arXiv:1506.02438, equation 16.
    With ``lam = 1`` the target is the discounted Monte Carlo return.
    """
    mask = mask.to(values.dtype)
    values = values * mask
    after = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    deltas = (rewards + gamma * after - values) * mask
    advantages = torch.zeros_like(deltas)
    running = torch.zeros_like(deltas[:, 0])
    for step in reversed(range(deltas.size(1))):
        running = deltas[:, step] + gamma * lam * running
        advantages[:, step] = running
    return advantages, (advantages + values) * mask


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of ``x`` where ``mask`` is 1, a scalar; 0 when it is nowhere."""
    return (x * mask).sum() / mask.sum().clamp(min=1)


def whiten(x: Tensor, mask: Tensor, over: Callable[[Tensor], Tensor] = lambda sums: sums) -> Tensor:
    """Return ``x`` with mean 0 and variance 1 over the masked tokens, and 0 on padding.

    ``over`` adds up ``(2,)`` over the processes that share a batch, so that all of them subtract
    and divide by the same numbers.
    """
    mask = mask.to(x.dtype)
    total, count = over(torch.stack([(x * mask).sum(), mask.sum()]))
    centred = (x - total / count.clamp(min=1)) * mask
    squares, count = over(torch.stack([(centred**2).sum(), mask.sum()]))
    return centred * torch.rsqrt(squares / count.clamp(min=1) + _TINY)


def clipped_value_loss(
    values: Tensor, old_values: Tensor, targets: Tensor, mask: Tensor, clip: float
) -> Tensor:
    """Return half the mean of the larger of two squared errors, a scalar.

    One error is of the new value, one of the value held within ``clip`` of the old one, so that
    no update gains by moving a value further. Schulman et al.'s PPO code; Engstrom et al. 2020,
    arXiv:2005.12729, section 3.
    """
    held = old_values + (values - old_values).clamp(-clip, clip)
    worse = torch.maximum((values - targets) ** 2, (held - targets) ** 2)
    return 0.5 * masked_mean(worse, mask)


def leave_one_out(rewards: Tensor, group: int) -> Tensor:
    """Return each reward less the mean of the other rewards of its group, ``(B,)``.

    ``rewards`` is ``(B,)`` with the ``group`` completions of a prompt side by side. Adding one
    number to a whole group changes nothing. Kool et al. 2019, "Buy 4 REINFORCE Samples".
    """
    grouped = rewards.view(-1, group)
    others = (grouped.sum(dim=1, keepdim=True) - grouped) / (group - 1)
    return (grouped - others).reshape(-1)


def token_rewards(terminal: Tensor, kl: Tensor, mask: Tensor, coefficient: float) -> Tensor:
    """Return ``-coefficient * kl`` on each token plus ``terminal (B,)`` on the last, ``(B, T)``.

    Ziegler et al. 2019, arXiv:1909.08593, equation 2, with the KL paid token by token.
    """
    rewards = -coefficient * kl * mask
    last = mask.sum(dim=1).long().clamp(min=1) - 1
    rewards[torch.arange(rewards.size(0), device=rewards.device), last] += terminal
    return rewards
