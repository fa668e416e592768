"""Fit a click model to logged pages: attraction of each item and the model's own parameters.

The exact log-likelihood is maximised, with its exact derivatives, by L-BFGS over the logits of all
attractions and of the model's free parameters. Each attraction carries a weak prior that is worth
`prior` examinations at the click rate of the first position, so that an item that was never clicked
is unlikely, not impossible.

Intervals come from the observed information, the second derivatives at the optimum. The logits of
the attractions are eliminated exactly: with H = [[A, C], [C', P]] over attractions and parameters,
the covariance of the parameters is (P - C' A^-1 C)^-1. A is sparse (items that shared a page) and
is solved by conjugate gradients. Intervals are symmetric in the logit, so they stay inside (0, 1).

With few pages an item the many attractions bias the parameters (Neyman and Scott 1948, "incidental
parameters"), which no interval shows: a warning does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import diags_array
from scipy.sparse.linalg import cg
from scipy.special import expit

from envs.clicks import ClickModelName
from envs.clicks.base import F32, F64, ClickModel
from envs.clicks.log import ClickLog
from envs.clicks.parameters import ClickParameters
from envs.clicks.posterior import BOUND, EDGE, Posterior
from envs.errors import UserError

# An interval wider than this says next to nothing about a probability.
_WIDE = 0.5
# Information (inverse variance of a logit) below this is none.
_NOTHING = 1e-3
# Largest slope left at the optimum, in coordinates whose information is about 1: the estimate is
# then about this share of its standard error away from the optimum.
_SLOPE = 1e-2
# Attractions per square root of pages from which their number is warned of. The bias that they
# bring is of the order of attractions / pages, a standard error of 1 / sqrt(pages). At 10, 95 %
# intervals of position, DBN and CCM covered 88-98 % in simulations; at 3 there was no loss to see.
_CROWD = 10
_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A fitted parameter; ``se``, ``low`` and ``high`` (95 %) are NaN where the log tells none."""

    value: float
    se: float
    low: float
    high: float


@dataclass(frozen=True)
class Fit:
    """A click model fitted to a log."""

    name: ClickModelName
    model: ClickModel
    #: What to write under ``shop.clicks`` to simulate with this model.
    parameters: ClickParameters
    #: The model's own parameters by name.
    estimates: dict[str, Estimate]
    #: Attraction of each item of the log, (items,) float32.
    attraction: F32
    #: Of the log, without the prior.
    log_likelihood: float
    iterations: int
    converged: bool
    #: What to know before trusting the numbers, one line each.
    warnings: tuple[str, ...]


def fit(
    name: ClickModelName, log: ClickLog, *, prior: float = 1.0, max_iterations: int = 1000
) -> Fit:
    """Fit the click model ``name`` to a log.

    Args:
        name: which click model.
        log: S pages of k positions.
        prior: weight of the prior on each attraction, in examinations; above 0.
        max_iterations: of L-BFGS; a warning tells when they did not suffice.

    Raises:
        UserError: the log holds no click, or pages that cannot be under the model.
    """
    if not prior > 0:
        raise UserError(f"click model fit: prior must be above 0 examinations, got {prior:g}")
    if not log.clicks.any():
        raise UserError(f"click model fit: none of the {len(log.clicks)} pages has a click")
    problem = Posterior(name, log, prior)
    _refuse_impossible(name, problem)
    start, scale = problem.start()

    def loss(z: F64) -> tuple[float, F64]:
        value, slope = problem.at(z / scale)
        return -value, -slope / scale

    # No test on the value: its last digits are rounding long before the slope is small.
    found = minimize(
        loss, start * scale, jac=True, method="L-BFGS-B",
        bounds=[(-BOUND * s, BOUND * s) for s in scale],
        options={"maxiter": max_iterations, "maxfun": 2 * max_iterations, "maxcor": 20,
                 "ftol": 0.0, "gtol": _SLOPE / 10},
    )  # fmt: skip
    # What rests on the bound is pushed outwards for ever.
    inside = abs(found.x / scale) < BOUND
    converged = bool(abs(found.jac[inside]).max(initial=0.0) < _SLOPE)
    return _result(name, problem, found.x / scale, int(found.nit), converged)


def _refuse_impossible(name: ClickModelName, problem: Posterior) -> None:
    x, _ = problem.start()
    likelihood = problem.model(x).log_likelihood(problem.clicks, expit(x[problem.shown]))
    pages = np.flatnonzero(np.isneginf(likelihood))
    if len(pages):
        clicks = int(problem.clicks[pages[0]].sum())
        raise UserError(
            f"click model fit: {len(pages)} of {len(likelihood)} pages cannot be under {name!r}, "
            f"which allows one click a page; the first is page {pages[0]} with {clicks} clicks; "
            "fit a model that allows several, such as 'dcm'"
        )


def _standard_errors(problem: Posterior, x: F64) -> F64:
    """Standard errors of the free logits, (P,); NaN at the boundary and where nothing is told."""
    values = expit(x[problem.items :])
    errors = np.full(len(values), np.nan)
    chosen = np.flatnonzero((values > EDGE) & (values < 1 - EDGE))
    columns = problem.free_information(x, chosen)
    told = np.diagonal(columns[problem.items + chosen]) > _NOTHING
    chosen, columns = chosen[told], columns[:, told]
    if len(chosen):
        across, own = columns[: problem.items], columns[problem.items + chosen]
        information = problem.attraction_information(x)
        jacobi = diags_array(1 / information.diagonal())
        solved = [cg(information, c, rtol=1e-8, M=jacobi)[0] for c in across.T]
        left = own - across.T @ np.stack(solved, axis=1)
        variance = np.diagonal(np.linalg.inv((left + left.T) / 2))
        errors[chosen] = np.sqrt(np.where(variance > 0, variance, np.nan))
    return errors


def _result(
    name: ClickModelName, problem: Posterior, x: F64, iterations: int, converged: bool
) -> Fit:
    free = x[problem.items :]
    values, errors = expit(free), _standard_errors(problem, x)
    low, high = expit(free - _Z95 * errors), expit(free + _Z95 * errors)
    estimates = {
        label: Estimate(*map(float, row))
        for label, *row in zip(problem.names, values, errors * values * (1 - values), low, high)
    }
    model = problem.model(x)
    attraction = expit(x[: problem.items])
    likelihood = model.log_likelihood(problem.clicks, attraction[problem.shown]).sum()
    return Fit(
        name=name,
        model=model,
        parameters=model.parameters(),
        estimates=estimates,
        attraction=attraction.astype(np.float32),
        log_likelihood=float(likelihood),
        iterations=iterations,
        converged=converged,
        warnings=tuple(_warnings(problem, estimates, converged)),
    )


def _warnings(problem: Posterior, estimates: dict[str, Estimate], converged: bool) -> Iterator[str]:
    if not converged:
        yield "the fit stopped before its optimum: allow more iterations"
    for name, e in estimates.items():
        if not EDGE < e.value < 1 - EDGE:
            yield f"{name} is at its boundary ({e.value:.4f}): it has no interval"
        elif np.isnan(e.se):
            yield f"{name} is not told by this log: {e.value:.4f} is where the search began"
        elif e.high - e.low > _WIDE:
            yield (
                f"{name} is hardly told by this log (95 % interval {e.low:.2f} to {e.high:.2f}): "
                "log more pages, and show the same items at several positions"
            )
    shown = np.bincount(problem.shown.ravel(), minlength=problem.items)
    clicked = problem.by_item(problem.clicks)
    for count, what in (
        ((shown == 0).sum(), "shown: their attraction is the prior's"),
        (((shown > 0) & (clicked == 0)).sum(), "clicked: the prior keeps them above 0"),
    ):
        if count:
            yield f"{count} of {problem.items} items were never {what}"
    if (shown > 0).sum() > _CROWD * np.sqrt(len(problem.clicks)):
        yield (
            f"{(shown > 0).sum()} attractions are told by {len(problem.clicks)} pages: that many "
            "bias the parameters, and intervals are too narrow; log more pages or fit fewer items"
        )
