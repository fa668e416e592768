"""The interval that is corrected for skewness and heavy tails: its formula, its limits, its use."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from experiments.ope.estimators import plain
from experiments.ope.intervals import (
    influence,
    normal_interval,
    point,
    skew_interval,
    standard_error,
    student_interval,
    tail_freedom,
)


def interval_of(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    terms = plain(values)
    return skew_interval(point(terms), influence(terms), level)


def test_the_ends_are_where_halls_transform_meets_students_quantiles() -> None:
    """Hall's t + s t^2 / 3 + s^2 t^3 / 27 + s / 6 of the studentised ends, term by term."""
    values = np.random.default_rng(0).exponential(size=60)
    pull = values - values.mean()
    low, high = interval_of(values, 0.9)
    skew = stats.skew(values) / np.sqrt(60)
    kurtosis = stats.kurtosis(values, fisher=False)
    quantile = stats.t.ppf(0.95, 2 * 60 / (kurtosis - 1))
    for end, wanted in ((low, quantile), (high, -quantile)):
        t = (values.mean() - end) / standard_error(pull)
        assert t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6 == pytest.approx(wanted)


def test_symmetric_pulls_give_students_interval() -> None:
    """Without skewness there is nothing to correct; -1 and 1 have the least kurtosis, 1."""
    pull = np.tile([-1.0, 1.0], 20)
    assert tail_freedom(pull) == 39
    expected = student_interval(2.0, standard_error(pull), 0.95, 40)
    assert skew_interval(2.0, pull, 0.95) == pytest.approx(expected)


def test_normal_pulls_are_worth_their_number() -> None:
    """Kurtosis 3 gives 2 n / 2; the sample kurtosis has standard error sqrt(24 / n)."""
    n = 20_000
    pull = np.random.default_rng(1).normal(size=n)
    error = np.sqrt(24 / n)
    assert 2 / (2 + 3 * error) <= tail_freedom(pull) / n <= 2 / (2 - 3 * error)


def test_mirrored_data_give_the_mirrored_interval() -> None:
    values = np.random.default_rng(2).exponential(size=50)
    low, high = interval_of(values)
    assert interval_of(-values) == pytest.approx((-high, -low))


def test_a_long_right_tail_moves_the_interval_up_and_widens_it() -> None:
    """One session in a hundred has a weight of 50: the unseen ones can only be larger."""
    values = np.where(np.arange(400) % 100 == 0, 50.0, 0.5)
    low, high = interval_of(values)
    terms = plain(values)
    usual = normal_interval(point(terms), standard_error(influence(terms)), 0.95)
    assert low > usual[0]
    assert high > usual[1]
    assert high - low > usual[1] - usual[0]


def test_nothing_varies_and_nothing_is_defined() -> None:
    assert interval_of(np.full(30, 0.25)) == (0.25, 0.25)
    assert np.isnan(skew_interval(np.nan, np.full(5, np.nan), 0.95)).all()


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_coverage_of_a_skewed_mean(level: float) -> None:
    """Means of 30 exponential waiting times: Student's interval holds less than it says."""
    rng, trials, n = np.random.default_rng(3), 3_000, 30
    held = {"skew": 0, "student": 0}
    for _ in range(trials):
        values = rng.exponential(size=n)
        low, high = interval_of(values, level)
        held["skew"] += low <= 1 <= high
        se = values.std(ddof=1) / np.sqrt(n)
        low, high = student_interval(values.mean(), se, level, n)
        held["student"] += low <= 1 <= high
    band = 3 * np.sqrt(level * (1 - level) / trials)
    assert held["skew"] / trials == pytest.approx(level, abs=band)
    assert held["student"] / trials < level - band
