"""The contract of a click model: how shoppers turn a shown slate into clicks."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]


class ClickModel(ABC):
    """Clicks on k positions given the attraction (click probability once examined) of each item."""

    #: Uniform numbers that one position consumes.
    draws: int

    @abstractmethod
    def clicks_from(self, attraction: F32, uniforms: F64) -> Bools:
        """Turn uniforms (B, k, draws) in [0, 1) into clicks (B, k), given attraction (B, k).

        Being a function of the uniforms, it lets two policies meet the same coin flips.
        """

    @abstractmethod
    def marginal_click_probability(self, attraction: F32) -> F64:
        """Probability of a click at each position, all else summed out, (B, k) float64."""

    @abstractmethod
    def examination_probability(self, attraction: F32) -> F64:
        """Probability that each position is examined, clicks above summed out, (B, k) float64."""

    @abstractmethod
    def log_likelihood(self, clicks: Bools, attraction: F32) -> F64:
        """Exact log probability of each click vector, (B,) float64; -inf for an impossible one."""

    def sample(self, attraction: F32, rng: np.random.Generator) -> Bools:
        """Draw clicks (B, k)."""
        return self.clicks_from(attraction, rng.random((*attraction.shape, self.draws)))
