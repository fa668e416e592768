"""The mixture of choosers: what it recovers, what it leaves alone, and its approximation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.choice_mixture import Choices, _posterior, _type, expected_tastes

F64 = NDArray[np.float64]

ITEMS, FEATURES, TYPES = 60, 4, 3
BLOCKS = np.array([0, 0, 1, 1])


def chosen(theta: F64, events: int, rng: np.random.Generator) -> Choices:
    """Let choosers with weights theta (U, D) make so many choices each, by the model."""
    items = rng.normal(size=(ITEMS, FEATURES))
    share = rng.dirichlet(np.full(ITEMS, 5.0))
    chance = share * np.exp(theta @ items.T)
    counts = np.stack([rng.multinomial(events, p / p.sum()) for p in chance])
    return Choices(
        items, share, counts @ items, counts.sum(axis=1).astype(float), BLOCKS.astype(np.int64)
    )


def people(rng: np.random.Generator, count: int, within: float) -> F64:
    """Weights of choosers of three types, (U, D)."""
    types = 0.6 * rng.normal(size=(TYPES, FEATURES))
    return types[rng.integers(TYPES, size=count)] + within * rng.normal(size=(count, FEATURES))


def explained(found: F64, theta: F64, choices: Choices) -> float:
    """Share of the variance of true logits over items and choosers that the found ones explain."""

    def logits(weights: F64) -> F64:
        values = weights @ choices.items.T
        return values - values.mean(axis=1, keepdims=True)

    true, guess = logits(theta), logits(found)
    return float(1 - ((true - guess) ** 2).sum() / ((true - true.mean(axis=0)) ** 2).sum())


def test_long_histories_tell_the_person() -> None:
    rng = np.random.default_rng(0)
    theta = people(rng, 300, within=0.25)
    choices = chosen(theta, 400, rng)
    assert explained(expected_tastes(choices, TYPES), theta, choices) > 0.9


def test_short_histories_tell_the_type_and_more_types_than_there_are_do_no_harm() -> None:
    rng = np.random.default_rng(1)
    theta = people(rng, 1_500, within=0.1)
    choices = chosen(theta, 10, rng)
    told = {
        types: explained(expected_tastes(choices, types), theta, choices) for types in (1, 3, 9)
    }
    # Each chooser alone, shrunk to one mean, is what one type does.
    assert told[3] > told[1] + 0.05
    assert told[9] > told[3] - 0.05


def test_choosers_that_do_not_differ_are_not_told_apart() -> None:
    rng = np.random.default_rng(2)
    choices = chosen(np.tile(rng.normal(size=FEATURES), (1_000, 1)), 12, rng)
    found = expected_tastes(choices, 6)
    # Told from twelve choices alone, weights would have standard errors of at least 1 / (spread
    # sqrt(12)); what is left of them is the variance that fifteen rounds have not taken down yet.
    alone = 1 / (choices.items.std(axis=0) * np.sqrt(12))
    assert (found.std(axis=0) < alone / 3).all()


def test_the_same_choices_give_the_same_tastes_in_any_order() -> None:
    rng = np.random.default_rng(3)
    choices = chosen(people(rng, 200, 0.3), 15, rng)
    found = expected_tastes(choices, TYPES)
    np.testing.assert_array_equal(found, expected_tastes(choices, TYPES))
    # Of one type: types are begun by k-means, which may begin elsewhere in another order.
    order = rng.permutation(200)
    moved = Choices(
        choices.items, choices.share, choices.sums[order], choices.counts[order], choices.blocks
    )
    np.testing.assert_allclose(
        expected_tastes(moved, 1), expected_tastes(choices, 1)[order], rtol=1e-8, atol=1e-10
    )


@pytest.mark.parametrize("events", [5, 40])
def test_a_posterior_is_that_of_numerical_integration(events: int) -> None:
    """One type, one feature: the normal approximation beside sums over a fine grid."""
    rng = np.random.default_rng(4)
    items, share = rng.normal(size=(30, 1)), np.full(30, 1 / 30)
    variance, theta = 0.3, 0.4
    p = share * np.exp(items[:, 0] * 0.7)
    sums = rng.multinomial(events, p / p.sum()) @ items
    choices = Choices(
        items, share, sums[None], np.array([float(events)]), np.zeros(1, dtype=np.int64)
    )
    found = _type(choices, np.array([theta]), np.array([variance]))
    _, expected, square = _posterior(choices, [found], np.ones(1))
    grid = np.linspace(-4, 4, 4_001)
    log_z = np.log((share[:, None] * np.exp(items * (theta + grid))).sum(axis=0))
    density = np.exp(sums[0] * (theta + grid) - events * log_z - grid**2 / (2 * variance))
    density /= density.sum()
    mean = float(density @ grid)
    spread = float(np.sqrt(density @ grid**2 - mean**2))
    assert float(expected[0, 0]) - theta == pytest.approx(mean, abs=0.2 * spread)
    assert float(square[0]) == pytest.approx(density @ grid**2, rel=0.25)


def test_of_very_many_choosers_a_sample_teaches_the_types(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    theta = people(rng, 1_200, within=0.1)
    choices = chosen(theta, 20, rng)
    whole = explained(expected_tastes(choices, TYPES), theta, choices)
    monkeypatch.setattr("envs.choice_mixture._TEACHERS", 400)
    monkeypatch.setattr("envs.choice_mixture._CHUNK", 500)
    assert explained(expected_tastes(choices, TYPES), theta, choices) > whole - 0.05
