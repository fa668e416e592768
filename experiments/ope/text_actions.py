"""Was this reason policy better? Weights for actions that are texts.

A log row shows an item and a reason. The whole action's propensity factors into the ranking's and
the reasons': ``pi(slate, reasons | x) = pi(slate | x) prod_l pi(reason_l | x, item_l)``. Everything
here is about the second factor; the registry multiplies it with cascade weights, so that a reward
may depend on the items and reasons down to its position.

- Text weights ``pi_e(text) / pi_b(text)``, products over tokens, are exact and useless beyond a few
  tokens: their second moment is a product of one factor above 1 a token (``token_second_moment``).
- Claim weights are marginal: ``p(claims | pi_e) / p(claims | pi_b)``, MIPS (Saito and Joachims
  2022) with the claim vector as the embedding. Unbiased where a shopper reacts to what is claimed,
  not to how it is put.
- Kernel weights blur the text: ``sum_m pi_e(m) K(m, s) / sum_m pi_b(m) K(m, s)`` (Kiyohara, Cao,
  Saito and Joachims 2025, *Prompt optimization with logged bandit data*): claim weights where K
  says only whether the claims are the same, text weights where it says whether the texts are.
- DR on claims adds a reward model of the claims, fitted on sessions other than the one predicted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.ope.cross_fitting import Learner, cross_fit


def sequence_probability(token_log_probability: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Return P(text) as the product over its tokens, ``(R,) float64``.

    Args:
        token_log_probability: (R, L) float64, each token's given those before.
        real: (R, L) bool, False on padding.
    """
    return np.exp(np.where(real, token_log_probability, 0.0).sum(axis=1))


def token_second_moment(target: np.ndarray, logging: np.ndarray) -> float:
    """``E_{pi_b}[w^2] = prod_t sum_v pi_e(v)^2 / pi_b(v)`` of texts whose tokens are independent.

    It grows exponentially with the number of tokens, and the effective sample size of a log of n
    texts is about n over it.

    Args:
        target: (L, V) float64, token probabilities by place.
        logging: (L, V) float64.
    """
    return float(np.prod(np.sum(np.square(target) / logging, axis=1)))


def claim_codes(claims: np.ndarray) -> np.ndarray:
    """Number equal claim vectors alike: ``(M, A)`` to ``(M,) int``."""
    _, codes = np.unique(claims, axis=0, return_inverse=True)
    return codes.ravel()


def claim_probability(policy: np.ndarray, codes: np.ndarray, logged: np.ndarray) -> np.ndarray:
    """``p(claims | x, pi)``: the sum of pi(text | x) over texts of the same claims, ``(R,)``.

    From a policy that can only be sampled, give M sampled texts a weight of 1 / M each and let the
    logged text be one of them: the error of a probability p is then about sqrt(p (1 - p) / M).

    Args:
        policy: (R, M) float64, probability of each candidate text.
        codes: (M,) or (R, M) int, as from ``claim_codes``.
        logged: (R,) int, the logged text's place among the candidates.
    """
    table = np.broadcast_to(codes, policy.shape)
    here = np.take_along_axis(table, logged[:, None], axis=1)
    return (policy * (table == here)).sum(axis=1)


def claim_kernel(claims: np.ndarray, width: float) -> np.ndarray:
    """``K(m, m') = exp(-|c_m - c_m'|^2 / (2 width^2))``, ``(M, M) float64``.

    Args:
        claims: (M, A) float64.
        width: 0 for whether claims are the same.
    """
    apart = np.square(claims[:, None, :] - claims[None, :, :]).sum(axis=-1)
    if width == 0:
        return (apart == 0).astype(float)
    return np.exp(-apart / (2 * width**2))


def kernel_weights(
    target: np.ndarray, logging: np.ndarray, kernel: np.ndarray, logged: np.ndarray
) -> np.ndarray:
    """``sum_m pi_e(m) K(m, s) / sum_m pi_b(m) K(m, s)`` at the logged text s, ``(R,) float64``.

    Smooth weights are biased by how much the reward varies within the kernel's reach.

    Args:
        target: (R, M) float64.
        logging: (R, M) float64.
        kernel: (M, M) float64.
        logged: (R,) int.
    """
    near = kernel[:, logged].T
    return (target * near).sum(axis=1) / (logging * near).sum(axis=1)


@dataclass(frozen=True)
class ClaimPredictions:
    """Out-of-fold predictions of the reward from item, position and claims."""

    q: np.ndarray
    """(R,) float64: of the logged reason's claims."""
    v: np.ndarray
    """(R,) float64: expected over the target's reasons."""

    def columns(self) -> Mapping[str, np.ndarray]:
        """Return the log's columns ``q_hat_claims`` and ``v_hat_claims``."""
        return {"q_hat_claims": self.q, "v_hat_claims": self.v}


def fit_claim_model(
    context: np.ndarray,
    claims: np.ndarray,
    logged: np.ndarray,
    reward: np.ndarray,
    target: np.ndarray,
    groups: np.ndarray,
    *,
    rng: np.random.Generator,
    learner: Learner | Any = "boosting",
    folds: int = 3,
) -> ClaimPredictions:
    """Fit reward on context, claims and their products; predict the target's reasons out of fold.

    The ranking must be the same under both policies: v averages over reasons for the logged item.

    Args:
        context: (R, C) float64, of shopper, item and position.
        claims: (M, A) float64, of the candidate texts.
        logged: (R,) int, the logged text.
        reward: (R,) float64.
        target: (R, M) float64, the target's probability of each text.
        groups: (R,) ids, such as sessions, kept together in folds.
        rng: shuffles folds and seeds the learner.
        learner: how to regress.
        folds: number of folds.
    """
    rows, texts = target.shape
    each = np.broadcast_to(claims, (rows, *claims.shape))
    about = np.broadcast_to(context[:, None], (rows, texts, context.shape[1]))
    # What a shopper likes meets what is claimed: a linear learner needs the products.
    crossed = (about[..., :, None] * each[..., None, :]).reshape(rows, texts, -1)
    design = np.concatenate([about, each, crossed], axis=-1)
    (found,) = cross_fit(
        design[np.arange(rows), logged], reward, groups, [design],
        rng=rng, learner=learner, folds=folds,
    )  # fmt: skip
    return ClaimPredictions(found[np.arange(rows), logged], (target * found).sum(axis=1))
