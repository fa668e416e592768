"""Logs of the simulated shop, many of them, for measuring the coverage of intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from envs.world import World
from experiments.config import OpeConfig
from experiments.ope.shop_logs import popularity_logits, seeded_logs, similarity_logits

#: Target slates that a page's expected reward is the mean of: over all pages of all logs, two do.
_TRUTH_SLATES = 2


@dataclass
class ShopWorld:
    """The default shop under default logging, each log of seeds of its own.

    The logging policy is the pipeline's: Plackett-Luce over mean similarity, with the default
    weight; the target samples by popularity, with the default spread. The reward model is the mean
    reward of a position, which is wrong of every item.
    """

    world: World
    #: Sessions of one log.
    sessions: int
    #: The default shop examines by position, so all of these are unbiased.
    estimators: tuple[str, ...] = (
        "SIPS",
        "IIPS",
        "RIPS",
        "SNSIPS",
        "SNIIPS",
        "SNRIPS",
        "DR",
        "CascadeDR",
    )
    #: Sums over the pages met so far: of the target's expected reward, of the logging policy's own,
    #: and their number.
    met: np.ndarray = field(default_factory=lambda: np.zeros(3))

    @property
    def name(self) -> str:
        """What results call it."""
        return f"the shop's log of {self.sessions:,} sessions"

    @property
    def truth(self) -> float:
        """The target's expected reward of a page, over the pages of all logs drawn so far.

        Its own error is that of all logs together: one part in sqrt(logs) of a standard error.
        """
        return float(self.met[0] / self.met[2])

    @property
    def logging_truth(self) -> float:
        """The same of the logging policy."""
        return float(self.met[1] / self.met[2])

    def logs(self, count: int, rng: np.random.Generator) -> Iterator[pd.DataFrame]:
        """Yield logs of sessions that no other log of the generator's seed has."""
        config = OpeConfig()
        logging = similarity_logits(config.logging_weight)
        target = popularity_logits(config.target_spread)
        seed = int(rng.integers(2**40))
        drawn = seeded_logs(self.world, logging, target, count, self.sessions, seed, _TRUTH_SLATES)
        for log in drawn:
            self.met += [log.truth.sum(), log.logging_truth.sum(), len(log.truth)]
            mean = log.frame.groupby("position")["reward"].transform("mean")
            yield log.frame.assign(q_hat=mean, v_hat=mean)
