"""Intervals that hold at every sample size: clipped weights, bounded rewards, no normal limit.

With rewards in [a, b] and weights w, capped at c to v = min(w, c), a position's value E[w r] lies
between two means of bounded variables:

    a + E[v (r - a)]  <=  E[w r]  <=  b - E[v (b - r)],

since E[w] = 1 and w >= v (Bottou et al. 2013, *Counterfactual reasoning and learning systems*,
outer confidence intervals; Waudby-Smith et al. 2024, *Anytime-valid off-policy inference for
contextual bandits*). What clipping hides, and what the log could not show at all, widens the upper
side instead of biasing it. Half of the error goes to each side.
"""

from __future__ import annotations

import numpy as np

from envs.errors import UserError
from experiments.ope.concentration import LowerBound

#: Estimators that are means of weighted rewards, whose values these intervals are of.
BOUNDED_ESTIMATORS = ("IPS", "SIPS", "IIPS", "RIPS")
#: Weights are capped here. It must be chosen before the log is seen, so it does not depend on it.
WEIGHT_CAP = 20.0
#: Halvings of the range of a slate's mean: to 1e-12 of it.
_HALVINGS = 40


def bounded_interval(
    reward: np.ndarray,
    weight: np.ndarray,
    clusters: np.ndarray,
    reward_range: tuple[float, float],
    level: float,
    bound: LowerBound,
    cap: float = WEIGHT_CAP,
) -> tuple[float, float]:
    """Return an interval for the target's value per slate, ``sum_l E[w_l r_l]``.

    Slates of a cluster may depend on each other; clusters may not. Where they differ in their
    number of slates, the largest seen is taken as the largest possible.

    Args:
        reward: (S, k) float64, 0 at positions that a slate does not have.
        weight: (S, k) float64, as from ``Slates.weight``.
        clusters: (S,) int, from 0 without gaps, in the order of the log.
        reward_range: the least and the largest reward that a position can have; not those met.
        level: the interval's level.
        bound: a lower bound on a mean, from `experiments.ope.concentration`.
        cap: the largest weight that counts.

    Raises:
        UserError: a reward lies outside the range.
    """
    least, most = _checked_range(reward, reward_range)
    clipped, positions = np.minimum(weight, cap), reward.shape[1]
    largest = positions * cap * (most - least)
    found = [
        _mean_per_slate((clipped * gap).sum(axis=1), clusters, largest, (1 - level) / 2, bound)
        for gap in (reward - least, most - reward)
    ]
    return positions * least + found[0], positions * most - found[1]


def _mean_per_slate(
    x: np.ndarray, clusters: np.ndarray, largest: float, alpha: float, bound: LowerBound
) -> float:
    """Lower bound on E[sum of a cluster's x] / E[its number of slates], for x (S,) >= 0.

    It is the largest theta at which the mean of ``sum x - theta slates`` is surely above 0.
    """
    sums, sizes = np.bincount(clusters, weights=x), np.bincount(clusters)
    longest = int(sizes.max())
    if (sizes == longest).all():
        return max(0.0, bound(sums / longest, largest, alpha))

    def surely_above(theta: float) -> bool:
        # Shifted by theta for each slate that a cluster could have had, so that it is never < 0.
        shifted = sums + theta * (longest - sizes)
        return bound(shifted, longest * (largest + theta), alpha) > theta * longest

    low, high = 0.0, largest
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if surely_above(middle) else (low, middle)
    return low


def _checked_range(reward: np.ndarray, reward_range: tuple[float, float]) -> tuple[float, float]:
    least, most = reward_range
    if not least < most:
        raise UserError(f"the reward range must go upwards, but it is {least:g} to {most:g}.")
    met = float(reward.min()), float(reward.max())
    if met[0] < least or met[1] > most:
        raise UserError(
            f"the reward range is {least:g} to {most:g}, but the log's rewards go from {met[0]:g} "
            f"to {met[1]:g}; give the range of all rewards that are possible."
        )
    return least, most
