"""What weights are said to allow: tails, support, verdicts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.ope.diagnostics import NO_VERDICT, WeightSums, overlap, overlap_warnings
from experiments.ope.tails import pareto_shape, tail_shape, tail_shape_limit


@pytest.mark.parametrize("shape", [0.2, 0.7, 1.2])
def test_the_shape_of_a_pareto_tail_is_found(shape: float) -> None:
    n = 5_000
    excess = stats.genpareto.rvs(shape, size=n, random_state=np.random.default_rng(0))
    # Smith 1984: a shape has standard error (1 + k) / sqrt(n) at best.
    band = 3 * (1 + shape) / np.sqrt(n)
    assert pareto_shape(np.sort(excess)) == pytest.approx(shape, abs=band)


def test_the_limit_rises_with_the_number_of_slates() -> None:
    assert tail_shape_limit(100) == pytest.approx(0.5)
    assert tail_shape_limit(10**6) == 0.7


def test_weights_without_a_tail_have_no_shape() -> None:
    assert np.isnan(tail_shape(np.ones(100), 100))
    assert np.isnan(tail_shape(np.tile([0.5, 2.0], 50), 100))
    assert np.isnan(tail_shape(np.zeros(100), 100))
    # Two policies that agree, their propensities rounded.
    noise = np.random.default_rng(0).standard_cauchy(100).clip(-50, 50)
    assert np.isnan(tail_shape(1 + 1e-7 * noise, 100))


def pareto_weights(alpha: float, n: int) -> np.ndarray:
    """Weights of mean 1 whose moments exist up to order ``alpha``."""
    rng = np.random.default_rng(1)
    return ((1 + rng.pareto(alpha, size=n)) * (alpha - 1) / alpha)[:, None]


def test_a_heavy_tail_is_no_verdict() -> None:
    heavy = overlap(pareto_weights(1.1, 20_000), np.arange(20_000))
    said = [text for text in overlap_warnings(heavy) if "tail is too heavy" in text]
    assert said[0].startswith(f"{NO_VERDICT}: ")
    light = overlap(pareto_weights(4.0, 20_000), np.arange(20_000))
    assert overlap_warnings(light) == []


def test_what_the_log_cannot_show_is_counted() -> None:
    """The target shows one item as often as the other; the log never shows the second."""
    rng = np.random.default_rng(2)
    seen = overlap(rng.uniform(0.4, 0.6, size=(2_000, 1)), np.arange(2_000))
    assert seen.outside == pytest.approx(0.5, abs=3 * 0.2 / np.sqrt(12 * 2_000))
    assert any(text.startswith(f"{NO_VERDICT}: the weights") for text in overlap_warnings(seen))
    fair = overlap(rng.uniform(0.5, 1.5, size=(2_000, 1)), np.arange(2_000))
    assert fair.outside == 0.0


def test_parts_of_a_log_add_up() -> None:
    rng = np.random.default_rng(3)
    weight = rng.lognormal(0, 0.5, size=(30_000, 2)) * (rng.random((30_000, 2)) < 0.9)
    clusters = np.repeat(np.arange(10_000), 3)
    parts = [
        WeightSums.of(weight[rows], pd.factorize(clusters[rows])[0])
        for rows in (slice(0, 9_000), slice(9_000, 12_000), slice(12_000, None))
    ]
    whole, added = overlap(weight, clusters), WeightSums.joined(parts).overlap()
    assert vars(added) == pytest.approx(vars(whole), rel=1e-10)
