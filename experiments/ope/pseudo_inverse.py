"""Pseudo-inverse weights for slates: unbiased where a slate's reward is a sum over its slots.

``w_s = 1_{pi_e}' G^+ 1_s`` with the indicator ``1_s`` of (slot, item) pairs in the slate, its mean
``1_{pi_e}`` under the target and ``G = E_{pi_b}[1_s 1_s' | x]`` (Swaminathan et al. 2017,
*Off-policy evaluation for slate recommendation*). Value: ``mean_s w_s sum_l r_sl``. Weights may be
negative. Their number of effective parameters is slots times items, not slates, so they vary far
less than slate weights. The column is ``weight_pi``.
"""

from __future__ import annotations

import numpy as np

#: Singular values below this share of the largest are taken as 0: the indicators are collinear.
_RCOND = 1e-10


def indicators(slates: np.ndarray, items: int) -> np.ndarray:
    """Return (slot, item) indicators of ``slates (..., k) int``, ``(..., k * items) float64``."""
    return (slates[..., None] == np.arange(items)).reshape(*slates.shape[:-1], -1).astype(float)


def slot_marginals(slates: np.ndarray, probability: np.ndarray, items: int) -> np.ndarray:
    """Return P(item at slot), ``(S, k * items) float64``.

    Args:
        slates: (M, k) int, slates that the policy may show (all of them, or a sample), or
            (S, M, k), others for each row.
        probability: (S, M) float64, of each; 1 / M for a sample.
        items: number of candidates.
    """
    marks = indicators(slates, items)
    return np.einsum("sm,md->sd" if marks.ndim == 2 else "sm,smd->sd", probability, marks)


def slot_gram(slates: np.ndarray, probability: np.ndarray, items: int) -> np.ndarray:
    """Return P(item at slot and item' at slot'), ``(S, k * items, k * items) float64``.

    Arguments as of ``slot_marginals``. From a sample of M slates G is noisy, and its inverse
    biased; a sum over all slates is exact.
    """
    marks = indicators(slates, items)
    if marks.ndim == 3:
        return np.matmul(np.swapaxes(marks * probability[..., None], 1, 2), marks)
    together = (marks[:, :, None] * marks[:, None, :]).reshape(len(marks), -1)
    return (probability @ together).reshape(len(probability), marks.shape[1], marks.shape[1])


def pseudo_inverse_weights(
    logged: np.ndarray, target_marginals: np.ndarray, gram: np.ndarray, rows: int = 4096
) -> np.ndarray:
    """``1_{pi_e}' G^+ 1_s`` for any logging policy, ``(S,) float64``.

    Args:
        logged: (S, k) int, the logged slates.
        target_marginals: (S, k * items) float64.
        gram: (S, k * items, k * items) float64, under the logging policy.
        rows: slates inverted at once, which bounds memory.
    """
    marks = indicators(logged, target_marginals.shape[1] // logged.shape[1])
    weight = np.empty(len(logged))
    for start in range(0, len(logged), rows):
        part = slice(start, start + rows)
        inverse = np.linalg.pinv(gram[part], rcond=_RCOND, hermitian=True)
        weight[part] = np.einsum("sd,sde,se->s", target_marginals[part], inverse, marks[part])
    return weight


def factored_weights(item_weight: np.ndarray) -> np.ndarray:
    """``1 - k + sum_l pi_e(a_l at l) / pi_b(a_l at l)``, ``(S,) float64``.

    What the pseudo-inverse is where the logging policy draws each slot on its own (example in
    section 3 of Swaminathan et al. 2017).

    Args:
        item_weight: (S, k) float64.
    """
    return 1.0 + (item_weight - 1.0).sum(axis=1)
