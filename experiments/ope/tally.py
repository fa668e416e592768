"""What an evaluation keeps of a log: estimators' terms and weights, summed by cluster.

A log of any length becomes sums of its sessions, from which every value, error, resample and
diagnostic follows. Parts of a log are tallied one by one and joined (`experiments.ope.chunks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from envs.errors import UserError
from experiments.ope.diagnostics import WeightSums
from experiments.ope.estimators import Terms, plain
from experiments.ope.intervals import by_cluster
from experiments.ope.registry import ESTIMATORS
from experiments.ope.sessions import Sessions
from experiments.ope.slates import Slates


@dataclass(frozen=True)
class Tally:
    """Sums of a log's C clusters."""

    n: int
    """Number of slates."""
    terms: dict[str, Terms]
    """By estimator, (C, T) each."""
    weights: dict[str, WeightSums]
    """By what `weights_of` calls the weights that an estimator uses."""
    logged: Terms
    """The logging policy's own value: rewards over slates, (C, 1)."""

    @property
    def clusters(self) -> int:
        """Number of clusters, C."""
        return len(self.logged.numerator)


def tally_slates(slates: Slates, names: Sequence[str]) -> Tally:
    """Tally the estimators ``names``, whose columns the log must have."""
    clusters = slates.clusters
    weights: dict[str, WeightSums] = {}
    for name in names:
        key = weights_of(name)
        if key is not None and key not in weights:
            weights[key] = _weight_sums(slates, name)
    return Tally(
        n=slates.n,
        terms={name: by_cluster(ESTIMATORS[name].terms(slates), clusters) for name in names},
        weights=weights,
        logged=by_cluster(plain(slates.reward.sum(axis=1)), clusters),
    )


def weights_of(name: str) -> str | None:
    """Return what the weights of an estimator are called; None where it uses none."""
    estimator = ESTIMATORS[name]
    return name if estimator.session_weights is not None else estimator.propensity


def joined(parts: Sequence[Tally]) -> Tally:
    """Join the tallies of a log's parts, which share no cluster."""
    first = parts[0]
    return Tally(
        n=sum(part.n for part in parts),
        terms={name: _stacked([part.terms[name] for part in parts]) for name in first.terms},
        weights={
            name: WeightSums.joined([part.weights[name] for part in parts])
            for name in first.weights
        },
        logged=_stacked([part.logged for part in parts]),
    )


def require_clusters(tally: Tally, cluster: str) -> None:
    """Raise a UserError where there are too few clusters for an interval."""
    if tally.clusters < 2:
        raise UserError(
            f"all slates share one {cluster!r}: an interval needs at least two of them."
        )


def _weight_sums(slates: Slates, name: str) -> WeightSums:
    estimator = ESTIMATORS[name]
    if estimator.session_weights is not None:
        sessions = Sessions(slates)
        clusters, _ = pd.factorize(slates.clusters[sessions.first])
        return WeightSums.of(estimator.session_weights(sessions), clusters)
    assert estimator.propensity is not None  # or it would have no weights
    weight = slates.weight(estimator.propensity)
    # Weights of whole slates are the same at all positions: one column says it all.
    columns = weight[:, :1] if estimator.propensity == "pscore" else weight
    return WeightSums.of(columns, slates.clusters)


def _stacked(parts: Sequence[Terms]) -> Terms:
    return Terms(
        np.concatenate([part.numerator for part in parts]),
        np.concatenate([part.denominator for part in parts]),
    )
