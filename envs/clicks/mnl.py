"""Multinomial logit with a no-click option: the items of a page compete for at most one click.

    P(click j) = v_j / (1 + sum_i v_i),   P(no click) = 1 / (1 + sum_i v_i),   v_j = a_j / (1 - a_j)

(Luce 1959, "Individual choice behavior"; McFadden 1974, "Conditional logit analysis of qualitative
choice behavior"). Odds of attraction as weights and 1 for the no-click option are the scale on
which an item shown alone is clicked with its attraction, as in the other models; another weight for
no click would multiply all odds alike, which clicks cannot tell apart. The whole page is seen, so
the order of the items does not matter.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from envs.clicks.base import F64, Bools, ClickModel, Floats, Slopes
from envs.clicks.parameters import ClickParameters

# Stands for a waiting time of zero, small enough to lose against no real one.
_TINY = 1e-200


class MultinomialLogit(ClickModel):
    """At most one click a page, shared out by the odds of attraction."""

    draws = 2

    def clicks_from(self, attraction: Floats, uniforms: F64) -> Bools:
        """See `ClickModel.clicks_from`; a race of exponential clocks.

        Item j rings at rate v_j, and each of the k positions adds 1/k to the rate of giving up:
        the first to ring decides. So a page that differs in one item keeps the luck of the others.
        """
        slots = attraction.shape[-1]
        wait = np.maximum(-np.log1p(-uniforms[..., 0]), _TINY)
        gives_up = -slots * np.log(np.maximum(uniforms[..., 1].max(axis=-1), _TINY))
        # Speeds are compared, not times, so that an item without attraction has speed 0.
        speed = _odds(attraction) / wait
        wins = np.arange(slots) == speed.argmax(axis=-1)[..., None]
        return wins & (speed * gives_up[..., None] > 1)

    def examination_probability(self, attraction: Floats) -> F64:
        """Probability that no other item takes the click, (1 + v_j) / (1 + sum_i v_i), (B, k).

        It plays the part of examination: times attraction it is the probability of a click.
        """
        odds = _odds(attraction)
        return (1 + odds) / (1 + odds.sum(axis=-1, keepdims=True))

    def log_likelihood(self, clicks: Bools, attraction: Floats) -> F64:
        """See `ClickModel.log_likelihood`."""
        odds = _odds(attraction)
        chosen = np.where(clicks.any(axis=-1), (odds * clicks).sum(axis=-1), 1.0)
        with np.errstate(divide="ignore"):  # log(0) = -inf says "impossible"
            out = np.log(chosen / (1 + odds.sum(axis=-1)))
        return np.where(clicks.sum(axis=-1) > 1, -np.inf, out)

    def free(self) -> dict[str, float]:
        """Nothing: attraction says it all."""
        return {}

    def with_free(self, values: F64) -> Self:
        """See `ClickModel.with_free`."""
        return self

    def slopes(self, clicks: Bools, attraction: F64) -> Slopes:
        """See `ClickModel.slopes`."""
        odds = _odds(attraction)
        # d log v / d a = 1 / (a (1 - a)).
        slope = (clicks - odds / (1 + odds.sum(axis=-1, keepdims=True))) / (
            attraction * (1 - attraction)
        )
        return Slopes(self.log_likelihood(clicks, attraction), slope, np.zeros(0))

    def parameters(self) -> ClickParameters:
        """See `ClickModel.parameters`."""
        return ClickParameters()


def _odds(attraction: Floats) -> F64:
    """Odds of attraction, (B, k) float64; finite also where it is 1."""
    certain = np.minimum(attraction.astype(np.float64), 1 - 2.0**-53)
    return certain / (1 - certain)
