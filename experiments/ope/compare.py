"""Several target policies on one log: their values, paired differences, simultaneous intervals.

All policies meet the same slates and the same resamples, so a difference is far surer than either
value. Simultaneous intervals hold for all policies (or all pairs) at once, so that the best of ten
is not taken for good because it is the luckiest: low and high are ``estimate -+ q se``, where q is
the quantile of the largest |resampled - estimate| / se among them (the sup-t band: Montiel Olea and
Plagborg-Moller 2019, *Simultaneous confidence bands*; Romano and Wolf 2005, stepwise testing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from envs.errors import UserError, nearest
from envs.feedback import PROPENSITIES
from experiments.ope.bootstrap import bootstrap_error, bootstrap_values, percentile_interval
from experiments.ope.evaluate import (
    ESTIMATED,
    Estimate,
    Spread,
    check_choices,
    conclude,
    tallied,
)
from experiments.ope.intervals import point, wilson_interval
from experiments.ope.slates import Slates
from experiments.ope.tally import Tally, require_clusters, tally_slates

#: What the logging policy is called beside the targets.
LOGGED = "logged"
#: Columns that a target has of its own, behind its prefix.
_OWN = (*PROPENSITIES, "v_hat", "v_hat_cascade")


@dataclass(frozen=True)
class Contestant:
    """One policy's value."""

    target: str
    """The target's prefix, or ``logged``."""
    estimate: Estimate
    joint_low: float
    joint_high: float
    """Interval that holds for all policies of the comparison at once."""


@dataclass(frozen=True)
class Difference:
    """The value of policy ``a`` less that of ``b``, from the same slates."""

    a: str
    b: str
    value: float
    low: float
    high: float
    se: float
    joint_low: float
    joint_high: float
    """Interval that holds for all pairs of the comparison at once."""
    conclusive: bool
    """Whether both policies overlap with the log enough to conclude."""

    @property
    def verdict(self) -> str:
        """In words, by the simultaneous interval."""
        if not self.conclusive:
            return "not enough overlap to conclude"
        if self.joint_low > 0:
            return f"{self.a} is better than {self.b}"
        if self.joint_high < 0:
            return f"{self.b} is better than {self.a}"
        return f"{self.a} and {self.b} cannot be told apart"


@dataclass(frozen=True)
class Comparison:
    """All policies and all pairs."""

    estimator: str
    level: float
    policies: list[Contestant]
    pairs: list[Difference]

    @property
    def conclusive(self) -> bool:
        """Whether every policy's overlap with the log allows a conclusion."""
        return all(policy.estimate.conclusive for policy in self.policies)

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison for JSON, undefined numbers as None."""
        return {
            "estimator": self.estimator,
            "level": self.level,
            "policies": [
                {
                    "target": one.target,
                    **one.estimate.as_dict(),
                    **_finite({"joint_low": one.joint_low, "joint_high": one.joint_high}),
                }
                for one in self.policies
            ],
            "pairs": [{**_finite(asdict(pair)), "verdict": pair.verdict} for pair in self.pairs],
        }


def compare(
    frame: pd.DataFrame,
    targets: Sequence[str],
    estimator: str | None = None,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    cluster: str = "session_id",
    resamples: int = 1000,
) -> Comparison:
    """Compare target policies with each other and with the logging policy.

    Args:
        frame: a feedback log. A target is a prefix of its columns: ``eval`` is ``eval_pscore,
            eval_pscore_cascade, eval_pscore_item_position``, and ``greedy`` the same with
            ``greedy_``. A prefix's ``v_hat`` and ``v_hat_cascade`` stand for the log's own.
        targets: their prefixes.
        estimator: a name from ``ESTIMATORS``; the self-normalised one of the least assumptions
            that the log allows when None: SNIPS, SNRIPS where there are cascade propensities,
            else SNSIPS.
        rng: source of the bootstrap's draws.
        level: the intervals' level, in (0, 1).
        cluster: the column whose values are independent.
        resamples: number of bootstrap resamples, shared by all policies.

    Raises:
        UserError: a log that breaks its rules, an unknown target or estimator, an absent column.
    """
    if not targets or len(set(targets)) < len(targets) or LOGGED in targets:
        raise UserError(
            f"targets must be different prefixes other than {LOGGED!r}, but are "
            f"{', '.join(targets) or 'none'}."
        )
    views = {name: Slates(target_view(frame, name), cluster) for name in targets}
    chosen = estimator or _default(next(iter(views.values())))
    check_choices([chosen], "bootstrap", level)
    tallies = {
        name: tally_slates(slates, tallied([chosen], slates)) for name, slates in views.items()
    }
    reference = next(iter(tallies.values()))
    require_clusters(reference, cluster)
    terms = {name: tally.terms[chosen] for name, tally in tallies.items()}
    terms[LOGGED] = reference.logged
    drawn = dict(zip(terms, bootstrap_values(list(terms.values()), resamples, rng).T, strict=True))
    values = {name: point(part) for name, part in terms.items()}
    estimated = ESTIMATED in frame and bool(frame[ESTIMATED].any())
    estimates = {
        name: _logged(reference, drawn[name], level)
        if name == LOGGED
        else _estimate(chosen, tallies[name], drawn[name], level, estimated)
        for name in terms
    }
    names = list(terms)
    pairs = list(combinations(names, 2))
    bands = _joint([values[n] for n in names], [drawn[n] for n in names], level)
    gaps = [drawn[a] - drawn[b] for a, b in pairs]
    gap_values = [values[a] - values[b] for a, b in pairs]
    return Comparison(
        estimator=chosen,
        level=level,
        policies=[Contestant(n, estimates[n], *band) for n, band in zip(names, bands)],
        pairs=[
            Difference(
                a, b, value, *percentile_interval(gap, level), bootstrap_error(gap), *band,
                conclusive=estimates[a].conclusive and estimates[b].conclusive,
            )
            for (a, b), value, gap, band in zip(
                pairs, gap_values, gaps, _joint(gap_values, gaps, level)
            )
        ],
    )  # fmt: skip


def target_view(frame: pd.DataFrame, target: str) -> pd.DataFrame:
    """Return the log with the columns of target prefix ``target`` as the evaluated ones.

    Raises:
        UserError: the log has no propensities under that prefix.
    """
    if f"{target}_pscore" not in frame:
        known = [str(c).removesuffix("_pscore") for c in frame if str(c).endswith("_pscore")]
        raise UserError(
            f"target {target!r}: the log has no column {target + '_pscore'!r}; the targets that it "
            f"has are {', '.join(known) or 'none'}.{nearest(target, known)}"
        )
    if target == "eval":
        return frame
    own = {f"{target}_{name}": name for name in _OWN if f"{target}_{name}" in frame}
    renamed = {
        theirs: name if name.startswith("v_hat") else f"eval_{name}" for theirs, name in own.items()
    }
    # Nothing of another target may stand in for what this one lacks.
    foreign = {f"eval_{name}" for name in PROPENSITIES} | set(renamed.values())
    return frame.drop(columns=[c for c in foreign if c in frame]).rename(columns=renamed)


def logged_value(
    frame: pd.DataFrame,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    cluster: str = "session_id",
    resamples: int = 1000,
) -> Estimate:
    """Return the logging policy's own value: the mean reward of the log's slates.

    A log of single items, each its own cluster, with rewards 0 and 1 gets Wilson's interval, which
    holds for rare clicks as well (`experiments.ope.coverage` has its figure); others the bootstrap.
    """
    frame = frame if "eval_pscore" in frame else frame.assign(eval_pscore=frame["pscore"])
    slates = Slates(frame, cluster)
    tally = tally_slates(slates, [])
    require_clusters(tally, cluster)
    drawn = bootstrap_values([tally.logged], resamples, rng)[:, 0]
    found = _logged(tally, drawn, level)
    zero_one = bool(np.isin(slates.reward, (0.0, 1.0)).all())
    if slates.k == 1 and tally.clusters == slates.n and zero_one:
        low, high = wilson_interval(int(slates.reward.sum()), slates.n, level)
        return replace(found, low=low, high=high, interval="wilson")
    return found


def _default(slates: Slates) -> str:
    if slates.k == 1:
        return "SNIPS"
    cascade = slates.has("pscore_cascade") and slates.has("eval_pscore_cascade")
    return "SNRIPS" if cascade else "SNSIPS"


def _estimate(
    name: str, tally: Tally, drawn: np.ndarray, level: float, estimated: bool
) -> Estimate:
    spread = Spread(*percentile_interval(drawn, level), bootstrap_error(drawn))
    spreads = {name: spread}
    return conclude([name], tally, spreads, "bootstrap", level, estimated=estimated)[0]


def _logged(tally: Tally, drawn: np.ndarray, level: float) -> Estimate:
    low, high = percentile_interval(drawn, level)
    return Estimate(
        LOGGED, point(tally.logged), low, high, bootstrap_error(drawn),
        ess=float(tally.n), max_weight=1.0, zero_share=0.0, n=tally.n, warnings=[], level=level,
    )  # fmt: skip


def _joint(
    values: Sequence[float], drawn: Sequence[np.ndarray], level: float
) -> list[tuple[float, float]]:
    """Simultaneous intervals of several values from their paired resamples."""
    table = np.stack(drawn, axis=1)
    table = table[~np.isnan(table).any(axis=1)]
    if len(table) < 2:
        return [(float("nan"), float("nan"))] * len(values)
    errors, centre = table.std(axis=0, ddof=1), np.array(values)
    gap = np.abs(table - centre)
    # Two equal policies differ by nothing, in every resample.
    scaled = np.divide(gap, errors, out=np.zeros_like(gap), where=errors > 0)
    reach = np.quantile(scaled.max(axis=1), level)
    return [(float(v - reach * e), float(v + reach * e)) for v, e in zip(centre, errors)]


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}
