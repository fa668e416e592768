"""The cascade model.

A shopper reads from the top, clicks the first item that attracts and leaves the page:
P(click_j) = attraction_j * prod_{i<j} (1 - attraction_i) (Craswell et al. 2008, section 3; Chuklin,
Markov, de Rijke 2015, equations 3.9-3.13). At most one click a page.
"""

from __future__ import annotations

import numpy as np

from envs.clicks.base import F32, F64, Bools, ClickModel


class Cascade(ClickModel):
    """Examination of position j means that nothing above it attracted."""

    draws = 1

    def clicks_from(self, attraction: F32, uniforms: F64) -> Bools:
        """See `ClickModel.clicks_from`."""
        attracted = uniforms[..., 0] < attraction
        return attracted & (np.cumsum(attracted, axis=-1) == 1)

    def marginal_click_probability(self, attraction: F32) -> F64:
        """See `ClickModel.marginal_click_probability`."""
        return self.examination_probability(attraction) * attraction

    def examination_probability(self, attraction: F32) -> F64:
        """See `ClickModel.examination_probability`."""
        survived = np.cumprod(1.0 - attraction.astype(np.float64), axis=-1)
        first = np.ones_like(survived[..., :1])
        return np.concatenate([first, survived[..., :-1]], axis=-1)

    def log_likelihood(self, clicks: Bools, attraction: F32) -> F64:
        """See `ClickModel.log_likelihood`."""
        # Below the click nothing is examined, so it contributes nothing.
        below = np.cumsum(clicks, axis=-1) - clicks > 0
        attracts = attraction.astype(np.float64)
        with np.errstate(divide="ignore"):  # log(0) = -inf says "impossible"
            terms = np.log(np.where(clicks, attracts, 1 - attracts))
        total = np.where(below, 0.0, terms).sum(axis=-1)
        return np.where(clicks.sum(axis=-1) > 1, -np.inf, total)
