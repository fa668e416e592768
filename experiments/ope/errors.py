"""How far estimates lie from the truth, over many logs: bias, spread and coverage by estimator.

Where theory says that an estimator has no bias, its mean error over independent logs must lie
within a few of its own standard errors; ``shelftalk bench ope --errors`` prints whether it does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.assemble import default_world
from envs.progress import Progress, silent
from experiments.ope.error_worlds import ErrorWorld, Theory, error_worlds
from experiments.ope.evaluate import Estimate, evaluate

#: Standard errors within which the mean error of an unbiased estimator must lie.
BAND = 3.0


@dataclass(frozen=True)
class Errors:
    """What one estimator did on the logs of one world."""

    world: str
    estimator: str
    theory: Theory
    truth: float
    """Mean over logs of what was to be found."""
    bias: float
    """Mean error."""
    bias_se: float
    """Its standard error, that of the truth included."""
    rmse: float
    """Root of the mean squared error."""
    covered: float
    """Share of logs whose 95 % bootstrap interval held the truth."""
    conclusive: float
    """Share of logs with no verdict against the estimate."""
    ess: float
    """Median share of the log in the effective sample size."""
    logs: int

    @property
    def in_band(self) -> bool:
        """Whether the mean error lies within `BAND` of its standard errors."""
        return abs(self.bias) <= BAND * self.bias_se

    def as_row(self) -> dict[str, Any]:
        """Return a row as ``shelftalk bench`` prints it: the bias in per cent, and its band."""
        share = 100 / self.truth
        bias, reach = share * self.bias, share * BAND * self.bias_se
        return {
            "name": f"{self.world}: {self.estimator} ({self.theory})", "metric": "bias",
            "unit": "% of the truth", "value": bias, "min": bias - reach, "max": bias + reach,
            "config": f"{self.logs} logs, +-{BAND:.0f} standard errors"
            f"{'' if self.in_band else ' (WITHOUT 0)'}; RMSE {share * self.rmse:.1f} %, 95 % "
            f"intervals hold the truth in {self.covered:.1%}, verdict against it in "
            f"{1 - self.conclusive:.0%}, ESS {self.ess:.0%}",
            "world": self.world, "estimator": self.estimator, "theory": self.theory,
            "in_band": self.in_band, "truth": self.truth, "rmse": self.rmse,
            "covered": self.covered, "conclusive": self.conclusive, "ess": self.ess,
        }  # fmt: skip


def measure_errors(logs: int = 200, progress: Progress = silent) -> list[dict[str, Any]]:
    """Return the rows of ``shelftalk bench ope --errors``: every world of the default shop."""
    return [
        one.as_row()
        for world in error_worlds(default_world())
        for one in study_errors(world, logs, progress=progress)
    ]


def study_errors(
    world: ErrorWorld,
    logs: int,
    *,
    seed: int = 0,
    resamples: int = 300,
    progress: Progress = silent,
) -> list[Errors]:
    """Evaluate ``logs`` logs of a world and count the errors of each estimator.

    Args:
        world: where logs come from.
        logs: how many, each of a seed of its own.
        seed: of the first.
        resamples: of each bootstrap.
        progress: called after each log.
    """
    found: dict[str, list[Estimate]] = defaultdict(list)
    truths, rng = [], np.random.default_rng(seed)
    for done, (frame, *truth) in enumerate(world.logs(logs, seed), start=1):
        truths.append(truth)
        for estimate in evaluate(
            frame, list(world.theory), rng=rng, interval="bootstrap", resamples=resamples
        ):
            found[estimate.estimator].append(estimate)
        progress(done, logs, {})
    known, known_se = np.array(truths).T
    # The error of a truth that all logs share does not average out.
    shared = float(known_se.mean())
    return [_errors(world, name, estimates, known, shared) for name, estimates in found.items()]


def _errors(
    world: ErrorWorld, name: str, estimates: Sequence[Estimate], truth: np.ndarray, truth_se: float
) -> Errors:
    error = np.array([estimate.value for estimate in estimates]) - truth
    low, high = (np.array([getattr(e, end) for e in estimates]) for end in ("low", "high"))
    return Errors(
        world=world.name,
        estimator=name,
        theory=world.theory[name],
        truth=float(truth.mean()),
        bias=float(error.mean()),
        bias_se=float(np.hypot(error.std(ddof=1) / np.sqrt(len(error)), truth_se)),
        rmse=float(np.sqrt(np.square(error).mean())),
        covered=float(((low <= truth) & (truth <= high)).mean()),
        conclusive=float(np.mean([estimate.conclusive for estimate in estimates])),
        ess=float(np.median([estimate.ess / estimate.n for estimate in estimates])),
        logs=len(error),
    )
