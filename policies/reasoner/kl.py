"""The distance from the SFT policy: two estimates of it, and a price that holds it near a target.

Arrays are ``(B, T) float32``: B completions of at most T tokens, right-padded.
"""

from __future__ import annotations

from torch import Tensor

#: How strongly a cycle reacts, and to how large a relative error at most. Ziegler et al. 2019.
_GAIN, _REACH = 0.1, 0.2


def kl_k1(logps: Tensor, reference: Tensor) -> Tensor:
    """Return log pi - log ref per sampled token: unbiased for KL(pi || ref), can be negative.

    Schulman 2020, "Approximating KL Divergence".
    """
    return logps - reference


def kl_k3(logps: Tensor, reference: Tensor) -> Tensor:
    """Return ratio - 1 - log ratio, ratio = ref / pi: unbiased for KL(pi || ref), never negative.

    Schulman 2020, "Approximating KL Divergence".
    """
    log_ratio = reference - logps
    return log_ratio.exp() - 1 - log_ratio


def adapted(coefficient: float, kl: float, target: float | None) -> float:
    """Return the price of a nat for the next cycle, after one with ``kl`` nats per sequence.

    error = clip((kl - target) / target, -0.2, 0.2); the price is multiplied by 1 + 0.1 error.
    Without a target it stays. Ziegler et al. 2019, arXiv:1909.08593, section 2.2.
    """
    if target is None:
        return coefficient
    error = min(max(kl / target - 1, -_REACH), _REACH)
    return coefficient * (1 + _GAIN * error)
