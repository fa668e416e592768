"""The dynamic Bayesian network (DBN): a clicked item may satisfy, and patience may run out.

A clicked item satisfies with probability s, which ends the reading; an item that did not satisfy
(skipped, or clicked in vain) is followed by the next one with probability gamma:
P(E_{j+1} = 1 | E_j = 1, C_j) = gamma (1 - s C_j) (Chapelle, Zhang 2009, "A dynamic Bayesian network
click model for web search ranking", WWW). There s belongs to the query-document pair; here it is
one number for all, as attraction is what the shop knows of an item. With gamma = 1, s = 1 it is the
cascade model.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from envs.clicks.base import F64, Floats
from envs.clicks.chain import Chain
from envs.clicks.parameters import ClickParameters


class DynamicBayesian(Chain):
    """Reading goes on while nothing satisfied and patience lasts."""

    def __init__(self, gamma: float, satisfaction: float) -> None:
        self.gamma = gamma
        self.satisfaction = satisfaction

    def reads_on(self, attraction: Floats) -> tuple[F64 | float, F64 | float]:
        """See `Chain.reads_on`."""
        return self.gamma, self.gamma * (1 - self.satisfaction)

    def chain_rule(self, attraction: F64, skip: F64, click: F64) -> tuple[F64 | float, F64]:
        """See `Chain.chain_rule`."""
        total = click.sum()
        by_gamma = skip.sum() + (1 - self.satisfaction) * total
        return 0.0, np.array([by_gamma, -self.gamma * total])

    def free(self) -> dict[str, float]:
        """Gamma and s."""
        return {"gamma": self.gamma, "satisfaction": self.satisfaction}

    def with_free(self, values: F64) -> Self:
        """See `ClickModel.with_free`."""
        return type(self)(float(values[0]), float(values[1]))

    def parameters(self) -> ClickParameters:
        """See `ClickModel.parameters`."""
        return ClickParameters(gamma=self.gamma, satisfaction=self.satisfaction)
