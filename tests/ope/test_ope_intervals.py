"""Intervals: known variances, coverage, and sessions kept together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from envs.feedback import read_feedback
from envs.files import read_json
from experiments.ope.bootstrap import (
    bca_interval,
    bootstrap_values,
    leave_one_out,
    percentile_interval,
    poisson_table,
)
from experiments.ope.bounded import bounded_interval
from experiments.ope.concentration import confidence_sequence, empirical_bernstein, hoeffding
from experiments.ope.estimators import plain, self_normalised
from experiments.ope.evaluate import Estimate, Interval, evaluate
from experiments.ope.intervals import (
    by_cluster,
    influence,
    point,
    standard_error,
    student_interval,
    wilson_interval,
)
from tests.data_at_hand import shared_data
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


# The bootstrap


def test_the_counts_are_poisson() -> None:
    table = poisson_table()
    shares = np.bincount(table.astype(int)) / len(table)
    known = stats.poisson.pmf(np.arange(len(shares)), 1.0)
    np.testing.assert_allclose(shares, known, rtol=0, atol=2**-16)
    assert (table.mean(), table.var()) == pytest.approx((1.0, 1.0), abs=1e-4)


def test_each_resample_is_normalised_anew() -> None:
    """The same sums as an explicit loop over resamples that divides within each."""
    rng = np.random.default_rng(8)
    terms = self_normalised(rng.random((40, 2)), rng.random((40, 2)))
    values = bootstrap_values([terms], 20, np.random.default_rng(9))[:, 0]
    bits = np.random.default_rng(9).integers(0, 2**16, size=(20, 40), dtype=np.uint16)
    for counts, value in zip(poisson_table()[bits], values, strict=True):
        copies = np.repeat(np.arange(40), counts.astype(int))
        top, bottom = terms.numerator[copies].mean(axis=0), terms.denominator[copies].mean(axis=0)
        assert value == pytest.approx((top / bottom).sum(), rel=1e-12)


def test_leaving_out_one_cluster_by_hand() -> None:
    rng = np.random.default_rng(10)
    terms = self_normalised(rng.random((9, 2)), rng.random((9, 2)))
    for left, value in enumerate(leave_one_out(terms)):
        kept = np.arange(9) != left
        ratio = terms.numerator[kept].sum(axis=0) / terms.denominator[kept].sum(axis=0)
        assert value == pytest.approx(ratio.sum())


def test_bca_comes_nearer_to_the_exact_interval_of_a_skewed_mean() -> None:
    """Exponential waiting times: 2 n mean / scale is chi-squared with 2 n degrees of freedom."""
    n, errors = 20, {"percentile": 0.0, "bca": 0.0}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        terms = plain(rng.exponential(size=n))
        mean = point(terms)
        exact = 2 * n * mean / stats.chi2.ppf([0.975, 0.025], 2 * n)
        values = bootstrap_values([terms], 4000, rng)[:, 0]
        errors["percentile"] += abs(percentile_interval(values, 0.95)[1] - exact[1])
        errors["bca"] += abs(bca_interval(values, mean, terms, 0.95)[1] - exact[1])
    assert errors["bca"] < errors["percentile"]


def test_bca_of_a_constant_is_that_constant() -> None:
    terms = plain(np.full(30, 0.25))
    values = bootstrap_values([terms], 50, np.random.default_rng(0))[:, 0]
    assert bca_interval(values, 0.25, terms, 0.95) == pytest.approx((0.25, 0.25))


def test_sums_by_cluster_keep_value_and_error() -> None:
    rng = np.random.default_rng(11)
    terms = self_normalised(rng.random((50, 3)), rng.random((50, 3)))
    clusters = rng.permutation(np.arange(50) // 4)
    summed = by_cluster(terms, clusters)
    assert point(summed) == pytest.approx(point(terms), rel=1e-12)
    slates = standard_error(influence(terms), clusters)
    assert standard_error(influence(summed)) == pytest.approx(slates, rel=1e-12)


# Intervals that hold at every sample size


def test_lower_bounds_equal_the_published_reference() -> None:
    folder = shared_data("ope_golden")
    known = read_json(folder / "golden.json")["bandit_v1"]["diagnostics"]
    frame = read_feedback(
        folder / "bandit_v1.parquet", column_map={"item_id": "action"}, targets=True
    )
    x = (frame["reward"] * frame["eval_pscore"] / frame["pscore"]).to_numpy()
    # The reference takes the largest weight that it met as the bound.
    upper = float((frame["eval_pscore"] / frame["pscore"]).max())
    assert hoeffding(x, upper, 0.05) == pytest.approx(known["hoeffding_lb_05"], rel=1e-8)
    assert empirical_bernstein(x, upper, 0.05) == pytest.approx(known["bernstein_lb_05"], rel=1e-8)


def test_wilson_equals_the_published_reference() -> None:
    known = read_json(shared_data("ope_golden") / "golden.json")["obd_men"]["on_policy_bts"]
    found = wilson_interval(known["clicks"], 10_000, 0.95)
    assert found == pytest.approx(tuple(known["ci_wilson"]), rel=1e-8)


def test_the_hoeffding_interval_by_hand() -> None:
    reward = np.array([[0.0], [1.0], [1.0], [0.0]] * 25)
    weight = np.array([[0.5], [1.5]] * 50)
    low, high = bounded_interval(
        reward, weight, np.arange(100), (0.0, 1.0), 0.95, hoeffding, cap=2.0
    )
    margin = 2.0 * np.sqrt(np.log(1 / 0.025) / 200)
    # Half of each weight's rewards are 1: E[w r] = 0.5, and E[w (1 - r)] = 0.5.
    assert (low, high) == pytest.approx((max(0.0, 0.5 - margin), 1 - max(0.0, 0.5 - margin)))


def test_clipping_widens_upwards_and_does_not_bias() -> None:
    """All reward lies in a rare slate of weight 100, far above the cap."""
    weight = np.where(np.arange(20_000) % 100 == 0, 100.0, 0.0)[:, None]
    reward = (weight > 0).astype(float)
    low, high = bounded_interval(
        reward, weight, np.arange(20_000), (0.0, 1.0), 0.95, empirical_bernstein, cap=20.0
    )
    assert low < 0.2 < 1.0 <= high + 1e-12


def test_a_confidence_sequence_holds_at_all_times_at_once() -> None:
    rng, runs, missed = np.random.default_rng(12), 200, 0
    for _ in range(runs):
        # The bound after each outcome, of which the largest is given.
        x = (rng.random(300) < 0.3).astype(float)
        missed += confidence_sequence(x, 1.0, 0.1) > 0.3
    assert missed / runs <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / runs)


def test_a_confidence_sequence_closes_in() -> None:
    rng = np.random.default_rng(13)
    x = (rng.random(20_000) < 0.3).astype(float)
    short, long = (confidence_sequence(x[:n], 1.0, 0.025) for n in (500, 20_000))
    assert short < long < 0.3
    # The paper's rate: sqrt(log n) times wider than at one time alone.
    rate = np.sqrt(2 * np.log(1 / 0.025) * 0.3 * 0.7 * np.log(20_000) / 20_000)
    assert 0.3 - long < rate


@pytest.mark.parametrize("interval", ["bernstein", "sequence"])
def test_guaranteed_intervals_hold_for_sessions_of_any_length(interval: Interval) -> None:
    rng, trials, held = np.random.default_rng(14), 30, 0
    for _ in range(trials):
        frame = sample_log(900, EXPECTED, rng)
        lengths = np.repeat(np.arange(900), rng.integers(1, 4, size=900))[:900]
        frame["session_id"] = np.repeat(lengths, 2)
        (found,) = evaluate(frame, ["SIPS"], interval=interval, rng=rng, weight_cap=8.0)
        assert found.high - found.low < 2.0
        held += found.low <= truth(EXPECTED) <= found.high
    assert held == trials  # at 95 % each, and far wider than a normal interval
