"""Shoppers: hidden taste shows in histories, and profiles are what the history says."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from envs.catalogue import Catalogue
from envs.shoppers import (
    Population,
    Profiles,
    ShopperConfig,
    make_population,
    observe_profiles,
    population_from_profiles,
    price_fit,
    price_z,
    simulate_history,
    taste_match,
)
from envs.synthetic import SyntheticConfig, synthetic_catalogue

CONFIG = ShopperConfig(shoppers=600)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return synthetic_catalogue(SyntheticConfig(items=240), np.random.default_rng(1))


def _visit(catalogue: Catalogue, seed: int) -> tuple[Population, pd.DataFrame, Profiles]:
    rng = np.random.default_rng(seed)
    population = make_population(catalogue, CONFIG, rng)
    history = simulate_history(catalogue, population, CONFIG, rng)
    return (
        population,
        history,
        observe_profiles(replace(catalogue, history=history), CONFIG.segments, rng),
    )


@pytest.fixture(scope="module")
def visit(catalogue: Catalogue) -> tuple[Population, pd.DataFrame, Profiles]:
    return _visit(catalogue, 2)


def _same(a: object, b: object) -> bool:
    """Whether two dataclasses of arrays and lists are equal."""
    return all(
        np.array_equal(getattr(a, f.name), getattr(b, f.name))
        for f in fields(a)  # type: ignore[arg-type]
    )


def test_population_has_the_promised_ranges(
    catalogue: Catalogue, visit: tuple[Population, pd.DataFrame, Profiles]
) -> None:
    population = visit[0]
    assert population.taste.shape == (CONFIG.shoppers, len(catalogue.aspects))
    assert population.taste.min() >= 0
    assert population.taste.sum(axis=1).mean() == pytest.approx(2.5, rel=1e-5)
    np.testing.assert_allclose(population.class_affinity.mean(axis=1), 0, atol=1e-5)
    assert ((population.trust >= 0) & (population.trust <= 1)).all()
    assert (population.price_sensitivity > 0).all()
    assert all(getattr(population, f.name).dtype == np.float32 for f in fields(population))


def test_the_character_of_shoppers_is_what_the_settings_say(catalogue: Catalogue) -> None:
    count = 20_000
    config = ShopperConfig(
        shoppers=count, trust_mean=0.3, trust_concentration=5, patience_low=2, patience_high=4,
        price_point_mean=0.5, price_point_spread=0.2, price_sensitivity=2,
        price_sensitivity_spread=0.5,
    )  # fmt: skip
    people = make_population(catalogue, config, np.random.default_rng(6))
    # Beta(1.5, 3.5) has variance m (1 - m) / (c + 1); uniform on [2, 4] has (4 - 2)^2 / 12.
    for values, mean, variance in (
        (people.trust, 0.3, 0.3 * 0.7 / 6),
        (people.patience, 3.0, 4 / 12),
        (people.price_point, 0.5, 0.2**2),
        (np.log(people.price_sensitivity), np.log(2), 0.5**2),
    ):
        assert abs(values.mean() - mean) < 3 * np.sqrt(variance / count)
        # Kurtosis is at most 3 here: the variance of a squared deviation is at most 2 variance^2.
        assert abs(values.var() - variance) < 3 * np.sqrt(2 / count) * variance
    assert people.patience.min() >= 2
    assert people.patience.max() <= 4


def test_the_character_of_guessed_shoppers_too(
    catalogue: Catalogue, visit: tuple[Population, pd.DataFrame, Profiles]
) -> None:
    sure = ShopperConfig(
        price_point_error=0, price_sensitivity=3, price_sensitivity_spread=0, patience_low=5,
        patience_high=5,
    )  # fmt: skip
    people = population_from_profiles(catalogue, visit[2], sure, np.random.default_rng(0))
    np.testing.assert_array_equal(people.price_point, visit[2].price_level)
    np.testing.assert_array_equal(people.price_sensitivity, 3)
    np.testing.assert_array_equal(people.patience, 5)


def test_patience_is_a_range() -> None:
    with pytest.raises(ValueError, match=r"patience_low \(9\.0\) must not exceed patience_high"):
        ShopperConfig(patience_low=9)


def test_a_seed_reproduces_everything_and_another_does_not(
    catalogue: Catalogue, visit: tuple[Population, pd.DataFrame, Profiles]
) -> None:
    again, other = _visit(catalogue, 2), _visit(catalogue, 3)
    assert _same(visit[0], again[0])
    pd.testing.assert_frame_equal(visit[1], again[1])
    assert _same(visit[2], again[2])
    assert not _same(visit[0], other[0])
    assert not visit[1].equals(other[1])


def test_row_u_of_the_profiles_is_row_u_of_the_population(
    visit: tuple[Population, pd.DataFrame, Profiles],
) -> None:
    population, history, profiles = visit
    assert profiles.shopper_ids == [f"s{u:03d}" for u in range(len(population.taste))]
    assert (history.groupby("shopper_id").size() >= 2).all()
    # Observed and hidden class preference belong together only if rows are aligned.
    hidden, seen = population.class_affinity, profiles.class_mix
    r = np.corrcoef(hidden.ravel(), seen.ravel())[0, 1]
    shifted = np.corrcoef(np.roll(hidden, 1, axis=0).ravel(), seen.ravel())[0, 1]
    assert r - shifted > 3 * np.sqrt(2 / len(hidden))


def test_segments_tell_something_of_hidden_taste(
    visit: tuple[Population, pd.DataFrame, Profiles],
) -> None:
    population, _, profiles = visit
    z = population.taste - population.taste.mean(axis=0)
    z /= z.std(axis=0)

    def taste_for_top_aspects(segment: np.ndarray) -> float:
        """Mean standardised hidden taste of the shoppers for their segment's top 3 aspects."""
        return float(np.mean([z[u, profiles.liked(s, 3)].mean() for u, s in enumerate(segment)]))

    # Were segments unrelated to taste, a shopper's mean would have mean 0 and variance at most 1.
    band = 3 / np.sqrt(len(z))
    assert taste_for_top_aspects(profiles.segment) > band
    shuffled = np.random.default_rng(4).permutation(profiles.segment)
    assert abs(taste_for_top_aspects(shuffled)) < band


def test_price_z_by_hand(hand_catalogue: Catalogue) -> None:
    np.testing.assert_allclose(price_z(hand_catalogue), [-1, 1, -1, 1], rtol=1e-6)


def test_price_z_is_capped_and_one_item_of_a_class_is_typical(hand_catalogue: Catalogue) -> None:
    items = pd.concat([hand_catalogue.items.iloc[[0]]] * 21 + [hand_catalogue.items.iloc[[2]]])
    items["price"] = [10.0] * 20 + [1e6, 7.0]
    z = price_z(replace(hand_catalogue, items=items.reset_index(drop=True)))
    assert z[20] == 3, "4.47 standard deviations above the mean of its class"
    assert z[21] == 0


def test_profiles_by_hand(hand_catalogue: Catalogue) -> None:
    profiles = observe_profiles(hand_catalogue, 2, np.random.default_rng(0))
    assert profiles.shopper_ids == ["s0", "s1", "s2"]
    # Aspect means: lamps (0.6, 0.3), mugs (0, 0.75). Surplus: a (0.2, -0.3), b (-0.2, 0.3),
    # c (0, 0.25), d (0, -0.25). A purchase weighs 3, so s0 is 0.75 a + 0.25 c.
    np.testing.assert_allclose(
        profiles.aspects, [[0.15, -0.1625], [-0.1, 0.025], [0, 0.25]], atol=1e-6
    )
    np.testing.assert_allclose(profiles.class_mix, [[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]])
    np.testing.assert_allclose(profiles.price_level, [-1, 1, -1], rtol=1e-6)
    sums = np.bincount(profiles.history_rows, profiles.history_weights)
    np.testing.assert_allclose(sums, 1, rtol=1e-6)


def test_histories_are_read_in_the_order_of_time(hand_catalogue: Catalogue) -> None:
    """The table of the hand-made shop is unsorted: a was met last by s0, b by s1."""
    profiles = observe_profiles(hand_catalogue, 2, np.random.default_rng(0))
    met = [
        profiles.history_items[profiles.history_rows == row].tolist()
        for row in range(len(profiles.shopper_ids))
    ]
    a, b, c, d = range(4)
    assert met == [[c, a], [d, b], [c, c]]


def test_segments_rank_aspects_and_leave_out_what_is_not_liked(hand_catalogue: Catalogue) -> None:
    profiles = observe_profiles(hand_catalogue, 3, np.random.default_rng(0))
    assert sorted(profiles.segment) == [0, 1, 2], "three unlike shoppers, three segments"
    bright, cosy = 0, 1
    of = profiles.segment
    assert profiles.liked(of[0], 2) == [bright], "s0 meets less cosy items than their classes are"
    assert profiles.liked(of[2], 1) == [cosy]
    top = profiles.segment_aspects.max(axis=1)
    np.testing.assert_allclose(top[top > 0], 1)


def test_more_segments_than_unlike_shoppers_is_no_error(hand_catalogue: Catalogue) -> None:
    history = pd.concat(
        [hand_catalogue.history.iloc[[0]].assign(shopper_id=f"s{u}") for u in range(12)]
    )
    alike = replace(hand_catalogue, history=history.reset_index(drop=True))
    profiles = observe_profiles(alike, 8, np.random.default_rng(0))
    assert profiles.n_segments == 1
    assert np.isfinite(profiles.segment_aspects).all()


def test_match_and_price_fit_by_hand() -> None:
    taste = np.array([1, 0], dtype=np.float32)
    items = np.array([[2, 0], [1, 1], [0, 3], [0, 0]], dtype=np.float32)
    np.testing.assert_allclose(taste_match(taste, items), [1, np.sqrt(0.5), 0, 0], rtol=1e-6)
    z = np.array([0.5, 1.5, -1.5], dtype=np.float32)
    fit = price_fit(z, np.array(0.5, dtype=np.float32))
    np.testing.assert_allclose(fit, [1, np.exp(-0.5), np.exp(-2)], rtol=1e-6)


def test_a_guessed_population_follows_the_observed_profiles(
    catalogue: Catalogue, visit: tuple[Population, pd.DataFrame, Profiles]
) -> None:
    profiles = visit[2]
    sure = ShopperConfig(individuality=0)
    guessed = population_from_profiles(catalogue, profiles, sure, np.random.default_rng(5))
    assert guessed.taste.sum(axis=1).mean() == pytest.approx(2.5, rel=1e-4)
    assert (guessed.taste >= 0).all()
    for aspect in range(len(catalogue.aspects)):  # without noise, the order is the observed one
        order = profiles.aspects[:, aspect].argsort()
        assert (np.diff(guessed.taste[order, aspect]) >= 0).all()
    noise = guessed.price_point - profiles.price_level
    assert abs(noise.mean()) < 3 * 0.3 / np.sqrt(len(noise))
