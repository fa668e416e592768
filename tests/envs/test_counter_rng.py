"""Numbers from counters: uniform, unrelated to each other, and a function of key and counter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from envs.counter_rng import flip, fold, fold_each, new_keys, uniform

N = 64_000


def _streams() -> dict[str, np.ndarray]:
    """Every way in which the shop counts: along episodes, pages, purposes, items and sessions."""
    keys = new_keys(np.random.default_rng(1), N)
    one = keys[:1]
    return {
        "keys": uniform(fold(keys, 0)),
        "counters": uniform(fold(one, np.arange(N))),
        "counters of counters": uniform(fold(fold(one, np.arange(N // 8))[:, None], np.arange(8))),
        "neighbouring keys": uniform(
            fold(np.add(one, np.arange(N), dtype=np.uint64, casting="unsafe"), 3)
        ),
    }


STREAMS = _streams()


@pytest.mark.parametrize("name", STREAMS)
def test_numbers_are_uniform(name: str) -> None:
    u = STREAMS[name].ravel()
    assert u.min() >= 0
    assert u.max() < 1
    # Mean 1/2 with variance 1/12; the squared deviation has variance 1/80 - 1/144.
    assert abs(u.mean() - 0.5) < 3 * np.sqrt(1 / 12 / N)
    assert abs(((u - 0.5) ** 2).mean() - 1 / 12) < 3 * np.sqrt((1 / 80 - 1 / 144) / N)
    bins = 64
    count = np.bincount((u * bins).astype(int), minlength=bins)
    statistic = ((count - N / bins) ** 2 / (N / bins)).sum()
    assert chi2.ppf(0.00135, bins - 1) < statistic < chi2.ppf(0.99865, bins - 1)


@pytest.mark.parametrize("name", STREAMS)
def test_neighbours_are_uncorrelated(name: str) -> None:
    u = STREAMS[name].ravel()
    for lag in (1, 2, 8):
        assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) < 3 / np.sqrt(N - lag)


def test_one_step_of_the_counter_changes_half_of_the_bits() -> None:
    keys = new_keys(np.random.default_rng(2), 4_000)
    changed = np.bitwise_count(fold(keys, 5) ^ fold(keys, 6)).astype(float)
    # Binomial(64, 1/2): mean 32, variance 16.
    assert abs(changed.mean() - 32) < 3 * np.sqrt(16 / len(keys))


def test_fold_is_splitmix64() -> None:
    # The first outputs of SplitMix64 for seed 1234567, as widely published with the algorithm.
    published = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
    ]  # fmt: skip
    key = np.array([1234567], dtype=np.uint64)
    assert [int(fold(key, c)[0]) for c in range(4)] == published


def test_shapes_broadcast_and_each_number_depends_on_its_own_key_and_counter_only() -> None:
    keys = new_keys(np.random.default_rng(3), 5)
    counters = np.array([0, 1, 7, 10**9])
    table = fold(keys[:, None], counters)
    assert table.shape == (5, 4)
    assert table.dtype == np.uint64
    for row, column in np.ndindex(5, 4):
        assert table[row, column] == fold(keys[row], int(counters[column]))
    assert len(np.unique(table)) == table.size
    np.testing.assert_array_equal(uniform(table)[2], uniform(fold(keys[2], counters)))


def test_uniform_keeps_53_bits_and_stays_below_one() -> None:
    ends = np.array([0, 2**64 - 1, 2**63], dtype=np.uint64)
    np.testing.assert_array_equal(uniform(ends), [0.0, 1 - 2.0**-53, 0.5])


def test_keys_follow_the_generator() -> None:
    first, again, other = (new_keys(np.random.default_rng(s), 100) for s in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert not np.isin(first, other).any()


def test_compiled_and_plain_give_the_same_bits() -> None:
    keys = new_keys(np.random.default_rng(6), 50)
    counters = np.random.default_rng(7).integers(0, 2**40, size=50)
    rows = np.array([3, 3, 49, 0])
    np.testing.assert_array_equal(fold_each(keys, counters, rows), fold(keys, counters)[rows])
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64
        one = [flip(key, 4, 2) for key in keys]
    np.testing.assert_array_equal(one, uniform(fold(fold(keys, 4), 2)))
