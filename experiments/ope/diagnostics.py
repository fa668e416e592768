"""What the importance weights say about how far an estimate can be trusted, in plain words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.ope.intervals import standard_error

#: Below this share of the slates, or this many, the weights rest on too few of them.
ESS_SHARE_FLOOR = 0.01
ESS_FLOOR = 30.0
#: One slate with more than this share of all weight decides the estimate by itself.
WEIGHT_SHARE_CEILING = 0.05
#: Standard errors beyond which a difference is not taken for chance.
SURPRISE = 3.0
#: A mean weight this near to 1 is near enough, however many slates show that it differs.
MEAN_WEIGHT_SLACK = 0.01
#: Estimates nearer than this, relatively, differ by rounding (propensities are given to 1e-6).
ROUNDING = 1e-6
#: Every warning that means "do not conclude" begins so.
NO_VERDICT = "not enough overlap to conclude"


@dataclass(frozen=True)
class Overlap:
    """How the target policy's slates overlap with the logged ones, by importance weight."""

    ess: float
    """Effective sample size (sum w)^2 / sum w^2 (Kish 1965), at the position where it is lowest."""
    position: int
    """The position (0-based) that this is about."""
    max_weight: float
    """The largest weight at any position."""
    weight_share: float
    """The largest share of one slate in a position's weights."""
    zero_share: float
    """Share of weights that are 0: logged choices that the target never makes."""
    mean: float
    """Mean weight at the position where it lies farthest from 1 in standard errors."""
    mean_se: float
    """Its cluster-robust standard error."""
    n: int
    """Number of slates."""


def overlap(weight: np.ndarray, clusters: np.ndarray) -> Overlap:
    """Describe ``weight (S, k) float64``; ``clusters (S,) int`` from 0 without gaps."""
    total, squares = weight.sum(axis=0), np.square(weight).sum(axis=0)
    ess = np.divide(np.square(total), squares, out=np.zeros_like(total), where=squares > 0)
    share = np.divide(weight.max(axis=0), total, out=np.zeros_like(total), where=total > 0)
    means = weight.mean(axis=0)
    errors = np.array([standard_error(column, clusters) for column in (weight - means).T])
    gap = np.abs(means - 1)
    far = int(np.argmax(np.divide(gap, errors, out=np.zeros_like(gap), where=errors > 0)))
    worst = int(np.argmin(ess))
    return Overlap(
        ess=float(ess[worst]),
        position=worst,
        max_weight=float(weight.max()),
        weight_share=float(share.max()),
        zero_share=float((weight == 0).mean()),
        mean=float(means[far]),
        mean_se=float(errors[far]),
        n=len(weight),
    )


def overlap_warnings(seen: Overlap) -> list[str]:
    """Return what a reader of the estimate must know about its weights, worst first."""
    warnings = []
    at = f"effective sample size {seen.ess:.3g} of {seen.n} ({seen.ess / seen.n:.1%})"
    if seen.zero_share == 1.0:
        warnings.append(
            f"{NO_VERDICT}: the target policy would have shown none of the logged slates"
        )
    elif seen.ess < ESS_SHARE_FLOOR * seen.n:
        warnings.append(f"{NO_VERDICT}: {at}, below the {ESS_SHARE_FLOOR:.0%} floor")
    elif seen.ess < ESS_FLOOR:
        warnings.append(f"{NO_VERDICT}: {at}, below the floor of {ESS_FLOOR:.0f} slates")
    if seen.weight_share > WEIGHT_SHARE_CEILING:
        warnings.append(
            f"one slate carries {seen.weight_share:.0%} of the weight (largest weight "
            f"{seen.max_weight:.3g}); the estimate follows what it happened to earn"
        )
    return warnings + support_warnings(seen)


def support_warnings(seen: Overlap) -> list[str]:
    """Weights expect 1 where the log could show all that the target shows, and else less.

    A log holds only what was shown, so a violation of support is seen in the mean weight alone.
    """
    if abs(seen.mean - 1) <= max(SURPRISE * seen.mean_se, MEAN_WEIGHT_SLACK):
        return []
    cause = (
        "the target often shows what the log hardly ever did, or the propensities are wrong"
        if seen.mean < 1
        else "the propensities are wrong"
    )
    return [
        f"the weights average {seen.mean:.3g} (standard error {seen.mean_se:.2g}), not 1: {cause}"
    ]


def disagreement(name: str, value: float, other: str, against: float, se: float) -> list[str]:
    """Warn where two estimates of one policy's value differ by more than chance.

    Args:
        name: the estimator that the warning is shown with.
        value: its estimate.
        other: the one it is compared with.
        against: the other's estimate.
        se: standard error of their *paired* difference: both come from the same slates.
    """
    difference = value - against
    if not abs(difference) > max(SURPRISE * se, ROUNDING * abs(against)):
        return []
    return [
        f"{name} lies {difference:+.3g} from {other}, more than {SURPRISE:.0f} standard errors of "
        f"their difference ({se:.2g}): check the propensities and the reward model"
    ]
