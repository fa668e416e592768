"""The position-based model.

P(click_j) = theta_j * attraction_j, independently over positions (Craswell, Zoeter, Taylor, Ramsey
2008, "An experimental comparison of click position-bias models", section 3; Chuklin, Markov, de
Rijke 2015, "Click models for web search", equations 3.1-3.4).
"""

from __future__ import annotations

import numpy as np

from envs.clicks.base import F32, F64, Bools, ClickModel


class PositionBased(ClickModel):
    """Examination theta_j = (1 + j)^-decay depends on the position j = 0..k-1 alone."""

    draws = 1

    def __init__(self, slots: int, decay: float) -> None:
        self.theta: F64 = np.power(1.0 + np.arange(slots, dtype=np.float64), -decay)

    def clicks_from(self, attraction: F32, uniforms: F64) -> Bools:
        """See `ClickModel.clicks_from`."""
        return uniforms[..., 0] < self.theta * attraction

    def marginal_click_probability(self, attraction: F32) -> F64:
        """See `ClickModel.marginal_click_probability`."""
        return self.theta * attraction

    def examination_probability(self, attraction: F32) -> F64:
        """See `ClickModel.examination_probability`."""
        return np.broadcast_to(self.theta, attraction.shape)

    def log_likelihood(self, clicks: Bools, attraction: F32) -> F64:
        """See `ClickModel.log_likelihood`."""
        probability = self.theta * attraction
        with np.errstate(divide="ignore"):  # log(0) = -inf says "impossible"
            return np.log(np.where(clicks, probability, 1 - probability)).sum(axis=-1)
