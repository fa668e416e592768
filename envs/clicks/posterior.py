"""What a log says of attractions and click-model parameters together: posterior and information.

Everything is in logits x = (attractions (items,), free parameters (P,)): unbounded, and alike in
scale. Slopes are exact; information (minus second derivatives) is central differences of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.special import expit, logit

from envs.clicks import ClickModelName, make_click_model
from envs.clicks.base import F64, Bools, ClickModel
from envs.clicks.log import ClickLog
from envs.clicks.parameters import ClickParameters

#: Logits beyond this are the boundary: a probability within 3e-7 of 0 or 1.
BOUND = 15.0
#: An estimate this near to 0 or 1 has no interval.
EDGE = 1e-4
# Central differences of exact slopes: relative error about _STEP^2.
_STEP = 3e-4
_STEPS = (_STEP, -_STEP)


class Posterior:
    """The posterior of logits x = (attractions (items,), free parameters (P,)) given a log."""

    def __init__(self, name: ClickModelName, log: ClickLog, prior: float) -> None:
        self.first = make_click_model(name, log.clicks.shape[1], ClickParameters())
        self.names = list(self.first.free())
        self.items = log.items
        # Column-major: the recursions of the models work on whole columns.
        self.clicks = np.asfortranarray(log.clicks)
        self.shown = np.asfortranarray(log.shown)
        rate = float(log.clicks[:, 0].mean())
        rate = min(max(rate, EDGE), 1 - EDGE)
        #: The prior as clicks and skips of each item.
        self.prior = np.array([prior * rate, prior * (1 - rate)])

    def start(self) -> tuple[F64, F64]:
        """Return a first x, and about the square root of the information on each of its parts."""
        pages = np.bincount(self.shown.ravel(), minlength=self.items) + self.prior.sum()
        clicks = self.by_item(self.clicks) + self.prior[0]
        rate = clicks / pages
        free = logit(np.clip(list(self.first.free().values()), 0.02, 0.98))
        scale = np.sqrt(pages * rate * (1 - rate))
        return (
            np.clip(np.concatenate([logit(rate), free]), -BOUND, BOUND),
            np.concatenate([scale, np.full(len(free), np.sqrt(0.05 * len(self.clicks)))]),
        )

    def by_item(self, values: F64 | Bools) -> F64:
        """Sum values of page positions (S, k) by item, (items,)."""
        # One order for both: "K" would let arrays of other layouts fall out of step.
        total = np.bincount(self.shown.ravel("F"), values.ravel("F"), minlength=self.items)
        return np.asarray(total, dtype=np.float64)

    def model(self, x: F64) -> ClickModel:
        """Return the click model at x."""
        return self.first.with_free(expit(x[self.items :]))

    def page_slopes(self, model: ClickModel, logits: F64) -> tuple[float, F64, F64]:
        """Log-likelihood, and its slopes by the logit at each position and by each free logit.

        ``logits`` are those of the attraction at each position, (S, k), as are the first slopes;
        the others are (P,).
        """
        attraction = expit(logits)
        slopes = model.slopes(self.clicks, attraction)
        free = np.fromiter(model.free().values(), dtype=np.float64)
        return (
            float(slopes.log_likelihood.sum()),
            slopes.attraction * attraction * (1 - attraction),
            slopes.free * free * (1 - free),
        )

    def at(self, x: F64) -> tuple[float, F64]:
        """Return the log-posterior at x (up to a constant) and its slope (items + P,)."""
        likelihood, pages, free = self.page_slopes(self.model(x), x[self.shown])
        attraction = expit(x[: self.items])
        clicks, skips = self.prior
        prior = clicks * np.log(attraction) + skips * np.log1p(-attraction)
        by_item = self.by_item(pages) + clicks - (clicks + skips) * attraction
        return likelihood + float(prior.sum()), np.concatenate([by_item, free])

    def attraction_information(self, x: F64) -> csr_array:
        """Information on the logits of attraction, (items, items) sparse, by central differences.

        The likelihood of a page knows its own k items only, so k differences give every entry.
        """
        model, logits = self.model(x), x[self.shown]
        attraction = expit(x[: self.items])
        total = diags_array(self.prior.sum() * attraction * (1 - attraction)).tocsr()
        for j in range(self.shown.shape[1]):
            ahead, behind = (self.page_slopes(model, _moved(logits, j, h))[1] for h in _STEPS)
            entries = ((behind - ahead) / (2 * _STEP)).ravel("F")
            rows = np.tile(self.shown[:, j], self.shown.shape[1])
            place = (rows, self.shown.ravel("F"))
            total = total + coo_array((entries, place), shape=total.shape).tocsr()
        return total

    def free_information(self, x: F64, columns: NDArray[np.intp]) -> F64:
        """Information of all logits with the chosen free ones, (items + P, len(columns))."""
        out = np.empty((len(x), len(columns)))
        for n, column in enumerate(columns):
            ahead, behind = (self.at(_moved(x, self.items + column, h))[1] for h in _STEPS)
            out[:, n] = (behind - ahead) / (2 * _STEP)
        return out


def _moved(x: F64, place: int, step: float) -> F64:
    """Return a copy of ``x`` with ``step`` added at ``[..., place]``."""
    out = x.copy(order="K")
    out[..., place] += step
    return out
