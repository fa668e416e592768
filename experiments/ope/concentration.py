"""Lower confidence bounds on the mean of bounded variables, valid at every sample size.

All take independent ``x (n,)`` in [0, upper] and give a number that lies above the mean with
probability ``alpha`` at most. `experiments.ope.bounded` makes them into intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

#: (x, upper, alpha) -> lower bound on the mean.
LowerBound = Callable[[np.ndarray, float, float], float]

#: Largest bet, as a share of the capital that one outcome may lose (Waudby-Smith and Ramdas 2024).
_LARGEST_BET = 0.5


def hoeffding(x: np.ndarray, upper: float, alpha: float) -> float:
    """``mean - upper sqrt(log(1/alpha) / (2 n))`` (Hoeffding 1963).

    Coverage 100 % in every world of ``shelftalk bench ope --coverage``; with capped weights it is
    mostly as wide as all that is possible.
    """
    return float(x.mean() - upper * np.sqrt(np.log(1 / alpha) / (2 * len(x))))


def empirical_bernstein(x: np.ndarray, upper: float, alpha: float) -> float:
    """``mean - sqrt(2 V log(2/alpha) / n) - 7 upper log(2/alpha) / (3 (n - 1))``.

    V is the sample variance (Maurer and Pontil 2009, *Empirical Bernstein bounds and sample
    variance penalization*, theorem 4).

    Coverage 100 % in every world of ``shelftalk bench ope --coverage``: a guarantee costs width,
    3 to 18 times that of the bootstrap there, and all there is with sessions of many slates.
    """
    n, log = len(x), np.log(2 / alpha)
    variance = float(x.var(ddof=1))
    return float(x.mean() - np.sqrt(2 * variance * log / n) - 7 * upper * log / (3 * (n - 1)))


def confidence_sequence(x: np.ndarray, upper: float, alpha: float) -> float:
    """Return the predictable plug-in empirical-Bernstein bound, which may be read at any time.

    With x scaled to [0, 1] and bets l_t = min(sqrt(2 log(1/alpha) / (s2_{t-1} t log(1 + t))), 1/2)
    made before x_t is seen, the bound after t outcomes is

        (sum l_i x_i - log(1/alpha) - sum (x_i - m_{i-1})^2 (-log(1 - l_i) - l_i)) / sum l_i

    (Waudby-Smith and Ramdas 2024, *Estimating means of bounded random variables by betting*,
    theorem 2, one side). All t hold at once, so the largest is returned, and the log may be looked
    at after each session, and grow for as long as one likes, without spoiling the level. Coverage
    100 % in every world of ``shelftalk bench ope --coverage``, narrower than Bernstein's there.

    Args:
        x: (n,) float64 in the order in which it came.
        upper: what no x can exceed.
        alpha: the chance of a bound above the mean, ever.
    """
    x, log = x / upper, np.log(1 / alpha)
    time = np.arange(1, len(x) + 1)
    mean = (0.5 + np.cumsum(x)) / (time + 1)
    variance = (0.25 + np.cumsum(np.square(x - mean))) / (time + 1)
    mean, variance = (np.concatenate([[v], a[:-1]]) for v, a in ((0.5, mean), (0.25, variance)))
    bet = np.minimum(np.sqrt(2 * log / (variance * time * np.log1p(time))), _LARGEST_BET)
    penalty = np.square(x - mean) * (-np.log1p(-bet) - bet)
    bounds = (np.cumsum(bet * x - penalty) - log) / np.cumsum(bet)
    return float(bounds.max() * upper)


BOUNDS: Mapping[str, LowerBound] = {
    "hoeffding": hoeffding,
    "bernstein": empirical_bernstein,
    "sequence": confidence_sequence,
}
