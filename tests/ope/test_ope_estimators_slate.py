"""Pseudo-inverse and adaptive slate estimators, and slates over many seeds."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from envs.errors import UserError
from experiments.ope.adaptive_slates import (
    BEHAVIOURS,
    adaptive_weights,
    choose_behaviours,
    context_groups,
)
from experiments.ope.intervals import point
from experiments.ope.pseudo_inverse import (
    factored_weights,
    pseudo_inverse_weights,
    slot_gram,
    slot_marginals,
)
from experiments.ope.registry import ESTIMATORS
from experiments.ope.slates import Slates
from tests.ope.plackett_luce_world import (
    ITEMS,
    LOGGING,
    SLATES,
    SLOTS,
    TARGET,
    cascade,
    log_of_all,
    marginal,
    sample_log,
    truth,
)

PROPENSITIES = ("pscore", "pscore_cascade", "pscore_item_position")
#: Rewards by item and slot, by the items above, and by the whole slate.
ADDITIVE = np.random.default_rng(1).random((ITEMS, SLOTS))[SLATES, np.arange(SLOTS)]
ANY = np.random.default_rng(2).random(SLATES.shape)


def pi_weights() -> np.ndarray:
    """The weights of all 12 slates, exactly."""
    logging, target = (cascade(scores)[None, :, -1] for scores in (LOGGING, TARGET))
    gram = np.repeat(slot_gram(SLATES, logging, ITEMS), len(SLATES), axis=0)
    marginals = np.repeat(slot_marginals(SLATES, target, ITEMS), len(SLATES), axis=0)
    return pseudo_inverse_weights(SLATES, marginals, gram, rows=5)


def with_pi(frame: pd.DataFrame) -> pd.DataFrame:
    keys = frame["item_id"].to_numpy().reshape(-1, SLOTS)
    place = (keys[:, None] == SLATES).all(axis=2).argmax(axis=1)
    return frame.assign(weight_pi=np.repeat(pi_weights()[place], SLOTS))


def value(name: str, frame: pd.DataFrame) -> float:
    return point(ESTIMATORS[name].terms(Slates(frame)))


def expectation(name: str, frame: pd.DataFrame) -> float:
    terms = ESTIMATORS[name].terms(Slates(frame))
    return float(cascade(LOGGING)[:, -1] @ terms.numerator[:, 0])


# Pseudo-inverse


def test_marginals_are_those_of_the_policy() -> None:
    found = slot_marginals(SLATES, cascade(TARGET)[None, :, -1], ITEMS)[0].reshape(SLOTS, ITEMS)
    np.testing.assert_allclose(found[np.arange(SLOTS), SLATES], marginal(TARGET))
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_pi_is_unbiased_for_sums_over_slots_only() -> None:
    frame = with_pi(log_of_all(ADDITIVE))
    assert expectation("PI", frame) == pytest.approx(truth(ADDITIVE), abs=1e-12)
    bias = expectation("PI", with_pi(log_of_all(ANY))) - truth(ANY)
    assert abs(bias) > 1e-3


def test_pi_weights_expect_one_and_vary_less_than_those_of_slates() -> None:
    chance, weight = cascade(LOGGING)[:, -1], pi_weights()
    whole = cascade(TARGET)[:, -1] / chance
    assert chance @ weight == pytest.approx(1.0)
    assert chance @ weight**2 < chance @ whole**2


def test_pi_with_one_slot_is_ips() -> None:
    logging, target = np.array([[0.2, 0.3, 0.5]]), np.array([[0.6, 0.1, 0.3]])
    slates = np.arange(3)[:, None]
    gram = np.repeat(slot_gram(slates, logging, 3), 3, axis=0)
    weight = pseudo_inverse_weights(slates, np.repeat(target, 3, axis=0), gram)
    np.testing.assert_allclose(weight, (target / logging)[0])
    np.testing.assert_allclose(factored_weights(weight[:, None]), weight)


def test_independent_slots_make_the_pseudo_inverse_the_factored_form() -> None:
    rng = np.random.default_rng(3)
    slates = np.array(list(itertools.product(range(3), repeat=2)))
    logging, target = rng.dirichlet(np.ones(3), size=2), rng.dirichlet(np.ones(3), size=2)
    chance, wanted = (p[0][slates[:, 0]] * p[1][slates[:, 1]] for p in (logging, target))
    gram = np.repeat(slot_gram(slates, chance[None], 3), 9, axis=0)
    marginals = np.repeat(slot_marginals(slates, wanted[None], 3), 9, axis=0)
    ratio = np.stack([(target / logging)[slot][slates[:, slot]] for slot in range(2)], axis=1)
    np.testing.assert_allclose(
        pseudo_inverse_weights(slates, marginals, gram), factored_weights(ratio)
    )
    grids = {
        "item_id": slates,
        "reward": rng.random(slates.shape),
        "pscore": np.repeat(chance[:, None], 2, axis=1),
        "eval_pscore": np.repeat(wanted[:, None], 2, axis=1),
        "pscore_item_position": np.stack([logging[s][slates[:, s]] for s in range(2)], axis=1),
        "eval_pscore_item_position": np.stack([target[s][slates[:, s]] for s in range(2)], axis=1),
    }
    frame = pd.DataFrame({name: grid.ravel() for name, grid in grids.items()}).assign(
        slate_id=np.repeat(np.arange(9), 2), position=np.tile([0, 1], 9)
    )
    known = np.mean(factored_weights(ratio) * grids["reward"].sum(axis=1))
    assert value("FactoredPI", frame) == pytest.approx(known, rel=1e-12)


def test_slots_that_depend_on_each_other_have_no_factored_form() -> None:
    with pytest.raises(UserError, match="drawn one by one, independently"):
        value("FactoredPI", log_of_all(ADDITIVE))


def test_a_gram_matrix_of_samples_nears_the_exact_one() -> None:
    rng = np.random.default_rng(4)
    chance = cascade(LOGGING)[:, -1]
    drawn = SLATES[rng.choice(len(SLATES), size=(1, 20000), p=chance)]
    sampled = slot_gram(drawn, np.full((1, 20000), 1 / 20000), ITEMS)
    exact = slot_gram(SLATES, chance[None], ITEMS)
    # Each entry is a share of 20000 draws.
    np.testing.assert_allclose(sampled, exact, atol=4 * 0.5 / np.sqrt(20000))


# Many seeds


def test_unbiased_over_seeds() -> None:
    """200 logs of 100 slates with separate items: where theory says unbiased, the mean error lies
    inside 3 of its standard errors."""
    names = ["SIPS", "IIPS", "RIPS", "PI", "DR", "CascadeDR"]
    q = np.random.default_rng(5).random((ITEMS, SLOTS))[SLATES, np.arange(SLOTS)]
    v = np.broadcast_to(cascade(TARGET)[:, -1] @ q, SLATES.shape)
    rng, found = np.random.default_rng(6), []
    for _ in range(200):
        slates = Slates(with_pi(sample_log(100, ADDITIVE, rng, q_hat=q, v_hat=v)))
        found.append([point(ESTIMATORS[name].terms(slates)) for name in names])
    errors = np.array(found) - truth(ADDITIVE)
    spread = errors.std(axis=0, ddof=1)
    assert np.all(np.abs(errors.mean(axis=0)) <= 3 * spread / np.sqrt(len(errors)))
    by_name = dict(zip(names, spread))
    # The fewer positions a weight spans, the less it varies.
    assert by_name["IIPS"] < by_name["RIPS"] < by_name["SIPS"]
    assert by_name["PI"] < by_name["SIPS"]


# Adaptive


def weights_of(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    slates = Slates(frame)
    return {name: slates.weight(kind) for name, kind in zip(BEHAVIOURS, PROPENSITIES)}


def test_each_group_gets_the_simplest_behaviour_that_fits_it() -> None:
    """Group 0 clicks item by item; group 1 clicks the lower slot by what stands above."""
    rng = np.random.default_rng(7)
    above = np.stack([0.5 * np.ones(len(SLATES)), 0.05 + 0.9 * (SLATES[:, 0] % 2)], axis=1)
    frames = [sample_log(8000, expected, rng) for expected in (ADDITIVE, above)]
    frames[1]["slate_id"] += 8000
    frame = pd.concat(frames, ignore_index=True).assign(
        segment=np.repeat(["plain", "looks back"], 16000)
    )
    groups, clusters = np.repeat([0, 1], 8000), np.arange(16000)
    chosen = choose_behaviours(Slates(frame).reward, weights_of(frame), groups, clusters)
    assert BEHAVIOURS[chosen[0]] == "item"
    assert BEHAVIOURS[chosen[1]] == "cascade"
    # The registry finds the groups in the log's own column.
    mixed = adaptive_weights(weights_of(frame), groups, chosen)
    known = float((mixed * Slates(frame).reward).sum(axis=1).mean())
    assert value("AIPS", frame) == pytest.approx(known, rel=1e-12)
    assert value("AIPS", frame.drop(columns="segment")) != pytest.approx(known, rel=1e-6)


def test_a_tree_finds_the_feature_that_parts_the_behaviours() -> None:
    rng = np.random.default_rng(8)
    above = np.stack([0.5 * np.ones(len(SLATES)), 0.05 + 0.9 * (SLATES[:, 0] % 2)], axis=1)
    frames = [sample_log(4000, expected, rng) for expected in (ADDITIVE, above)]
    frames[1]["slate_id"] += 4000
    frame = pd.concat(frames, ignore_index=True)
    looks_back = np.repeat([0.0, 1.0], 4000)
    context = np.column_stack([rng.random(8000), looks_back])
    groups = context_groups(context, Slates(frame).reward, weights_of(frame), depth=1)
    np.testing.assert_array_equal(groups, looks_back)
    with pytest.raises(UserError, match="context of a behaviour tree"):
        context_groups(context[:5], Slates(frame).reward, weights_of(frame))


def test_a_small_group_takes_what_is_best_for_all() -> None:
    frame = sample_log(3000, ADDITIVE, np.random.default_rng(9))
    weights, reward = weights_of(frame), Slates(frame).reward
    groups = np.zeros(3000, dtype=int)
    groups[:20] = 1
    chosen = choose_behaviours(reward, weights, groups, np.arange(3000))
    whole = choose_behaviours(reward, weights, np.zeros(3000, dtype=int), np.arange(3000))
    assert chosen[1] == whole[0]
