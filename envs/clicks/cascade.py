"""The cascade model.

A shopper reads from the top, clicks the first item that attracts and leaves the page:
P(click_j) = attraction_j * prod_{i<j} (1 - attraction_i) (Craswell et al. 2008, section 3; Chuklin,
Markov, de Rijke 2015, equations 3.9-3.13). At most one click a page.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from envs.clicks.base import F64, Bools, ClickModel, Floats, Slopes
from envs.clicks.parameters import ClickParameters


class Cascade(ClickModel):
    """Examination of position j means that nothing above it attracted."""

    draws = 1

    def clicks_from(self, attraction: Floats, uniforms: F64) -> Bools:
        """See `ClickModel.clicks_from`."""
        attracted = uniforms[..., 0] < attraction
        return attracted & (np.cumsum(attracted, axis=-1) == 1)

    def examination_probability(self, attraction: Floats) -> F64:
        """See `ClickModel.examination_probability`."""
        survived = np.cumprod(1.0 - attraction.astype(np.float64), axis=-1)
        first = np.ones_like(survived[..., :1])
        return np.concatenate([first, survived[..., :-1]], axis=-1)

    def log_likelihood(self, clicks: Bools, attraction: Floats) -> F64:
        """See `ClickModel.log_likelihood`."""
        attracts = attraction.astype(np.float64)
        with np.errstate(divide="ignore"):  # log(0) = -inf says "impossible"
            terms = np.log(np.where(clicks, attracts, 1 - attracts))
        total = np.where(_below(clicks), 0.0, terms).sum(axis=-1)
        return np.where(clicks.sum(axis=-1) > 1, -np.inf, total)

    def free(self) -> dict[str, float]:
        """Nothing: attraction says it all."""
        return {}

    def with_free(self, values: F64) -> Self:
        """See `ClickModel.with_free`."""
        return self

    def slopes(self, clicks: Bools, attraction: F64) -> Slopes:
        """See `ClickModel.slopes`."""
        slope = np.where(clicks, 1 / attraction, -1 / (1 - attraction))
        slope[_below(clicks)] = 0
        return Slopes(self.log_likelihood(clicks, attraction), slope, np.zeros(0))

    def parameters(self) -> ClickParameters:
        """See `ClickModel.parameters`."""
        return ClickParameters()


def _below(clicks: Bools) -> Bools:
    """True below the first click, where nothing is examined, (B, k)."""
    below: Bools = np.cumsum(clicks, axis=-1) > clicks
    return below
