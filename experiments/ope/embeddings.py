"""Weights of what an action is like, not of which one it is: MIPS and OffCEM.

With many actions, pi_e(a|x) / pi_b(a|x) explodes. If an action acts on the reward through its
embedding e alone, the ratio of the embedding's probabilities is enough, and it varies less:

- MIPS (Saito and Joachims 2022, *Off-policy evaluation for large action spaces via embeddings*):
  ``mean_s w(x_s, e_s) r_s`` with ``w(x, e) = p(e|x, pi_e) / p(e|x, pi_b)`` and
  ``p(e|x, pi) = sum_a pi(a|x) p(e|x, a)``. Unbiased where e carries all of the action's effect.
- OffCEM (Saito, Ren and Joachims 2023, *Off-policy evaluation for large action spaces via conjunct
  effect modeling*): ``mean_s [w(x_s, c_s) (r_s - q(x_s, a_s)) + sum_a pi_e(a|x_s) q(x_s, a)]`` with
  the weights of clusters c. Unbiased where q has the differences within a cluster right.

The functions here make the columns ``pscore_embedding`` and ``pscore_cluster`` (and ``eval_``) that
the estimators read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.errors import UserError
from experiments.ope.cross_fitting import Learner, cross_fit
from experiments.ope.tuning import slope


def embedding_probability(policy: np.ndarray, embedding_given_action: np.ndarray) -> np.ndarray:
    """``p(e_s | x_s, pi) = sum_a pi(a|x_s) p(e_s | x_s, a)``, as ``(S,) float64``.

    Args:
        policy: (S, A) float64, action probabilities.
        embedding_given_action: (S, A) float64, probability (or density) that each action would
            have had the *logged* row's embedding.
    """
    return np.einsum("sa,sa->s", policy, embedding_given_action)


def factored_embedding(per_dimension: Sequence[np.ndarray], logged: np.ndarray) -> np.ndarray:
    """Return p(e_s | a) of embeddings with independent dimensions, ``(S, A) float64``.

    The product over dimensions is taken for each action *before* actions are averaged; the product
    of averages would be another, wrong number.

    Args:
        per_dimension: for each dimension d, (A, E_d) float64, p(e_d | a).
        logged: (S, D) int, the logged embedding.
    """
    product = np.ones((len(logged), len(per_dimension[0])))
    for table, column in zip(per_dimension, logged.T, strict=True):
        product *= table[:, column].T
    return product


def cluster_probability(policy: np.ndarray, cluster: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Return the probability of the logged action's cluster, ``(S,) float64``.

    Args:
        policy: (S, A) float64.
        cluster: (A,) int, the cluster of each action.
        action: (S,) int, the logged action.
    """
    return embedding_probability(
        policy, (cluster[None, :] == cluster[action][:, None]).astype(float)
    )


def regressed_weights(
    embedding: np.ndarray,
    weight: np.ndarray,
    groups: np.ndarray,
    *,
    rng: np.random.Generator,
    learner: Learner = "boosting",
    folds: int = 3,
) -> np.ndarray:
    """``w(x, e) = E[w(x, a) | x, e]`` under the logging policy, regressed out of fold, ``(S,)``.

    The identity (Saito and Joachims 2022) that serves where p(e|x, a) is unknown or e continuous.

    Args:
        embedding: (S, F) float64, features of context and embedding.
        weight: (S,) float64, the action's own weights.
        groups: (S,) ids, kept together in folds.
        rng: seeds learner and folds.
        learner: how to regress.
        folds: number of folds.
    """
    (found,) = cross_fit(
        embedding, weight, groups, [embedding], learner=learner, folds=folds, rng=rng
    )
    return np.maximum(found, 0.0)


def choose_dimensions(
    per_dimension: Sequence[np.ndarray],
    logged: np.ndarray,
    logging: np.ndarray,
    target: np.ndarray,
    reward: np.ndarray,
) -> list[int]:
    """Return the embedding's dimensions that MIPS should keep, by SLOPE.

    Dropping a dimension lowers variance and may add bias. Dimensions are dropped one by one, each
    time the one whose loss leaves the narrowest interval, and SLOPE picks along that path (the
    greedy selection of Saito and Joachims 2022).

    Args:
        per_dimension: for each dimension, (A, E_d) float64, p(e_d | a).
        logged: (S, D) int.
        logging: (S, A) float64.
        target: (S, A) float64.
        reward: (S,) float64.

    Raises:
        UserError: the dimensions do not agree.
    """
    if logged.ndim != 2 or logged.shape[1] != len(per_dimension):
        raise UserError(
            f"logged embeddings must be (S, {len(per_dimension)}), one column a dimension, but are "
            f"{logged.shape}."
        )

    def estimate(kept: list[int]) -> tuple[float, float]:
        given = factored_embedding([per_dimension[d] for d in kept], logged[:, kept])
        weights = embedding_probability(target, given) / embedding_probability(logging, given)
        values = weights * reward
        return float(values.mean()), float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))

    path = [list(range(len(per_dimension)))]
    found = [estimate(path[0])]
    while len(path[-1]) > 1:
        smaller = [[d for d in path[-1] if d != drop] for drop in path[-1]]
        estimates = [estimate(kept) for kept in smaller]
        best = int(np.argmin([width for _, width in estimates]))
        path.append(smaller[best])
        found.append(estimates[best])
    return path[slope([value for value, _ in found], [width for _, width in found])]
