"""Every click model keeps one contract, checked against enumeration of all click vectors."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from scipy.stats import chi2

from envs.clicks import ClickModelName, make_click_model
from envs.clicks.cascade import Cascade
from envs.clicks.parameters import ClickParameters
from envs.clicks.position import PositionBased

MODELS: tuple[ClickModelName, ...] = get_args(ClickModelName)
every_model = pytest.mark.parametrize("name", MODELS)


def _vectors(slots: int) -> np.ndarray:
    """All click vectors, (2^k, k) bool."""
    return (np.arange(2**slots)[:, None] >> np.arange(slots) & 1).astype(bool)


def _attraction(slots: int, rows: int = 3) -> np.ndarray:
    """Random attractions with the corners 0 and 1 among them, (rows, k) float32."""
    out = np.random.default_rng(slots).random((rows, slots)).astype(np.float32)
    out[0, 0], out[-1, -1] = 0, 1
    return out


def _probabilities(name: ClickModelName, attraction: np.ndarray) -> np.ndarray:
    """Probability of every click vector for one slate, (2^k,)."""
    vectors = _vectors(len(attraction))
    model = make_click_model(name, len(attraction), ClickParameters())
    return np.exp(model.log_likelihood(vectors, np.tile(attraction, (len(vectors), 1))))


@every_model
@pytest.mark.parametrize("slots", range(1, 6))
def test_probabilities_sum_to_one_and_give_the_marginals(name: ClickModelName, slots: int) -> None:
    attraction = _attraction(slots)
    marginal = make_click_model(name, slots, ClickParameters()).marginal_click_probability(
        attraction
    )
    for row, slate in enumerate(attraction):
        probability = _probabilities(name, slate)
        assert probability.sum() == pytest.approx(1, abs=1e-12)
        np.testing.assert_allclose(probability @ _vectors(slots), marginal[row], atol=1e-12)


@every_model
def test_an_item_is_clicked_where_it_is_examined_and_attracts(name: ClickModelName) -> None:
    attraction = _attraction(5)
    model = make_click_model(name, 5, ClickParameters())
    examined = model.examination_probability(attraction)
    assert examined.shape == attraction.shape
    np.testing.assert_allclose(examined[:, 0], 1)
    assert (np.diff(examined, axis=1) <= 0).all(), "a page is read from the top"
    np.testing.assert_allclose(
        examined * attraction, model.marginal_click_probability(attraction), rtol=1e-12
    )


@every_model
def test_sampled_clicks_follow_the_likelihood(name: ClickModelName) -> None:
    slate, n = np.array([0.3, 0.6, 0.2, 0.5], dtype=np.float32), 40_000
    model = make_click_model(name, 4, ClickParameters())
    clicks = model.sample(np.tile(slate, (n, 1)), np.random.default_rng(5))
    marginal = model.marginal_click_probability(slate[None])[0]
    band = 3 * np.sqrt(marginal * (1 - marginal) / n)
    assert (abs(clicks.mean(axis=0) - marginal) < band).all()
    expected = n * _probabilities(name, slate)
    observed = np.bincount(clicks @ (1 << np.arange(4)), minlength=16)
    possible = expected > 0
    assert observed[~possible].sum() == 0
    statistic = ((observed - expected)[possible] ** 2 / expected[possible]).sum()
    assert statistic < chi2.ppf(0.99865, possible.sum() - 1)


@every_model
def test_zero_attraction_is_never_clicked_not_even_at_the_smallest_flip(
    name: ClickModelName,
) -> None:
    model = make_click_model(name, 3, ClickParameters())
    attraction = np.array([[0.0, 1.0, 0.0]], dtype=np.float32)
    clicks = model.clicks_from(attraction, np.zeros((1, 3, model.draws)))
    np.testing.assert_array_equal(clicks, [[False, True, False]])
    assert model.log_likelihood(np.array([[True, False, False]]), attraction)[0] == -np.inf


@every_model
def test_a_smaller_flip_or_a_larger_attraction_keeps_the_first_click(name: ClickModelName) -> None:
    rng = np.random.default_rng(6)
    model = make_click_model(name, 1, ClickParameters())
    attraction = rng.random((500, 1)).astype(np.float32)
    flips = rng.random((500, 1, model.draws))
    clicks = model.clicks_from(attraction, flips)
    assert (model.clicks_from(attraction, flips / 2) >= clicks).all()
    assert (model.clicks_from(np.sqrt(attraction), flips) >= clicks).all()


def test_all_models_agree_on_a_slate_of_one() -> None:
    attraction = _attraction(1, rows=4)
    flips = np.random.default_rng(7).random((4, 1, 1))
    models = [make_click_model(name, 1, ClickParameters()) for name in MODELS]
    for clicks in (np.ones((4, 1), dtype=bool), np.zeros((4, 1), dtype=bool)):
        likelihoods = [m.log_likelihood(clicks, attraction) for m in models]
        np.testing.assert_allclose(likelihoods[0], likelihoods[1])
    first, second = (m.clicks_from(attraction, flips) for m in models)
    np.testing.assert_array_equal(first, second)


def test_hand_worked_pages() -> None:
    half = np.full((1, 3), 0.5, dtype=np.float32)
    np.testing.assert_allclose(
        Cascade().marginal_click_probability(half), [[1 / 2, 1 / 4, 1 / 8]], rtol=1e-12
    )
    # Examination 1, 1/2, 1/3 at decay 1.
    np.testing.assert_allclose(
        PositionBased(3, 1.0).marginal_click_probability(half), [[1 / 2, 1 / 4, 1 / 6]], rtol=1e-12
    )
    clicks = np.array([[False, True, False]])
    assert Cascade().log_likelihood(clicks, half)[0] == pytest.approx(np.log(1 / 4))
    assert PositionBased(3, 1.0).log_likelihood(clicks, half)[0] == pytest.approx(
        np.log(1 / 2 * 1 / 4 * 5 / 6)
    )


def test_without_decay_positions_do_not_matter() -> None:
    attraction = _attraction(5)
    np.testing.assert_allclose(
        PositionBased(5, 0.0).marginal_click_probability(attraction), attraction, rtol=1e-12
    )


def test_the_cascade_clicks_once_a_page_at_most() -> None:
    rng = np.random.default_rng(8)
    attraction = rng.random((2_000, 5)).astype(np.float32)
    clicks = Cascade().sample(attraction, rng)
    assert set(clicks.sum(axis=1)) == {0, 1}
    twice = np.array([[True, True, False]])
    assert Cascade().log_likelihood(twice, np.full((1, 3), 0.5, np.float32))[0] == -np.inf
