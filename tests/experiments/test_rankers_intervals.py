"""Intervals over trainings and sessions: closed forms, laws, and coverage of what they claim."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from experiments.rankers_intervals import Crossed, crossed, share_of_gap
from experiments.simulate import interval

RNG = np.random.default_rng(0)


def half(span: tuple[float, float]) -> float:
    return (span[1] - span[0]) / 2


def test_of_a_single_training_it_is_students_interval_over_sessions() -> None:
    values = RNG.normal(2, 3, size=(1, 40))
    found, known = crossed(values, 0.9), interval(values[0], 0.9)
    assert found.value == pytest.approx(known["mean"])
    assert found.sessions == pytest.approx((known["low"], known["high"]))
    assert found.both == found.sessions
    assert found.seeds is None
    assert set(found.as_dict()) == {"value", "low", "high", "sessions"}


def test_sums_of_a_seeds_part_and_a_sessions_part_have_a_closed_form() -> None:
    """No rest, MS_E = 0: the variance of the mean is var(a) / S + var(b) / n, each with its t."""
    a, b = RNG.normal(size=3), RNG.normal(size=50)
    found = crossed(1 + a[:, None] + b[None])
    assert found.value == pytest.approx(1 + a.mean() + b.mean())
    assert found.by_seed == pytest.approx(1 + a + b.mean())
    by_seed, by_session = a.var(ddof=1) / 3, b.var(ddof=1) / 50
    assert found.seeds is not None
    assert half(found.seeds) == pytest.approx(stats.t.ppf(0.975, 2) * np.sqrt(by_seed))
    assert half(found.sessions) == pytest.approx(stats.t.ppf(0.975, 49) * np.sqrt(by_session))
    assert half(found.both) == pytest.approx(np.hypot(half(found.seeds), half(found.sessions)))


def test_what_is_the_same_everywhere_has_no_width() -> None:
    found = crossed(np.full((3, 5), 0.25))
    assert (found.value, found.both, found.seeds, found.sessions) == (
        0.25, (0.25, 0.25), (0.25, 0.25), (0.25, 0.25),
    )  # fmt: skip


def test_trainings_that_came_out_alike_leave_the_sessions_alone() -> None:
    """Three times the same ranker is one ranker: what is left are the sessions."""
    found = crossed(np.tile(RNG.normal(size=60), (3, 1)))
    assert found.seeds is not None
    assert half(found.seeds) == pytest.approx(0)
    assert found.both == pytest.approx(found.sessions)


DRAWS = 1_000
#: Three standard errors of a share of them that is 0.95.
BAND = 3 * np.sqrt(0.95 * 0.05 / DRAWS)


def coverage(seed_spread: float, session_spread: float, rest: float) -> tuple[float, float]:
    """How often ``both`` and ``sessions`` hold the true mean 0, of `DRAWS` comparisons."""
    rng, count = np.random.default_rng(7), 40
    held = np.zeros(2)
    for _ in range(DRAWS):
        values = (
            seed_spread * rng.normal(size=(3, 1))
            + session_spread * rng.normal(size=(1, count))
            + rest * rng.normal(size=(3, count))
        )
        found = crossed(values)
        held += [low <= 0 <= high for low, high in (found.both, found.sessions)]
    return float(held[0] / DRAWS), float(held[1] / DRAWS)


def test_it_covers_as_often_as_it_says_where_trainings_differ_most() -> None:
    both, sessions = coverage(1.0, 0.1, 0.1)
    assert both == pytest.approx(0.95, abs=BAND)
    # Sessions alone, however many, know nothing of another training.
    assert sessions < 0.3


@pytest.mark.parametrize("spreads", [(0.2, 1.0, 0.5), (0.1, 0.3, 1.0), (0.0, 1.0, 1.0)])
def test_elsewhere_it_covers_as_often_or_up_to_three_points_more(
    spreads: tuple[float, float, float],
) -> None:
    both, _ = coverage(*spreads)
    assert 0.95 - BAND < both < 0.98 + BAND


def test_the_share_of_the_way_is_the_ratio_of_means_with_the_bootstraps_width() -> None:
    rng, n = np.random.default_rng(3), 400
    start = rng.normal(size=n)
    end = start + 1 + rng.normal(size=n)
    reached = start + 0.6 * (end - start) + 0.3 * rng.normal(size=n)
    found = share_of_gap(start, reached[None], end)
    assert found is not None
    assert found.value == pytest.approx((reached - start).sum() / (end - start).sum())
    rows = rng.integers(n, size=(4_000, n))
    drawn = (reached - start)[rows].sum(axis=1) / (end - start)[rows].sum(axis=1)
    # 4,000 resamples know their spread to 1 / sqrt(8,000); the two differ by O(1 / n) themselves.
    slack = 3 / np.sqrt(8_000) + 3 / n
    assert half(found.both) == pytest.approx(1.96 * drawn.std(), rel=slack)


def test_ends_of_the_way_are_none_of_it_and_all_of_it() -> None:
    start = RNG.normal(size=30)
    end = start + RNG.uniform(0.5, 1.5, size=30)
    for reached, share in ((start, 0.0), (end, 1.0)):
        found = share_of_gap(start, np.stack([reached, reached]), end)
        assert found is not None
        assert (found.value, *found.both) == pytest.approx((share, share, share))


def test_where_there_is_surely_no_way_there_is_no_share() -> None:
    start = RNG.normal(size=30)
    noise = RNG.normal(size=30)
    assert share_of_gap(start, start[None], start + noise - noise.mean()) is None
    assert share_of_gap(start, start[None], start - 1) is None


def test_plain_values_are_what_the_json_holds() -> None:
    found = Crossed(1.0, (0.5, 1.5), (0.9, 1.1), (0.0, 2.0), (-1.0, 3.0)).as_dict()
    assert found == {
        "value": 1.0, "low": -1.0, "high": 3.0, "sessions": [0.9, 1.1], "seeds": [0.0, 2.0],
        "by_seed": [0.5, 1.5],
    }  # fmt: skip
