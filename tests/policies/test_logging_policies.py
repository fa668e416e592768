"""Logging rules: propensities equal enumeration, samples follow them, coins are the page's own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch

from envs.counter_rng import Keys, fold
from envs.errors import UserError
from envs.feedback import PROPENSITIES
from policies.logging_policies import (
    EpsilonMixed,
    Explore,
    LoggingPolicy,
    PlackettLuce,
    TopK,
    exploration_marginals,
)
from policies.logging_race import slate_marginals
from policies.ranker.plackett_luce import item_position_marginals

RULES: list[LoggingPolicy] = [
    TopK(),
    PlackettLuce(0.7),
    EpsilonMixed(0.3),
    EpsilonMixed(0.2, PlackettLuce(0.5)),
    Explore(0.25),
    Explore(1.0),
]
NAMES = [rule.name for rule in RULES]


def page_keys(count: int) -> Keys:
    return fold(np.full(count, 12345, dtype=np.uint64), np.arange(count))


# Enumeration, straight from each rule's definition

#: (probability, slate) of everything that a rule can show.
Outcomes = dict[tuple[int, ...], float]


def _stagewise(
    allowed: list[int], slots: int, chance: Callable[[list[int]], dict[int, float]]
) -> Outcomes:
    """Slates filled from the top, ``chance(left)`` being the law of the next item."""
    found: Outcomes = {(): 1.0}
    for _ in range(min(slots, len(allowed))):
        grown: Outcomes = {}
        for slate, p in found.items():
            for item, q in chance([i for i in allowed if i not in slate]).items():
                grown[(*slate, item)] = p * q
        found = grown
    return found


def enumerate_rule(
    rule: LoggingPolicy, scores: np.ndarray, mask: np.ndarray, slots: int
) -> Outcomes:
    allowed = [int(i) for i in np.flatnonzero(mask)]

    def greedy(left: list[int]) -> int:
        return max(left, key=lambda i: (scores[i], -i))

    if isinstance(rule, TopK):
        return _stagewise(allowed, slots, lambda left: {greedy(left): 1.0})
    if isinstance(rule, PlackettLuce):
        rates = np.exp(scores.astype(float) / rule.temperature)
        return _stagewise(
            allowed, slots, lambda left: {i: rates[i] / rates[left].sum() for i in left}
        )
    if isinstance(rule, Explore):
        e = rule.epsilon
        return _stagewise(
            allowed,
            slots,
            lambda left: {i: e / len(left) + (1 - e) * (i == greedy(left)) for i in left},
        )
    assert isinstance(rule, EpsilonMixed)
    base = enumerate_rule(rule.base, scores, mask, slots)
    anything = list(permutations(allowed, min(slots, len(allowed))))
    return {
        slate: rule.epsilon / len(anything) + (1 - rule.epsilon) * base.get(slate, 0.0)
        for slate in anything
    }


def expected(outcomes: Outcomes, slate: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The three propensities of a slate by summing outcomes."""
    slots = range(len(slate))
    whole = outcomes.get(slate, 0.0)
    return {
        "pscore": np.array([whole for _ in slots]),
        "pscore_cascade": np.array(
            [sum(p for s, p in outcomes.items() if s[: j + 1] == slate[: j + 1]) for j in slots]
        ),
        "pscore_item_position": np.array(
            [sum(p for s, p in outcomes.items() if s[j] == slate[j]) for j in slots]
        ),
    }


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
@pytest.mark.parametrize(("candidates", "hidden", "slots"), [(6, 0, 3), (6, 2, 3), (5, 0, 5)])
def test_propensities_equal_enumeration(
    rule: LoggingPolicy, candidates: int, hidden: int, slots: int
) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=candidates).astype(np.float32)
    scores[1] = scores[3]  # a tie
    mask = np.ones(candidates, dtype=np.float32)
    mask[rng.permutation(candidates)[:hidden]] = 0
    outcomes = enumerate_rule(rule, scores, mask, slots)
    assert sum(outcomes.values()) == pytest.approx(1)
    slates = np.array(list(permutations(np.flatnonzero(mask), slots)))
    shape = (len(slates), 1)
    found = rule.propensities(np.tile(scores, shape), np.tile(mask, shape), slates)
    assert tuple(found) == PROPENSITIES
    for row, slate in enumerate(slates):
        for name, values in expected(outcomes, tuple(slate.tolist())).items():
            np.testing.assert_allclose(
                found[name][row], values, rtol=1e-6, atol=1e-12, err_msg=name
            )


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_probabilities_of_all_slates_and_of_all_items_in_a_slot_sum_to_one(
    rule: LoggingPolicy,
) -> None:
    rng = np.random.default_rng(3)
    slates = np.array(list(permutations(range(6), 4)))
    scores = np.tile(rng.normal(size=6), (len(slates), 1))
    found = rule.propensities(scores, np.ones_like(scores), slates)
    assert found["pscore"][:, 0].sum() == pytest.approx(1)
    for slot in range(4):
        by_item = {
            int(i): p for i, p in zip(slates[:, slot], found["pscore_item_position"][:, slot])
        }
        assert len(by_item) == 6
        assert sum(by_item.values()) == pytest.approx(1)
        by_prefix = {
            tuple(s): p for s, p in zip(slates[:, : slot + 1], found["pscore_cascade"][:, slot])
        }
        assert sum(by_prefix.values()) == pytest.approx(1)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_samples_follow_the_propensities(rule: LoggingPolicy) -> None:
    """Shares of each slate, prefix and item in a slot, against their probabilities: 4 sigma."""
    rows, scores = 60_000, np.random.default_rng(5).normal(size=5)
    mask = np.array([1.0, 1, 0, 1, 1])
    many, masks = np.tile(scores, (rows, 1)), np.tile(mask, (rows, 1))
    slates = rule.sample(many, masks, 3, page_keys(rows))
    assert slates.shape == (rows, 3)
    assert not (slates == 2).any()
    distinct, counts = np.unique(slates, axis=0, return_counts=True)
    p = rule.propensities(many[: len(distinct)], masks[: len(distinct)], distinct)
    whole = p["pscore"][:, 0]
    # 24 slates at most: 4 sigma is passed by chance less than once in 600 runs, and the seed is
    # fixed.
    assert (np.abs(counts / rows - whole) <= 4 * np.sqrt(whole * (1 - whole) / rows) + 1e-12).all()
    assert whole.sum() == pytest.approx(1, abs=5e-3)  # what was never drawn is rare
    for slot in range(3):
        for item, marginal in zip(distinct[:, slot], p["pscore_item_position"][:, slot]):
            share = (slates[:, slot] == item).mean()
            assert abs(share - marginal) <= 4 * np.sqrt(marginal * (1 - marginal) / rows) + 1e-9


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_a_page_draws_from_its_own_key(rule: LoggingPolicy) -> None:
    rng = np.random.default_rng(6)
    scores, keys = rng.normal(size=(40, 8)), page_keys(40)
    mask = np.ones_like(scores)
    together = rule.sample(scores, mask, 4, keys)
    rows = rng.permutation(40)[:11]
    np.testing.assert_array_equal(
        rule.sample(scores[rows], mask[rows], 4, keys[rows]), together[rows]
    )


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_what_cannot_be_shown_has_probability_zero_and_void_slots_one(rule: LoggingPolicy) -> None:
    scores = np.array([[0.3, 0.9, 0.1, 0.5]])
    mask = np.array([[1.0, 1, 0, 0]])
    slates = rule.sample(scores, mask, 3, page_keys(1))
    assert sorted(slates[0, :2]) == [0, 1]
    found = rule.propensities(scores, mask, slates)
    assert found["pscore_item_position"][0, 2] == 1
    assert found["pscore_cascade"][0, 2] == found["pscore_cascade"][0, 1] > 0
    repeated = rule.propensities(scores, mask, np.array([[1, 1, 2]]))
    assert repeated["pscore"][0, 0] == 0
    masked = rule.propensities(scores, mask, np.array([[1, 2, 0]]))
    assert masked["pscore_cascade"][0, 1] == masked["pscore_item_position"][0, 1] == 0


# Reduction laws


def _same(one: LoggingPolicy, other: LoggingPolicy) -> None:
    rng = np.random.default_rng(8)
    scores = np.stack([rng.permutation(9) for _ in range(50)]) / 1_500
    mask = (rng.random(scores.shape) < 0.8).astype(float)
    mask[:, :4] = 1
    slates = other.sample(scores, mask, 4, page_keys(50))
    a, b = (rule.propensities(scores, mask, slates) for rule in (one, other))
    for name in PROPENSITIES:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-8, err_msg=name)


def test_rules_collapse_into_each_other() -> None:
    _same(EpsilonMixed(0.0), TopK())
    _same(Explore(0.0), TopK())
    _same(EpsilonMixed(0.0, PlackettLuce(0.3)), PlackettLuce(0.3))
    _same(EpsilonMixed(1.0), Explore(1.0))
    _same(EpsilonMixed(1.0), PlackettLuce(1e9))
    # The scores are 67 temperatures apart.
    _same(PlackettLuce(1e-5), TopK())


# Marginals at the sizes of a shop


@pytest.mark.parametrize("scale", [0.2, 2.0])
def test_race_equals_the_trainers_integral(scale: float) -> None:
    rng = np.random.default_rng(9)
    logits = rng.normal(0, scale, size=(30, 20))
    mask = rng.random(logits.shape) < 0.9
    mask[:, :5] = True
    slates = PlackettLuce().sample(logits, mask, 5, page_keys(30))
    table = item_position_marginals(torch.from_numpy(logits), torch.from_numpy(mask), 5).numpy()
    wanted = np.take_along_axis(table, slates[:, :, None], axis=2)[:, :, 0]
    np.testing.assert_allclose(slate_marginals(logits, mask, slates), wanted, rtol=1e-7)


@pytest.mark.parametrize("scale", [1.0, 10.0, 60.0])
def test_race_keeps_its_relative_precision_on_steep_pages(scale: float) -> None:
    """A favourite in a late slot has a tiny probability, and importance weights divide by it."""
    rng = np.random.default_rng(10)
    logits = rng.normal(0, scale, size=6)
    outcomes = enumerate_rule(PlackettLuce(), logits - logits.max(), np.ones(6), 4)
    slates = np.array([rng.permutation(6)[:4] for _ in range(40)])
    found = slate_marginals(np.tile(logits, (40, 1)), np.ones((40, 6), dtype=bool), slates)
    for row, slate in enumerate(slates):
        wanted = expected(outcomes, tuple(slate.tolist()))["pscore_item_position"]
        np.testing.assert_allclose(found[row], wanted, rtol=1e-9)


def test_first_slot_of_the_race_is_a_softmax() -> None:
    logits = np.random.default_rng(11).normal(0, 3, size=(10, 200))
    slates = np.tile(np.arange(5), (10, 1))
    softmax = np.exp(logits[:, 0]) / np.exp(logits).sum(axis=1)
    found = slate_marginals(logits, np.ones(logits.shape, dtype=bool), slates)
    np.testing.assert_allclose(found[:, 0], softmax, rtol=1e-9)


@pytest.mark.parametrize(("available", "slots"), [(5, 5), (20, 5), (300, 10)])
def test_exploration_marginals_are_a_table_of_probabilities(available: int, slots: int) -> None:
    table = exploration_marginals(available, slots, 0.3)
    assert table.shape == (slots, available)
    assert (table > 0).all()
    np.testing.assert_allclose(table.sum(axis=1), 1)
    # An item is shown at most once; where all are shown, exactly once.
    assert (table.sum(axis=0) <= 1 + 1e-12).all()
    if available == slots:
        np.testing.assert_allclose(table.sum(axis=0), 1)


# Mistakes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PlackettLuce(0.0), "temperature must be above 0, but is 0"),
        (lambda: EpsilonMixed(1.5), r"epsilon must lie in \[0, 1\], but is 1.5"),
        (lambda: Explore(-0.1), r"epsilon must lie in \[0, 1\], but is -0.1"),
    ],
)
def test_parameters_out_of_range(make: Callable[[], LoggingPolicy], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_scores_that_are_no_numbers() -> None:
    scores, mask = np.array([[0.0, np.nan, 1.0]]), np.ones((1, 3))
    for rule in RULES:
        with pytest.raises(ValueError, match="scores must be numbers"):
            rule.propensities(scores, mask, np.array([[0, 2]]))
    # What is masked may hold anything.
    assert TopK().sample(scores, np.array([[1, 0, 1]]), 2, page_keys(1)).tolist() == [[2, 0]]


def test_a_temperature_too_low_for_the_scores() -> None:
    with pytest.raises(UserError, match="span 2000 temperatures"):
        PlackettLuce(1e-3).sample(np.array([[0.0, 2.0]]), np.ones((1, 2)), 1, page_keys(1))


def test_minus_infinity_ranks_last_but_before_what_is_masked() -> None:
    scores, mask = np.array([[-np.inf, 0.0, 1.0, 2.0]]), np.array([[1.0, 1, 1, 0]])
    for rule in (TopK(), PlackettLuce(0.02), Explore(0.0)):
        assert rule.sample(scores, mask, 3, page_keys(1)).tolist() == [[2, 1, 0]]
