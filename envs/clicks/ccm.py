"""The click chain model (CCM): how good a clicked item is decides whether the reading goes on.

    P(E_{j+1} = 1 | E_j = 1, C_j = 0) = tau1
    P(E_{j+1} = 1 | E_j = 1, C_j = 1) = tau2 (1 - a_j) + tau3 a_j

with the relevance a_j, which is also the click probability once examined (Guo, Liu, Kannan, Minka,
Taylor, Wang, Faloutsos 2009, "Click chain model in web search", WWW, where the three are alpha1..
alpha3). The paper infers a posterior of a_j; here it is one number. With tau2 = tau3 relevance does
not matter after a click: DBN with gamma = tau1 and gamma (1 - s) = tau2.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from envs.clicks.base import F64, Floats
from envs.clicks.chain import Chain
from envs.clicks.parameters import ClickParameters


class ClickChain(Chain):
    """Reading on after a click depends on the attraction of the clicked item."""

    def __init__(self, tau1: float, tau2: float, tau3: float) -> None:
        self.tau1, self.tau2, self.tau3 = tau1, tau2, tau3

    def reads_on(self, attraction: Floats) -> tuple[F64 | float, F64 | float]:
        """See `Chain.reads_on`."""
        after_click: F64 = self.tau2 + (self.tau3 - self.tau2) * attraction.astype(np.float64)
        return self.tau1, after_click

    def chain_rule(self, attraction: F64, skip: F64, click: F64) -> tuple[F64 | float, F64]:
        """See `Chain.chain_rule`."""
        relevant = (attraction * click).sum()
        free = np.array([skip.sum(), click.sum() - relevant, relevant])
        return (self.tau3 - self.tau2) * click, free

    def free(self) -> dict[str, float]:
        """tau1..tau3."""
        return {"tau1": self.tau1, "tau2": self.tau2, "tau3": self.tau3}

    def with_free(self, values: F64) -> Self:
        """See `ClickModel.with_free`."""
        return type(self)(*values.tolist())

    def parameters(self) -> ClickParameters:
        """See `ClickModel.parameters`."""
        return ClickParameters(tau1=self.tau1, tau2=self.tau2, tau3=self.tau3)
