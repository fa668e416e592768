"""Intervals of clustered shares and of the share of a way: closed forms, laws and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from experiments.measure_intervals import clustered_share, linearised, share_of_way


def test_linearised_values_have_the_ratio_as_their_mean() -> None:
    part, whole = np.array([1.0, 0.0, 3.0]), np.array([2.0, 0.0, 3.0])
    values = linearised(part, whole)
    assert values.mean() == pytest.approx(4 / 5)
    # By hand: 0.8 + (1 - 1.6) / (5/3), 0.8, 0.8 + (3 - 2.4) / (5/3).
    assert values == pytest.approx([0.44, 0.8, 1.16])


def test_independent_rows_give_clopper_and_pearson_at_one_row_less() -> None:
    """With n clusters of one row, se² = p (1 - p) / (n - 1), so that n* = n - 1."""
    part, n = np.array([1.0] * 30 + [0.0] * 11), 41
    found = clustered_share(part, np.ones(n), np.arange(n))
    assert found is not None
    x = 30 / n * (n - 1)
    low, high = stats.beta.ppf(0.025, x, n - 1 - x + 1), stats.beta.ppf(0.975, x + 1, n - 1 - x)
    assert (found.value, found.low, found.high) == pytest.approx((30 / n, low, high))


def test_a_share_of_one_is_as_sure_as_its_clusters_are_many() -> None:
    ones, clusters = np.ones(200), np.repeat(np.arange(20), 10)
    found = clustered_share(ones, ones, clusters)
    assert found is not None
    # 20 successes of 20: the exact lower end is alpha/2 to the power of 1/20.
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 0.025 ** (1 / 20), 1.0))
    nothing = clustered_share(0 * ones, ones, clusters)
    assert nothing is not None
    assert (nothing.low, nothing.high) == pytest.approx((0.0, 1 - 0.025 ** (1 / 20)))


def test_rows_without_a_whole_do_not_count() -> None:
    part, whole = np.array([1.0, 2.0, 1.0, 0.0]), np.array([2.0, 2.0, 3.0, 0.0])
    with_it = clustered_share(part, whole, np.arange(4))
    assert with_it == clustered_share(part[:3], whole[:3], np.arange(3))
    assert clustered_share(part, 0 * whole, np.arange(4)) is None
    alone = clustered_share(part, whole, np.zeros(4, dtype=np.int64))
    assert alone is not None
    assert alone.low is None


def test_the_interval_of_a_clustered_share_covers() -> None:
    """Rows of a cluster share their odds; intervals that take them as independent fail here."""
    rng = np.random.default_rng(1)
    groups, size, draws, hits, naive = 60, 8, 400, 0, 0
    clusters = np.repeat(np.arange(groups), size)
    for _ in range(draws):
        odds = rng.beta(1.8, 0.2, groups)  # mean 0.9, correlation 1/3
        part = (rng.random(groups * size) < odds[clusters]).astype(float)
        found = clustered_share(part, np.ones_like(part), clusters)
        blind = clustered_share(part, np.ones_like(part), np.arange(len(part)))
        assert found is not None
        assert blind is not None
        hits += found.low <= 0.9 <= found.high  # type: ignore[operator]
        naive += blind.low <= 0.9 <= blind.high  # type: ignore[operator]
    assert hits / draws > 0.95 - 3 * np.sqrt(0.95 * 0.05 / draws)
    assert naive / draws < 0.9


def test_the_share_of_the_way_is_the_ratio_of_the_sums() -> None:
    rng = np.random.default_rng(2)
    start = rng.normal(size=50)
    end = start + rng.uniform(0.5, 2, 50)
    half = share_of_way(start, (start + end) / 2, end, np.arange(50) // 2, rng)
    assert half is not None
    assert (half.value, half.low, half.high) == pytest.approx((0.5, 0.5, 0.5))
    gone = share_of_way(start, end, end, np.zeros(50, dtype=np.int64), rng)
    assert gone is not None
    assert gone.as_dict() == pytest.approx({"value": 1.0})  # one cluster: no interval
    assert share_of_way(end, start, start, np.arange(50), rng) is None  # the end is behind


def test_the_share_of_the_way_has_the_error_of_a_ratio_of_clusters() -> None:
    rng = np.random.default_rng(3)
    groups, size = 200, 4
    clusters = np.repeat(np.arange(groups), size)
    way = 1 + 0.2 * rng.normal(size=groups)[clusters]
    gone = 0.6 * way + 0.3 * rng.normal(size=groups)[clusters]
    found = share_of_way(0 * way, gone, way, clusters, np.random.default_rng(4))
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    # All rows of a cluster are alike: the delta method over the 200 clusters.
    share = gone.sum() / way.sum()
    error = np.std(gone[::size] - share * way[::size], ddof=1) / np.sqrt(groups) / way.mean()
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    # Where the way may be none, nothing can be said of a share of it.
    unsure = share_of_way(0 * gone, gone, gone - 0.58, clusters, np.random.default_rng(5))
    assert unsure is None or unsure.low is None
