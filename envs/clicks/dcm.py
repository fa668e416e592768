"""The dependent click model (DCM): a cascade that may go on after a click.

After a skip the shopper always reads on; after a click at position j with probability lambda_j:
P(E_{j+1} = 1 | E_j = 1, C_j = 1) = lambda_j (Guo, Liu, Wang 2009, "Efficient multiple-click models
in web search", WSDM). With every lambda_j = 0 it is the cascade model; with every lambda_j = 1 each
item is clicked by its attraction alone.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from envs.clicks.base import F64, Floats
from envs.clicks.chain import Chain
from envs.clicks.parameters import ClickParameters


class DependentClick(Chain):
    """Reading on after a click depends on the position."""

    def __init__(self, continuation: F64) -> None:
        #: Probability of reading on after a click at each position but the last, (k - 1,) float64.
        self.continuation = continuation
        # Below the last position there is nothing to read.
        self._click = np.append(continuation, 0.0)

    def reads_on(self, attraction: Floats) -> tuple[F64 | float, F64 | float]:
        """See `Chain.reads_on`."""
        return 1.0, self._click

    def chain_rule(self, attraction: F64, skip: F64, click: F64) -> tuple[F64 | float, F64]:
        """See `Chain.chain_rule`."""
        return 0.0, click[:, :-1].sum(axis=0)

    def free(self) -> dict[str, float]:
        """lambda_1..lambda_{k-1}."""
        return {f"continuation_{j + 1}": float(c) for j, c in enumerate(self.continuation)}

    def with_free(self, values: F64) -> Self:
        """See `ClickModel.with_free`."""
        return type(self)(values)

    def parameters(self) -> ClickParameters:
        """See `ClickModel.parameters`."""
        return ClickParameters(continuation=tuple(self.continuation.tolist()))
