"""The user browsing model (UBM): examination depends on the position and on the click above.

P(C_r = 1 | clicks above) = gamma_{r r'} * attraction_r, with r' < r the position of the last click
above, 0 where there is none (Dupret, Piwowarski 2008, "A user browsing model to predict search
engine click data from past observations", SIGIR, who write the distance r - r' for r'). A click can
revive attention, so examination need not fall down the page. With gamma_{r r'} = theta_r it is the
position-based model.

Clicks tell gamma and attraction only up to a common factor, so a fit takes gamma_{1 0} = 1.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from envs.clicks.base import F64, Bools, ClickModel, Floats, Slopes, log_bernoulli
from envs.clicks.parameters import ClickParameters


class UserBrowsing(ClickModel):
    """Examination gamma by position and position of the click above."""

    draws = 1

    def __init__(self, gamma: F64) -> None:
        #: gamma[r - 1, r'], (k, k) float64; only r' < r is used.
        self.gamma = gamma
        self._told = np.tri(len(gamma), dtype=bool)
        self._told[0, 0] = False

    @classmethod
    def decaying(cls, slots: int, decay: float) -> Self:
        """Return the model with gamma_{r r'} = (r - r')^-decay."""
        place = np.arange(slots)
        return cls(np.maximum(place[:, None] + 1.0 - place, 1.0) ** -decay)

    def clicks_from(self, attraction: Floats, uniforms: F64) -> Bools:
        """See `ClickModel.clicks_from`."""
        clicks = np.empty(attraction.shape, dtype=bool)
        above = np.zeros(len(attraction), dtype=np.intp)
        for j, gamma in enumerate(self.gamma):
            clicks[:, j] = uniforms[:, j, 0] < gamma[above] * attraction[:, j]
            above[clicks[:, j]] = j + 1
        return clicks

    def examination_probability(self, attraction: Floats) -> F64:
        """See `ClickModel.examination_probability`; a recursion over where the click above is."""
        out = np.empty(attraction.shape)
        # Probability that the last click so far is at r' = 0 (none), 1, ..., k - 1.
        above = np.zeros((len(attraction), len(self.gamma) + 1))
        above[:, 0] = 1
        for j, gamma in enumerate(self.gamma):
            seen = above[:, : j + 1] * gamma[: j + 1]
            out[:, j] = seen.sum(axis=1)
            above[:, : j + 1] -= seen * attraction[:, j, None]
            above[:, j + 1] = out[:, j] * attraction[:, j]
        return out

    def log_likelihood(self, clicks: Bools, attraction: Floats) -> F64:
        """See `ClickModel.log_likelihood`."""
        return log_bernoulli(clicks, self.gamma.ravel()[_cells(clicks)] * attraction)

    def free(self) -> dict[str, float]:
        """gamma_{r r'} for r >= 2."""
        cells = zip(*np.nonzero(self._told))
        return {f"gamma_{r + 1}_{above}": float(self.gamma[r, above]) for r, above in cells}

    def with_free(self, values: F64) -> Self:
        """See `ClickModel.with_free`; gamma_{1 0} becomes 1."""
        gamma = np.ones_like(self.gamma)
        gamma[self._told] = values
        return type(self)(gamma)

    def slopes(self, clicks: Bools, attraction: F64) -> Slopes:
        """See `ClickModel.slopes`."""
        cells = _cells(clicks)
        gamma = self.gamma.ravel()[cells]
        chance = gamma * attraction
        slope = np.where(clicks, 1 / chance, -1 / (1 - chance))
        by_cell = np.bincount(cells.ravel(), (slope * attraction).ravel(), self.gamma.size)
        return Slopes(log_bernoulli(clicks, chance), slope * gamma, by_cell[self._told.ravel()])

    def parameters(self) -> ClickParameters:
        """See `ClickModel.parameters`."""
        rows = tuple(tuple(row[: r + 1].tolist()) for r, row in enumerate(self.gamma))
        return ClickParameters(ubm_gamma=rows)


def _cells(clicks: Bools) -> NDArray[np.intp]:
    """Index into the flattened gamma of each position, given the clicks above, (B, k)."""
    slots = clicks.shape[1]
    clicked = np.where(clicks, np.arange(1, slots + 1), 0)
    cells = np.zeros(clicks.shape, dtype=np.intp)
    np.maximum.accumulate(clicked[:, :-1], axis=1, out=cells[:, 1:])
    return cells + np.arange(slots) * slots
