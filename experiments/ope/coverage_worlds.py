"""Made-up shops small enough to enumerate, in which the coverage of intervals is measured.

Slates are drawn without replacement by Plackett-Luce scores, shoppers read them as a cascade, and a
session's shopper is keen or cold: slates of one session are alike, and keen shoppers stay longer.
Everything that an estimator should find is a sum over all slates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Protocol

import numpy as np
import pandas as pd

#: Attraction of an item to a cold and to a keen shopper, relative to the item's own.
_TEMPERS = np.array([0.5, 1.5])


class CoverageWorld(Protocol):
    """Where logs come from, and what estimates of them should find."""

    @property
    def name(self) -> str:
        """What results call it."""

    @property
    def truth(self) -> float:
        """The target policy's value per slate."""

    @property
    def logging_truth(self) -> float:
        """The logging policy's own."""

    @property
    def estimators(self) -> tuple[str, ...]:
        """Those whose intervals are measured: unbiased here, or consistent."""

    def logs(self, count: int, rng: np.random.Generator) -> Iterator[pd.DataFrame]:
        """Yield independent logs with target and model columns."""


@dataclass(frozen=True)
class SlateWorld:
    """All ordered slates of ``k`` of some items, for shoppers of two tempers."""

    name: str
    #: Attraction of each item, (I,) in [0, 0.6].
    attraction: np.ndarray
    #: Plackett-Luce scores of both policies, (I,).
    logging: np.ndarray
    target: np.ndarray
    k: int
    #: Sessions of a log, and slates of a session with a cold and with a keen shopper.
    sessions: int
    lengths: tuple[int, int]
    estimators: tuple[str, ...]
    #: The reward model's predictions relative to the true mean: it is wrong by that factor.
    model: float = 0.8

    @cached_property
    def slates(self) -> np.ndarray:
        """Every ordered slate, (A, k) int."""
        return np.array(list(permutations(range(len(self.attraction)), self.k)))

    @cached_property
    def clicks(self) -> np.ndarray:
        """Probability of a click by temper, slate and position, (2, A, k).

        The cascade model: each item is examined where none above was clicked (Craswell et al. 2008,
        *An experimental comparison of click position-bias models*).
        """
        rates = (_TEMPERS[:, None] * self.attraction)[:, self.slates]
        unclicked = np.cumprod(1 - rates, axis=2)
        above = np.concatenate([np.ones_like(rates[..., :1]), unclicked[..., :-1]], axis=2)
        return above * rates

    @cached_property
    def truth(self) -> float:
        """The target's value, over slates: keen shoppers count as often as they are met."""
        return self._value(self.target)

    @cached_property
    def logging_truth(self) -> float:
        """The logging policy's own value."""
        return self._value(self.logging)

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """Propensities of both policies and the model's predictions by slate, (A, k) each."""
        found = {}
        for prefix, scores in (("", self.logging), ("eval_", self.target)):
            stages = cascade(scores, self.slates)
            found[f"{prefix}pscore"] = np.repeat(stages[:, -1:], self.k, axis=1)
            found[f"{prefix}pscore_cascade"] = stages
            found[f"{prefix}pscore_item_position"] = self._marginals(stages[:, -1])
        found["q_hat"] = self.model * self.clicks.mean(axis=0)
        expected = found["eval_pscore"][:, 0] @ found["q_hat"]
        found["v_hat"] = np.broadcast_to(expected, self.slates.shape)
        return found

    def logs(self, count: int, rng: np.random.Generator) -> Iterator[pd.DataFrame]:
        """Yield logs of ``sessions`` sessions each."""
        for _ in range(count):
            yield self.log(rng)

    def log(self, rng: np.random.Generator) -> pd.DataFrame:
        """Draw one log."""
        temper = rng.integers(0, 2, size=self.sessions)
        session = np.repeat(np.arange(self.sessions), np.array(self.lengths)[temper])
        chances = cascade(self.logging, self.slates)[:, -1]
        slate = rng.choice(len(self.slates), size=len(session), p=chances / chances.sum())
        # A cascade has one click at most: one coin against the cumulated probabilities.
        reach = np.cumsum(self.clicks[temper[session], slate], axis=1)
        coin = rng.random((len(session), 1))
        below = np.concatenate([np.zeros_like(coin), reach[:, :-1]], axis=1)
        grids = {
            "item_id": self.slates[slate],
            "reward": ((coin >= below) & (coin < reach)).astype(float),
            **{name: values[slate] for name, values in self.columns.items()},
        }
        return pd.DataFrame(
            {
                "session_id": np.repeat(session, self.k),
                "slate_id": np.repeat(np.arange(len(session)), self.k),
                "position": np.tile(np.arange(self.k), len(session)),
                **{name: grid.ravel() for name, grid in grids.items()},
            }
        )

    def _value(self, scores: np.ndarray) -> float:
        met = np.array(self.lengths) / sum(self.lengths)
        return float(met @ self.clicks.sum(axis=2) @ cascade(scores, self.slates)[:, -1])

    def _marginals(self, whole: np.ndarray) -> np.ndarray:
        """P(this item at this position), (A, k), from the probabilities of all slates (A,)."""
        found = np.empty(self.slates.shape)
        for position, items in enumerate(self.slates.T):
            found[:, position] = np.bincount(items, weights=whole)[items]
        return found


def cascade(scores: np.ndarray, slates: np.ndarray) -> np.ndarray:
    """Plackett-Luce probability of each prefix of ``slates (A, k)``, ``(A, k)``."""
    strength = np.exp(scores)[slates]
    shown = np.cumsum(strength, axis=1) - strength
    return np.cumprod(strength / (np.exp(scores).sum() - shown), axis=1)


def made_up_worlds() -> list[SlateWorld]:
    """Return the worlds of ``shelftalk bench ope --coverage``, the shop's own logs aside."""
    rng = np.random.default_rng(0)
    ten, six = rng.uniform(0.05, 0.6, size=10), rng.uniform(0.05, 0.6, size=6)
    bandit = ("IPS", "SNIPS", "DR", "SNDR")
    # A cascade's clicks depend on what stands above, so IIPS is biased here and has no place.
    slate = ("SIPS", "RIPS", "SNSIPS", "SNRIPS", "CascadeDR")
    gentle, far = rng.normal(0, 0.5, size=10), np.linspace(-2.0, 2.0, 10)
    return [
        SlateWorld("bandit, light weights", ten, gentle, -gentle, 1, 500, (1, 1), bandit),
        SlateWorld("bandit, heavy weights", ten, far, -far, 1, 2000, (1, 1), bandit),
        SlateWorld("bandit, rare clicks", ten / 30, gentle, gentle[::-1], 1, 3000, (1, 1), bandit),
        SlateWorld(
            "slates of 3", six, rng.normal(0, 0.7, 6), rng.normal(0, 0.7, 6), 3, 1000, (1, 1), slate
        ),
        SlateWorld(
            "sessions", six, rng.normal(0, 0.3, 6), rng.normal(0, 0.3, 6), 3, 300, (2, 6), slate
        ),
    ]
