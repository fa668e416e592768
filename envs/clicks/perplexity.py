"""How well fitted click models foretell clicks that they were not fitted to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from envs.clicks import ClickModelName
from envs.clicks.base import F64, Bools, ClickModel, Floats
from envs.clicks.fit import Fit
from envs.clicks.log import ClickLog


def perplexity(model: ClickModel, attraction: Floats, clicks: Bools) -> F64:
    """Return the perplexity of clicks by position, (k,) float64; 1 is perfect, 2 is a coin.

    p_j = 2^(-mean over pages of log2 P(C_j = c_j)), with the probability of a click at j before
    any click of the page is known (Dupret, Piwowarski 2008; Chuklin, Markov, de Rijke 2015).

    Args:
        model: the click model.
        attraction: of the items shown, (B, k).
        clicks: on the same pages, (B, k); pages that the model was not fitted to.
    """
    chance = model.marginal_click_probability(attraction)
    with np.errstate(divide="ignore"):  # log(0) = -inf: what was impossible happened
        log2 = np.log2(np.where(clicks, chance, 1 - chance))
    return np.asarray(np.exp2(-log2.mean(axis=0)))


@dataclass(frozen=True)
class HeldOut:
    """What a fitted model says of pages that it has not seen."""

    name: ClickModelName
    #: Mean log-likelihood of a page; -inf where one cannot be under the model.
    log_likelihood: float
    #: By position, (k,) float64.
    perplexity: F64


def held_out(fits: Iterable[Fit], log: ClickLog) -> list[HeldOut]:
    """Compare fitted models on other pages of the same items, best log-likelihood first.

    The log-likelihood also judges how clicks of one page hang together; the perplexity judges each
    position alone, where models that differ in that can look alike.
    """
    found = []
    for fit in fits:
        attraction = fit.attraction[log.shown]
        likelihood = fit.model.log_likelihood(log.clicks, attraction)
        found.append(
            HeldOut(
                fit.name, float(likelihood.mean()), perplexity(fit.model, attraction, log.clicks)
            )
        )
    return sorted(found, key=lambda one: -one.log_likelihood)
