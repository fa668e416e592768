"""AIPS: each group of shoppers gets the weights that fit how it looks at a slate.

Kiyohara, Uehara, Narita, Shimizu, Yamamoto and Saito 2023 (*Off-policy evaluation of ranking
policies under diverse user behavior*): a reward at position l depends on a set of positions that
varies with the shopper's behaviour, and the weight there needs only that set:

``(1/S) sum_s sum_l [pi_e(a_set) / pi_b(a_set)] r_sl``, set by the behaviour of the slate's group.

Behaviours here: ``item`` (this position alone, as IIPS), ``cascade`` (down to here, as RIPS) and
``slate`` (all, as SIPS). A behaviour too simple is biased, one too complex has more variance.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from envs.errors import UserError
from experiments.ope.tuning import mean_variance

#: From the most complex behaviour to the simplest.
BEHAVIOURS = ("slate", "cascade", "item")
#: A group below this many slates says too little of its own behaviour.
MIN_GROUP = 50


def choose_behaviours(
    reward: np.ndarray,
    weights: Mapping[str, np.ndarray],
    groups: np.ndarray,
    clusters: np.ndarray,
) -> np.ndarray:
    """Return for each group the index in BEHAVIOURS with the least estimated error, ``(G,) int``.

    Estimated squared error of a group's mean under behaviour b: its variance plus the squared
    difference to the ``slate`` estimate of the same slates less that difference's own variance (not
    below 0): the slate's weights are unbiased whatever the behaviour. Groups of fewer than
    MIN_GROUP slates take what is best for all slates together.

    Args:
        reward: (S, k) float64.
        weights: for each behaviour, (S, k) float64.
        groups: (S,) int, from 0 without gaps.
        clusters: (S,) int.
    """
    terms = {name: (weights[name] * reward).sum(axis=1) for name in BEHAVIOURS}
    everywhere = _best(terms, clusters)
    chosen = np.full(int(groups.max()) + 1, everywhere)
    for group in range(len(chosen)):
        rows = np.flatnonzero(groups == group)
        if len(rows) >= MIN_GROUP:
            chosen[group] = _best({name: t[rows] for name, t in terms.items()}, clusters[rows])
    return chosen


def _best(terms: Mapping[str, np.ndarray], clusters: np.ndarray) -> int:
    _, codes = np.unique(clusters, return_inverse=True)
    return int(np.argmin(_errors(terms, codes)))


def _errors(terms: Mapping[str, np.ndarray], codes: np.ndarray) -> list[float]:
    """Estimated squared error of the mean under each behaviour."""
    errors = []
    for name in BEHAVIOURS:
        apart = terms[name] - terms["slate"]
        bias = max(float(apart.mean()) ** 2 - mean_variance(apart, codes), 0.0)
        errors.append(mean_variance(terms[name], codes) + bias)
    return errors


def adaptive_weights(
    weights: Mapping[str, np.ndarray], groups: np.ndarray, behaviour: np.ndarray
) -> np.ndarray:
    """Return the weights of each slate under its group's behaviour, ``(S, k) float64``.

    Args:
        weights: for each behaviour, (S, k) float64.
        groups: (S,) int.
        behaviour: (G,) int, index in BEHAVIOURS.
    """
    stacked = np.stack([weights[name] for name in BEHAVIOURS])
    return stacked[behaviour[groups], np.arange(len(groups))]


def context_groups(
    context: np.ndarray,
    reward: np.ndarray,
    weights: Mapping[str, np.ndarray],
    *,
    depth: int = 2,
    min_group: int = 200,
) -> np.ndarray:
    """Split slates by context so that each part's best behaviour saves most error, ``(S,) int``.

    A greedy tree: a node is split at the median of the feature that lowers the sum of squared
    errors of its halves (each with its own behaviour, each counted by its share of slates) most,
    and stays whole where none lowers it. Chosen on the same log, groups add a bias that shrinks
    with ``min_group``; fit them on other sessions where there are enough.

    Args:
        context: (S, C) float64.
        reward: (S, k) float64.
        weights: for each behaviour, (S, k) float64.
        depth: splits on top of each other.
        min_group: slates that each part must keep.

    Raises:
        UserError: the context is no (S, C) array of finite numbers.
    """
    if context.ndim != 2 or len(context) != len(reward) or not np.isfinite(context).all():
        raise UserError(
            f"the context of a behaviour tree must be ({len(reward)}, C) finite numbers, but has "
            f"shape {context.shape} or gaps."
        )
    terms = {name: (weights[name] * reward).sum(axis=1) for name in BEHAVIOURS}
    parts = [np.arange(len(reward))]
    for _ in range(depth):
        parts = [half for rows in parts for half in _split(context, terms, rows, min_group)]
    groups = np.empty(len(reward), dtype=np.int64)
    for number, rows in enumerate(parts):
        groups[rows] = number
    return groups


def _split(
    context: np.ndarray, terms: Mapping[str, np.ndarray], rows: np.ndarray, min_group: int
) -> list[np.ndarray]:
    """The two halves of the best split, or the node itself."""
    best, halves = _error_sum(terms, rows), [rows]
    for feature in context[rows].T:
        below = feature <= np.median(feature)
        left, right = rows[below], rows[~below]
        if min(len(left), len(right)) < min_group:
            continue
        error = _error_sum(terms, left) + _error_sum(terms, right)
        if error < best:
            best, halves = error, [left, right]
    return halves


def _error_sum(terms: Mapping[str, np.ndarray], rows: np.ndarray) -> float:
    """Squared error that a part adds to the whole log's sum under its own best behaviour."""
    part = {name: t[rows] for name, t in terms.items()}
    return len(rows) ** 2 * min(_errors(part, np.arange(len(rows))))
