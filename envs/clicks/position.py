"""The position-based model.

P(click_j) = theta_j * attraction_j, independently over positions (Craswell, Zoeter, Taylor, Ramsey
2008, "An experimental comparison of click position-bias models", section 3; Chuklin, Markov, de
Rijke 2015, "Click models for web search", equations 3.1-3.4).

Clicks tell theta and attraction only up to a common factor, so a fit takes theta_1 = 1 (the first
position is always seen) and leaves theta_2..theta_k free.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from envs.clicks.base import F64, Bools, ClickModel, Floats, Slopes, log_bernoulli
from envs.clicks.parameters import ClickParameters


class PositionBased(ClickModel):
    """Examination theta_j depends on the position j = 0..k-1 alone."""

    draws = 1

    def __init__(self, theta: F64) -> None:
        #: Examination of each position, (k,) float64.
        self.theta = theta

    @classmethod
    def decaying(cls, slots: int, decay: float) -> Self:
        """Return the model with theta_j = (1 + j)^-decay."""
        return cls(np.power(1.0 + np.arange(slots, dtype=np.float64), -decay))

    def clicks_from(self, attraction: Floats, uniforms: F64) -> Bools:
        """See `ClickModel.clicks_from`."""
        return uniforms[..., 0] < self.theta * attraction

    def examination_probability(self, attraction: Floats) -> F64:
        """See `ClickModel.examination_probability`."""
        return np.broadcast_to(self.theta, attraction.shape)

    def log_likelihood(self, clicks: Bools, attraction: Floats) -> F64:
        """See `ClickModel.log_likelihood`."""
        return log_bernoulli(clicks, self.theta * attraction)

    def free(self) -> dict[str, float]:
        """theta_2..theta_k."""
        return {f"theta_{j + 1}": float(t) for j, t in enumerate(self.theta) if j}

    def with_free(self, values: F64) -> Self:
        """See `ClickModel.with_free`; theta_1 becomes 1."""
        return type(self)(np.concatenate([[1.0], values]))

    def slopes(self, clicks: Bools, attraction: F64) -> Slopes:
        """See `ClickModel.slopes`."""
        chance = self.theta * attraction
        slope = np.where(clicks, 1 / chance, -1 / (1 - chance))
        return Slopes(
            log_bernoulli(clicks, chance),
            slope * self.theta,
            (slope * attraction).sum(axis=0)[1:],
        )

    def parameters(self) -> ClickParameters:
        """See `ClickModel.parameters`."""
        return ClickParameters(theta=tuple(self.theta.tolist()))
