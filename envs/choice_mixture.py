"""Which tastes a population of choosers has: a mixture of logit models, learned from their choices.

Each event of chooser u is a choice among all items, item i with probability

    P(i | theta_u) = share_i exp(theta_u . f_i) / sum_j share_j exp(theta_u . f_j),

the multinomial logit (McFadden 1974) around what everybody chooses, ``share``, with f_i what the
item is. Choosers are of K types, and differ within a type:

    theta_u = theta_k + delta_u,    P(k) = pi_k,    delta_u ~ N(0, Sigma),

Sigma diagonal, one variance for each block of f: a mixed logit (Revelt, Train 1998) over classes
(Kamakura, Russell 1989). Given a type, the likelihood of delta_u is expanded to second order at the
type's mean, where n events with the sum s have gradient g = s - n mu_k and curvature n C_k, so that
its posterior is normal (Laplace), with P = (n C_k + Sigma^-1)^-1:

    delta_u = P g,    log p(u | k) = s theta_k - n log Z_k + g'Pg / 2 - log|I + n C_k Sigma| / 2.

EM alternates the types' shares of each chooser with pi, Sigma and one Newton step for each theta_k.
With Sigma^(1/2) C_k Sigma^(1/2) = Q diag(l) Q' all of it is diagonal in one basis for every n.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Rounds of EM: tastes stand still to a few per cent by then.
_ROUNDS = 15
#: Variance of each block within a type at first, and the least that is left of it.
_FIRST_VARIANCE, _LEAST_VARIANCE = 0.09, 1e-4
#: The same for the types around the whole population.
_FIRST_SPREAD, _LEAST_SPREAD = 1.0, 1e-3
#: Largest Newton step of a weight.
_STEP = 1.0
#: Events that types are told apart by, before EM, count half at this number.
_HALF_KNOWN = 10.0
#: Choosers that the types are learned from, at most, and those whose tastes are found at a time.
_TEACHERS, _CHUNK = 20_000, 50_000
#: Seed of the first types; the same choices give the same tastes.
_SEED = 0


@dataclass(frozen=True)
class Choices:
    """What U choosers chose (D features)."""

    #: Features of the M items that stand for all that could be chosen, (M, D).
    items: F64
    #: How often each of them is chosen by anybody, sums to one, (M,).
    share: F64
    #: Sum of the features over each chooser's events, (U, D), and their number, (U,).
    sums: F64
    counts: F64
    #: Number of the block that each feature belongs to, 0 and up, (D,).
    blocks: I64

    def of(self, rows: I64) -> Choices:
        """Return the choices of some choosers."""
        return replace(self, sums=self.sums[rows], counts=self.counts[rows])


@dataclass(frozen=True)
class _Type:
    """One type, with what its choices are like: log of Z, mean and covariance of the features."""

    theta: F64
    log_z: float
    mean: F64
    #: Eigenvalues l, (D,), and L = Sigma^(1/2) Q, with its inverse transposed, both (D, D).
    curve: F64
    basis: F64
    inverse: F64


def expected_tastes(choices: Choices, types: int) -> F64:
    """Return the expected theta_u of each chooser, (U, D), from a mixture of ``types`` types.

    Of very many choosers, some thousands teach the types. No randomness: the same choices give the
    same tastes.
    """
    every = len(choices.sums)
    taught_by = np.arange(every)[:: -(-every // _TEACHERS)]
    found, shares = _learned(choices.of(taught_by), types)
    expected = np.empty_like(choices.sums)
    for start in range(0, every, _CHUNK):
        some = np.arange(start, min(start + _CHUNK, every))
        expected[some] = _posterior(choices.of(some), found, shares)[1]
    return expected


def _learned(choices: Choices, types: int) -> tuple[list[_Type], F64]:
    """Return the types and their shares, (K,), by EM."""
    belongs = _first_types(choices, types)
    theta = np.zeros((belongs.shape[1], choices.sums.shape[1]))
    variance = np.full(choices.blocks.max() + 1, _FIRST_VARIANCE)
    spread = np.full(len(variance), _FIRST_SPREAD)
    for _ in range(_ROUNDS):
        found = [_type(choices, one, variance) for one in theta]
        theta = np.stack(
            [_newton(choices, one, belongs[:, k], spread) for k, one in enumerate(found)]
        )
        spread = np.maximum(_block_means(choices, theta**2).mean(axis=0), _LEAST_SPREAD)
        found = [_type(choices, one, variance) for one in theta]
        belongs, _, square = _posterior(choices, found, belongs.mean(axis=0))
        variance = np.maximum(square, _LEAST_VARIANCE)
    return [_type(choices, one, variance) for one in theta], belongs.mean(axis=0)


def _first_types(choices: Choices, types: int) -> F64:
    """Tell choosers apart by k-means of what they chose on average, (U, K) of zeros and ones."""
    counts = choices.counts[:, None]
    average = choices.sums / np.maximum(counts, 1e-9)
    z = (average - average.mean(axis=0)) / np.maximum(average.std(axis=0), 1e-6)
    z *= np.sqrt(counts / (counts + _HALF_KNOWN))
    from sklearn.cluster import KMeans  # as heavy as all else that a bundle loads

    types = min(types, len(np.unique(z.round(6), axis=0)))
    labels = KMeans(types, n_init=4, random_state=_SEED).fit_predict(z)
    return np.eye(types)[labels]


def _type(choices: Choices, theta: F64, variance: F64) -> _Type:
    logit = choices.items @ theta
    weight = choices.share * np.exp(logit - logit.max())
    total = weight.sum()
    chance = weight / total
    mean = chance @ choices.items
    covariance = (choices.items * chance[:, None]).T @ choices.items - np.outer(mean, mean)
    root = np.sqrt(variance[choices.blocks])
    curve, turn = np.linalg.eigh(root[:, None] * covariance * root)
    return _Type(
        theta, float(logit.max() + np.log(total)), mean, np.maximum(curve, 0.0),
        basis=root[:, None] * turn, inverse=turn / root[:, None],
    )  # fmt: skip


def _newton(choices: Choices, one: _Type, belongs: F64, spread: F64) -> F64:
    """Return theta_k after one Newton step of the expected log-likelihood, delta integrated out."""
    damped = 1 / (1 + np.outer(choices.counts, one.curve))
    gradient = one.inverse @ (belongs @ ((_gradient(choices, one) @ one.basis) * damped))
    curve = belongs @ (choices.counts[:, None] * one.curve * damped)
    prior = 1 / spread[choices.blocks]
    hessian = (one.inverse * curve) @ one.inverse.T + np.diag(prior)
    step = np.linalg.solve(hessian, gradient - prior * one.theta)
    return one.theta + np.clip(step, -_STEP, _STEP).astype(np.float64)


def _posterior(choices: Choices, found: list[_Type], shares: F64) -> tuple[F64, F64, F64]:
    """Return types of each chooser (U, K), expected theta (U, D), and E[delta^2] by block."""
    likelihood = np.empty((len(choices.sums), len(found)))
    deltas, squares = [], []
    for k, one in enumerate(found):
        damped = 1 / (1 + np.outer(choices.counts, one.curve))
        turned = _gradient(choices, one) @ one.basis
        delta = (turned * damped) @ one.basis.T
        likelihood[:, k] = (
            np.log(shares[k] + 1e-12)
            + choices.sums @ one.theta
            - choices.counts * one.log_z
            + 0.5 * (turned**2 * damped + np.log(damped)).sum(axis=1)
        )
        deltas.append(delta)
        squares.append(_block_means(choices, delta**2 + damped @ (one.basis**2).T))
    belongs = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
    belongs /= belongs.sum(axis=1, keepdims=True)
    expected, square = np.zeros_like(choices.sums), np.zeros(len(squares[0].T))
    for k, one in enumerate(found):
        own = belongs[:, k, None]
        expected += own * (one.theta + deltas[k])
        square += (own * squares[k]).mean(axis=0)
    return belongs, expected, square


def _gradient(choices: Choices, one: _Type) -> F64:
    return choices.sums - choices.counts[:, None] * one.mean


def _block_means(choices: Choices, values: F64) -> F64:
    """Mean over the features of each block, (n, blocks), of values (n, D)."""
    member = np.eye(choices.blocks.max() + 1)[choices.blocks]
    return values @ (member / np.maximum(member.sum(axis=0), 1))
