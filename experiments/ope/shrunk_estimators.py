"""Estimators whose weights are shrunk by a lambda, which is given or chosen from the log.

How to choose (200 logs each of four worlds of 10 and 50 actions, 300 to 5,000 rows): the estimated
MSE is cautious and hardly ever shrinks, so its error is that of no shrinking (1.00 times). SLOPE
under DR made the error 0.08 to 0.9 times that of DR with a model whose errors average out, and 0.3
to 2.9 times with one that is 30 % too high; without a model (ClippedIPS, SGIPS) 0.75 to 2.3 times.
So estimated MSE is the default, and SLOPE is for who trusts the reward model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np

from envs.errors import UserError
from experiments.ope import estimators, shrinkage
from experiments.ope.estimator import MODEL, Estimator
from experiments.ope.estimators import Terms
from experiments.ope.shrinkage import Shrinkage
from experiments.ope.slates import Slates
from experiments.ope.tuning import Selection, choose_lambda


@dataclass(frozen=True)
class Shrunk:
    """An estimator whose weights are shrunk by a lambda, given or chosen from the log."""

    family: Shrinkage
    model: tuple[str, ...]

    def made(self, choice: float | Selection) -> Estimator:
        """Return it with a lambda, or with a way to choose one."""
        chosen = isinstance(choice, str)
        caveat = f"the interval does not count the {'choice and ' * chosen}bias of shrunk weights"
        return Estimator(
            lambda slates: self._terms(slates, choice),
            "pscore",
            self.model,
            whole_log=chosen,
            caveat=caveat,
        )

    def _terms(self, slates: Slates, choice: float | Selection) -> Terms:
        weight, reward = slates.weight("pscore")[:, 0], slates.reward
        q, v = map(slates.prediction, self.model) if self.model else (0.0, np.zeros_like(reward))
        residual, baseline = (reward - q).sum(axis=1), v.sum(axis=1)
        if isinstance(choice, str):
            choice = choose_lambda(choice, self.family, residual, weight, baseline, slates.clusters)
        return estimators.plain(baseline + self.family.apply(weight, choice) * residual)


SHRUNK: Mapping[str, Shrunk] = {
    "ClippedIPS": Shrunk(shrinkage.CLIP, ()),
    "SGIPS": Shrunk(shrinkage.HARMONIC, ()),
    "ClippedDR": Shrunk(shrinkage.CLIP, MODEL),
    "SwitchDR": Shrunk(shrinkage.SWITCH, MODEL),
    "DRos": Shrunk(shrinkage.OPTIMISTIC, MODEL),
    "SGDR": Shrunk(shrinkage.HARMONIC, MODEL),
}


def parsed_choice(name: str, text: str) -> float | Selection:
    """Return what stands behind the @ of a shrunk estimator's name.

    Raises:
        UserError: it is neither a lambda that the family allows nor a way to choose one.
    """
    for known in get_args(Selection):
        if text == known:
            return known
    family = SHRUNK[name].family
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not family.allows(value):
        raise UserError(
            f"estimator {name}@{text}: lambda must be a number {family.rule}, or one of "
            f"{', '.join(get_args(Selection))}; it is {text!r}."
        )
    return value
