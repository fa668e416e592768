"""What the chain models share: reading from the top, item by item, until the shopper stops.

    E_1 = 1;  C_j = 1 iff E_j = 1 and item j attracts (probability a_j);
    P(E_{j+1} = 1 | E_j = 1, C_j) = click_j where C_j = 1, skip_j where C_j = 0;  E_j = 0 ends it.

Cascade, DCM, DBN, SDBN and CCM differ in the probabilities skip_j and click_j of reading on alone
(Chuklin, Markov, de Rijke 2015, "Click models for web search", chapter 3, compare them so).

The likelihood sums the unseen end of the reading out, from the last position up: with c_j the
probability of reading on after what was done at j, V_j the probability of the clicks from j on
given E_j = 1, and V_{k+1} = 1,

    V_j = P(C_j | E_j = 1) * R_j,   R_j = c_j V_{j+1} + (1 - c_j) * [no click below j].

Its derivatives need P(E_j = 1 | clicks) = prod_{i<j} c_i V_{i+1} / R_i (Fisher's identity).
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from envs.clicks.base import F64, Bools, ClickModel, Floats, Slopes


class Chain(ClickModel):
    """A click model in which examination goes on from item to item until it stops for good."""

    draws = 2

    @abstractmethod
    def reads_on(self, attraction: Floats) -> tuple[F64 | float, F64 | float]:
        """Probability of reading on after a skip and after a click, each broadcast to (B, k)."""

    @abstractmethod
    def chain_rule(self, attraction: F64, skip: F64, click: F64) -> tuple[F64 | float, F64]:
        """Turn derivatives by what `reads_on` returns, (B, k) each, into those by its arguments.

        Returns the derivative by attraction (B, k), or 0, and the summed one by `free` (P,).
        """

    def clicks_from(self, attraction: Floats, uniforms: F64) -> Bools:
        """See `ClickModel.clicks_from`."""
        skip, click = self.reads_on(attraction)
        clicks = uniforms[..., 0] < attraction
        on = uniforms[..., 1] < np.where(clicks, click, skip)
        clicks[..., 1:] &= np.logical_and.accumulate(on, axis=-1)[..., :-1]
        return clicks

    def examination_probability(self, attraction: Floats) -> F64:
        """See `ClickModel.examination_probability`."""
        attracts = attraction.astype(np.float64)
        skip, click = self.reads_on(attracts)
        out = np.ones(attracts.shape)
        np.cumprod((skip + attracts * (click - skip))[..., :-1], axis=-1, out=out[..., 1:])
        return out

    def log_likelihood(self, clicks: Bools, attraction: Floats) -> F64:
        """See `ClickModel.log_likelihood`."""
        value, _ = _backward(clicks, attraction, self._on(clicks, attraction))
        with np.errstate(divide="ignore"):  # log(0) = -inf says "impossible"
            return np.log(value[:, 0])

    def slopes(self, clicks: Bools, attraction: F64) -> Slopes:
        """See `ClickModel.slopes`."""
        on = self._on(clicks, attraction)
        value, rest = _backward(clicks, attraction, on)
        examined = np.ones_like(on)
        np.cumprod((on * value[:, 1:] / rest)[:, :-1], axis=1, out=examined[:, 1:])
        by_on = examined * (value[:, 1:] - _last(clicks)) / rest
        by_attraction = examined * np.where(clicks, 1 / attraction, -1 / (1 - attraction))
        more, free = self.chain_rule(
            attraction, np.where(clicks, 0, by_on), np.where(clicks, by_on, 0)
        )
        return Slopes(np.log(value[:, 0]), by_attraction + more, free)

    def _on(self, clicks: Bools, attraction: Floats) -> F64:
        """Probability c_j of reading on after what was done at each position, (B, k)."""
        skip, click = self.reads_on(attraction.astype(np.float64))
        return np.where(clicks, click, skip)


def _last(clicks: Bools) -> Bools:
    """True where no click follows below, (B, k)."""
    return np.cumsum(clicks, axis=1) == clicks.sum(axis=1, keepdims=True)


def _backward(clicks: Bools, attraction: Floats, on: F64) -> tuple[F64, F64]:
    """Return V (B, k + 1) and R (B, k) of the module's recursion."""
    own = np.where(clicks, attraction, 1 - attraction.astype(np.float64))
    stop = (1 - on) * _last(clicks)
    # Column-major: the recursion works on whole columns.
    value = np.ones((len(clicks), clicks.shape[1] + 1), order="F")
    rest = np.empty(clicks.shape, order="F")
    for j in range(clicks.shape[1] - 1, -1, -1):
        rest[:, j] = on[:, j] * value[:, j + 1] + stop[:, j]
        value[:, j] = own[:, j] * rest[:, j]
    return value, rest
