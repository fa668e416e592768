"""What the importance weights say about how far an estimate can be trusted, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.ope.intervals import standard_error
from experiments.ope.tails import tail_shape, tail_shape_limit

#: Below this share of the slates, or this many, the weights rest on too few of them.
ESS_SHARE_FLOOR = 0.01
ESS_FLOOR = 30.0
#: One slate with more than this share of all weight decides the estimate by itself.
WEIGHT_SHARE_CEILING = 0.05
#: Standard errors beyond which a difference is not taken for chance.
SURPRISE = 3.0
#: A mean weight this near to 1 is near enough, however many slates show that it differs.
MEAN_WEIGHT_SLACK = 0.01
#: A mean weight further below 1 than this leaves out too much of the target to conclude.
SUPPORT_SLACK = 0.05
#: Estimates nearer than this, relatively, differ by rounding (propensities are given to 1e-6).
ROUNDING = 1e-6
#: Every warning that means "do not conclude" begins so.
NO_VERDICT = "not enough overlap to conclude"
#: The largest weights that are kept for the shape of the tail: enough for 11 million slates.
_KEPT = 10_001


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
    tail: float
    """Pareto k-hat at the position where it is highest; NaN where no tail has a shape."""

    @property
    def outside(self) -> float:
        """Share of the target's choices that the log could not show, as the mean weight says.

        0 where the mean lies within its error of 1 or above.
        """
        return 1 - self.mean if self.mean < 1 and self.strays else 0.0

    @property
    def strays(self) -> bool:
        """Whether the mean weight differs from 1 by more than chance and slack."""
        return abs(self.mean - 1) > max(SURPRISE * self.mean_se, MEAN_WEIGHT_SLACK)


@dataclass(frozen=True)
class WeightSums:
    """Sums of the weights (S, k) of a log or of a part of it; parts add up."""

    by_cluster: np.ndarray
    """(C, k) float64."""
    sizes: np.ndarray
    """(C,) int: slates of each cluster."""
    squares: np.ndarray
    """(k,) float64."""
    largest: np.ndarray
    """(k, M) float64: the largest weights of each position, unsorted."""
    zeros: int

    @classmethod
    def of(cls, weight: np.ndarray, clusters: np.ndarray) -> WeightSums:
        """Sum ``weight (S, k) float64`` by ``clusters (S,) int``, from 0 without gaps."""
        columns = [np.bincount(clusters, weights=column) for column in weight.T]
        return cls(
            by_cluster=np.stack(columns, axis=1),
            sizes=np.bincount(clusters),
            squares=np.square(weight).sum(axis=0),
            largest=_largest(np.ascontiguousarray(weight.T)),
            zeros=int((weight == 0).sum()),
        )

    @classmethod
    def joined(cls, parts: Sequence[WeightSums]) -> WeightSums:
        """Add up parts whose clusters are not shared."""
        return cls(
            by_cluster=np.concatenate([part.by_cluster for part in parts]),
            sizes=np.concatenate([part.sizes for part in parts]),
            squares=np.sum([part.squares for part in parts], axis=0),
            largest=_largest(np.concatenate([part.largest for part in parts], axis=1)),
            zeros=sum(part.zeros for part in parts),
        )

    def overlap(self) -> Overlap:
        """Return what the sums say."""
        n, total = int(self.sizes.sum()), self.by_cluster.sum(axis=0)
        ess = np.divide(
            np.square(total), self.squares, out=np.zeros_like(total), where=self.squares > 0
        )
        peaks, means = self.largest.max(axis=1), total / n
        share = np.divide(peaks, total, out=np.zeros_like(total), where=total > 0)
        pulls = (self.by_cluster - means * self.sizes[:, None]).T
        # The standard error of a mean over n slates, of which these are sums.
        errors = np.array([standard_error(pull) * len(pull) / n for pull in pulls])
        gap = np.abs(means - 1)
        far = int(np.argmax(np.divide(gap, errors, out=np.zeros_like(gap), where=errors > 0)))
        worst = int(np.argmin(ess))
        tails = [tail_shape(weights, n) for weights in self.largest]
        shaped = [tail for tail in tails if not np.isnan(tail)]
        return Overlap(
            ess=float(ess[worst]),
            position=worst,
            max_weight=float(peaks.max()),
            weight_share=float(share.max()),
            zero_share=self.zeros / (n * len(total)),
            mean=float(means[far]),
            mean_se=float(errors[far]),
            n=n,
            tail=max(shaped, default=float("nan")),
        )


def overlap(weight: np.ndarray, clusters: np.ndarray) -> Overlap:
    """Describe ``weight (S, k) float64``; ``clusters (S,) int`` from 0 without gaps."""
    return WeightSums.of(weight, clusters).overlap()


def overlap_warnings(seen: Overlap, weights: str = "the weight") -> list[str]:
    """Return what a reader of the estimate must know about its weights, worst first.

    ``weights`` is what messages call their numerators, such as a column of the log.
    """
    warnings = []
    at = f"effective sample size {seen.ess:.3g} of {seen.n} ({seen.ess / seen.n:.1%})"
    if seen.zero_share == 1.0:
        warnings.append(
            f"{NO_VERDICT}: the target policy would have shown none of the logged slates "
            f"({weights} is 0 on every row); map the right column to it, or explore more in the log"
        )
    elif seen.ess < ESS_SHARE_FLOOR * seen.n:
        warnings.append(f"{NO_VERDICT}: {at}, below the {ESS_SHARE_FLOOR:.0%} floor")
    elif seen.ess < ESS_FLOOR:
        warnings.append(f"{NO_VERDICT}: {at}, below the floor of {ESS_FLOOR:.0f} slates")
    limit = tail_shape_limit(seen.n)
    if seen.tail >= limit:
        warnings.append(
            f"{NO_VERDICT}: the weights' tail is too heavy (Pareto k-hat {seen.tail:.2f}, reliable "
            f"below {limit:.2f} for {seen.n} slates); rare slates with huge weights are missing"
        )
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
    if not seen.strays:
        return []
    cause = (
        "the target often shows what the log hardly ever did, or the propensities are wrong"
        if seen.mean < 1
        else "the propensities are wrong"
    )
    verdict = f"{NO_VERDICT}: " if abs(seen.mean - 1) > SUPPORT_SLACK else ""
    return [
        f"{verdict}the weights average {seen.mean:.3g} (standard error {seen.mean_se:.2g}), "
        f"not 1: {cause}"
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
        f"{NO_VERDICT}: {name} lies {difference:+.3g} from {other}, more than {SURPRISE:.0f} "
        f"standard errors of their difference ({se:.2g}): check the propensities and the reward "
        "model"
    ]


def _largest(weights: np.ndarray) -> np.ndarray:
    """The largest ``_KEPT`` weights of each row of ``(k, S)``; all where there are no more."""
    if weights.shape[1] <= _KEPT:
        return weights
    return np.partition(weights, -_KEPT, axis=1)[:, -_KEPT:]
