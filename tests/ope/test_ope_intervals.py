"""Intervals: known variances, coverage, and sessions kept together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from experiments.ope.estimators import plain, self_normalised
from experiments.ope.evaluate import Estimate, Interval, evaluate
from experiments.ope.intervals import influence, standard_error, student_interval
from tests.ope.plackett_luce_world import SLATES, cascade, log_of_all, sample_log, truth

EXPECTED = np.random.default_rng(0).random(SLATES.shape)


def one(
    frame: pd.DataFrame, name: str, interval: Interval = "bootstrap", resamples: int = 1000
) -> Estimate:
    rng = np.random.default_rng(1)
    (estimate,) = evaluate(frame, [name], interval=interval, resamples=resamples, rng=rng)
    return estimate


@pytest.mark.parametrize("name", ["SIPS", "SNSIPS", "SNIIPS", "SNRIPS", "RIPS"])
def test_bootstrap_and_delta_method_agree(name: str) -> None:
    frame = sample_log(4000, EXPECTED, np.random.default_rng(2))
    resamples = 2000
    drawn = one(frame, name, "bootstrap", resamples)
    linear = one(frame, name, "delta")
    # A standard deviation from R resamples has relative error 1 / sqrt(2 R), its 2.5 % quantile
    # sqrt(.025 * .975 / R) / phi(1.96) = 2.67 / sqrt(R) standard errors.
    assert drawn.se == pytest.approx(linear.se, rel=3 / np.sqrt(2 * resamples))
    band = 3 * 2.67 / np.sqrt(resamples) * linear.se
    assert drawn.low == pytest.approx(linear.low, abs=band)
    assert drawn.high == pytest.approx(linear.high, abs=band)


def test_the_delta_method_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(3).normal(size=40)
    known = values.std(ddof=1) / np.sqrt(40)
    assert standard_error(influence(plain(values)), np.arange(40)) == pytest.approx(known)


def test_influence_is_the_change_that_one_slate_makes() -> None:
    """Numerical derivative of a ratio in the weight of each slate."""
    rng = np.random.default_rng(4)
    terms = self_normalised(rng.random((6, 2)), rng.random((6, 2)))
    pull = influence(terms)
    assert pull.sum() == pytest.approx(0, abs=1e-12)
    step = 1e-6
    for slate in range(6):
        count = np.ones(6)
        count[slate] += step
        moved = (count @ terms.numerator / (count @ terms.denominator)).sum()
        rest = (terms.numerator.sum(0) / terms.denominator.sum(0)).sum()
        assert (moved - rest) / step * 6 == pytest.approx(pull[slate], abs=1e-4)


@pytest.mark.parametrize(
    ("name", "interval"), [("SNSIPS", "bootstrap"), ("DR", "bootstrap"), ("DR", "student")]
)
def test_intervals_cover_the_truth_as_often_as_they_say(name: str, interval: Interval) -> None:
    model = np.random.default_rng(5).random(SLATES.shape)
    target = np.array([-0.5, 1.1, 0.2, 0.6])
    v_hat = np.broadcast_to(cascade(target)[:, -1] @ model, SLATES.shape)
    rng, trials, covered = np.random.default_rng(6), 200, 0
    for _ in range(trials):
        frame = sample_log(800, EXPECTED, rng, q_hat=model, v_hat=v_hat)
        (estimate,) = evaluate(frame, [name], interval=interval, resamples=300, rng=rng)
        covered += estimate.low <= truth(EXPECTED) <= estimate.high
    assert covered / trials == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / trials))


@pytest.mark.parametrize("interval", ["bootstrap", "delta", "student"])
def test_sessions_of_equal_slates_widen_the_interval(interval: Interval) -> None:
    """Four copies of each slate in one session carry the information of one."""
    copies = 4
    single = sample_log(600, EXPECTED, np.random.default_rng(7)).assign(
        session_id=lambda f: f["slate_id"]
    )
    fourfold = pd.concat(
        [single.assign(slate_id=single["slate_id"] + 600 * copy) for copy in range(copies)]
    )
    alone = fourfold.assign(session_id=fourfold["slate_id"])
    clustered, independent = (one(frame, "SNRIPS", interval) for frame in (fourfold, alone))
    assert clustered.value == pytest.approx(independent.value)
    noise = 3 / np.sqrt(2 * 1000) if interval == "bootstrap" else 1e-3
    assert clustered.se == pytest.approx(one(single, "SNRIPS", interval).se, rel=noise)
    ratio = clustered.se / independent.se
    assert ratio == pytest.approx(np.sqrt(copies), rel=2 * noise)
    assert clustered.high - clustered.low > 1.5 * (independent.high - independent.low)


def test_student_intervals_of_few_clusters_are_wider_than_normal_ones() -> None:
    low, high = student_interval(1.0, 0.5, 0.95, clusters=3)
    assert high - 1.0 == pytest.approx(0.5 * 4.302652729911275)  # t table, 2 degrees of freedom
    assert low == pytest.approx(2.0 - high)


def test_the_same_generator_gives_the_same_interval() -> None:
    frame = log_of_all(EXPECTED)
    assert one(frame, "SNIPS") == one(frame, "SNIPS")
