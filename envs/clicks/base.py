"""The contract of a click model: how shoppers turn a shown slate into clicks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from envs.clicks.parameters import ClickParameters

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
#: Shops draw in float32; fits work in float64.
Floats = F32 | F64
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Slopes:
    """Exact log-likelihood of B click vectors and its derivatives."""

    #: Log-likelihood of each click vector, (B,) float64.
    log_likelihood: F64
    #: Derivative by the attraction at each position, (B, k) float64.
    attraction: F64
    #: Derivative of the sum over B by each free parameter, (P,) float64.
    free: F64


class ClickModel(ABC):
    """Clicks on k positions given the attraction (click probability once examined) of each item.

    In every model an item is clicked where it is examined and attracts:
    ``marginal_click_probability = examination_probability * attraction``.
    """

    #: Uniform numbers that one position consumes.
    draws: int

    @abstractmethod
    def clicks_from(self, attraction: Floats, uniforms: F64) -> Bools:
        """Turn uniforms (B, k, draws) in [0, 1) into clicks (B, k), given attraction (B, k).

        Being a function of the uniforms, it lets two policies meet the same coin flips. Smaller
        numbers or larger attractions never turn a page with a click into one without.
        """

    @abstractmethod
    def examination_probability(self, attraction: Floats) -> F64:
        """Probability that each position is examined, clicks above summed out, (B, k) float64."""

    @abstractmethod
    def log_likelihood(self, clicks: Bools, attraction: Floats) -> F64:
        """Exact log probability of each click vector, (B,) float64; -inf for an impossible one."""

    @abstractmethod
    def free(self) -> dict[str, float]:
        """Parameters that a log can tell, by name; all are probabilities (`envs.clicks.fit`)."""

    @abstractmethod
    def with_free(self, values: F64) -> Self:
        """Return the model with other values (P,) of its free parameters, in the same order."""

    @abstractmethod
    def slopes(self, clicks: Bools, attraction: F64) -> Slopes:
        """Log-likelihood of clicks (B, k) and its derivatives; attraction inside (0, 1)."""

    @abstractmethod
    def parameters(self) -> ClickParameters:
        """The configuration that gives this model for slates of the same length."""

    def marginal_click_probability(self, attraction: Floats) -> F64:
        """Probability of a click at each position, all else summed out, (B, k) float64."""
        return self.examination_probability(attraction) * attraction

    def sample(self, attraction: Floats, rng: np.random.Generator) -> Bools:
        """Draw clicks (B, k)."""
        return self.clicks_from(attraction, rng.random((*attraction.shape, self.draws)))


def log_bernoulli(clicks: Bools, probability: F64) -> F64:
    """Log-likelihood of each click vector of independent coins, (B,) float64; -inf if it cannot be.

    Both arguments are (B, k).
    """
    with np.errstate(divide="ignore"):  # log(0) = -inf says "impossible"
        return np.log(np.where(clicks, probability, 1 - probability)).sum(axis=-1)
