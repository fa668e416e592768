"""Intervals of figures that both the trained rankers and the sessions they met are samples of.

Value ``v_si`` is what the ranker of training seed s came to in session i. Every ranker meets the
same sessions, so seeds and sessions are crossed, both of them random:

    v_si = mean + a_s + b_i + e_si

with mean squares MS_S between seeds, MS_I between sessions and MS_E of the rest. As with readers
and cases of diagnostic studies (Dorfman, Berbaum, Metz 1992) the mean's variance is the sum of

    what seeds show,         MS_S / (S n), with S - 1 degrees of freedom, and
    what sessions add to it, max(MS_I - MS_E, 0) / (S n), with n - 1,

and the square of the interval's half-width is the sum of the squares of those of Student's t for
both (Howe 1974, "Approximate confidence limits on the mean of X + Y"). Simulated with three seeds,
what is called a 95 % interval holds the truth in 95 of 100 comparisons where trainings differ most,
and in up to 98 where they do not: few trainings cannot tell that they are alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from experiments.measure_intervals import linearised

F64 = NDArray[np.float64]
Span = tuple[float, float]

#: Trainings below which seeds have no spread to be seen.
_SEEDS = 2


@dataclass(frozen=True)
class Crossed:
    """A mean over seeds and sessions with an interval for each of three questions."""

    value: float
    #: Mean of each seed over the sessions.
    by_seed: tuple[float, ...]
    #: Of other sessions for these very rankers; n - 1 degrees of freedom.
    sessions: Span
    #: Of other trainings in these very sessions, S - 1 degrees; None of a single one.
    seeds: Span | None
    #: Of other trainings and other sessions; of a single training that of ``sessions``.
    both: Span

    def as_dict(self) -> dict[str, Any]:
        """Return ``value``, ``low`` and ``high`` (both random), and what else is known by name."""
        found = {
            "value": self.value,
            "low": self.both[0],
            "high": self.both[1],
            "sessions": list(self.sessions),
        }
        if self.seeds is not None:
            found |= {"seeds": list(self.seeds), "by_seed": list(self.by_seed)}
        return found


def crossed(values: F64, level: float = 0.95) -> Crossed:
    """Return the mean of ``values``, (S, n) by seed and session, with its intervals.

    Args:
        values: n of two or more; S = 1 for what was not trained, or trained once.
        level: of the intervals.
    """
    seeds, count = values.shape
    mean, by_seed, by_session = values.mean(), values.mean(axis=1), values.mean(axis=0)
    session = seeds * by_session.var(ddof=1)  # MS_I
    these = _around(mean, _half(session / (seeds * count), count - 1, level))
    if seeds < _SEEDS:
        return Crossed(float(mean), tuple(by_seed.tolist()), these, None, these)
    seed = count * by_seed.var(ddof=1)  # MS_S
    rest = values - by_seed[:, None] - by_session + mean
    error = (rest**2).sum() / ((seeds - 1) * (count - 1))  # MS_E
    halves = (
        _half(seed / (seeds * count), seeds - 1, level),
        _half(max(session - error, 0.0) / (seeds * count), count - 1, level),
    )
    return Crossed(
        float(mean),
        tuple(by_seed.tolist()),
        these,
        _around(mean, halves[0]),
        _around(mean, float(np.hypot(*halves))),
    )


def _half(variance: float, degrees: int, level: float) -> float:
    """Half the width of Student's interval around something of that variance."""
    return float(special.stdtrit(degrees, 0.5 + level / 2) * np.sqrt(variance))


def _around(mean: float, half: float) -> Span:
    return float(mean) - half, float(mean) + half


def share_of_gap(start: F64, reached: F64, end: F64) -> Crossed | None:
    """How much of the way from start to end was gone: mean(reached - start) / mean(end - start).

    Delta method: the ratio's linearised values (`linearised`) are what `crossed` works on. None
    where the way is not surely longer than nothing: then the share may be anything (Fieller 1954).

    Args:
        start, end: (n,), of policies without a seed.
        reached: (S, n), in the same sessions.
    """
    way = end - start
    if not crossed(way[None]).both[0] > 0:
        return None
    return crossed(linearised(reached - start, np.broadcast_to(way, reached.shape)))
