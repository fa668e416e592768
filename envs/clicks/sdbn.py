"""The simplified dynamic Bayesian network (SDBN): DBN with endless patience, gamma = 1.

Only satisfaction ends the reading: P(E_{j+1} = 1 | E_j = 1, C_j) = 1 - s C_j (Chapelle, Zhang 2009,
"A dynamic Bayesian network click model for web search ranking", WWW). Everything down to the last
click is then known to have been examined.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from envs.clicks.base import F64, Floats
from envs.clicks.chain import Chain
from envs.clicks.parameters import ClickParameters


class SimplifiedDynamicBayesian(Chain):
    """Reading goes on until a clicked item satisfies."""

    def __init__(self, satisfaction: float) -> None:
        self.satisfaction = satisfaction

    def reads_on(self, attraction: Floats) -> tuple[F64 | float, F64 | float]:
        """See `Chain.reads_on`."""
        return 1.0, 1 - self.satisfaction

    def chain_rule(self, attraction: F64, skip: F64, click: F64) -> tuple[F64 | float, F64]:
        """See `Chain.chain_rule`."""
        return 0.0, np.array([-click.sum()])

    def free(self) -> dict[str, float]:
        """The satisfaction s."""
        return {"satisfaction": self.satisfaction}

    def with_free(self, values: F64) -> Self:
        """See `ClickModel.with_free`."""
        return type(self)(float(values[0]))

    def parameters(self) -> ClickParameters:
        """See `ClickModel.parameters`."""
        return ClickParameters(satisfaction=self.satisfaction)
