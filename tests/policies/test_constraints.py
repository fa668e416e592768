"""Slates under rules: what is allowed, what gives way and how likely it is, all by enumeration."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest

from envs.counter_rng import Keys, fold
from envs.feedback import PROPENSITIES
from policies.constraints import ShelfRules
from policies.constraints_chances import (
    DRAWS,
    STANDARD_ERROR,
    drawn_marginals,
    exact_rows,
    in_proportion,
    race,
)
from policies.constraints_page import PageRules, Walk, best_slates, fill, page_rules, ranks
from policies.logging_policies import EpsilonMixed, Explore, LoggingPolicy, PlackettLuce, TopK

N = 6
#: min_groups, max_per_group, min_new, pinned items by slot, slots.
ASKED = [
    (1, None, 0, (), 3),
    (3, None, 0, (), 3),
    (2, None, 0, (), 4),
    (1, 1, 0, (), 3),
    (1, 2, 0, (), 4),
    (3, 2, 0, (), 4),
    (1, None, 2, (), 3),
    (3, None, 2, (), 4),
    (2, 2, 2, (), 4),
    (1, 1, 3, (), 4),
    (2, None, 0, (-1, 3), 3),
    (3, 2, 1, (4, -1, 1), 4),
    (1, None, 1, (-1, 2), 3),
]
RULES: list[LoggingPolicy] = [TopK(), PlackettLuce(0.7), EpsilonMixed(0.3), Explore(0.4)]
#: (probability, slate) of everything that a rule can show.
Outcomes = dict[tuple[int, ...], float]
Slate = tuple[int, ...]


def shelf(asked: tuple, rng: np.random.Generator) -> ShelfRules:
    """Eight items in four groups; one of them may not be shown."""
    groups, most, fresh, pinned, _ = asked
    return ShelfRules(
        group=rng.integers(0, 4, size=8), new=rng.random(8) < 0.4,
        showable=np.arange(8) != 7, pinned=np.array(pinned, dtype=np.int64),
        min_groups=groups, max_per_group=most, min_new=fresh,
    )  # fmt: skip


def pages(rules: ShelfRules, slots: int, count: int, rng: np.random.Generator) -> PageRules:
    items = np.stack([rng.permutation(8)[:N] for _ in range(count)])
    mask = (rng.random((count, N)) < 0.9).astype(np.float32)
    return page_rules(rules, items, mask, slots)


def made(asked: tuple, count: int = 12, seed: int = 0) -> PageRules:
    rng = np.random.default_rng((seed, *asked[:1]))
    return pages(shelf(asked, rng), asked[4], count, rng)


class OnePage:
    """The rules of one page, read from their definition: every slate is tried."""

    def __init__(self, rules: PageRules, row: int, asked: tuple) -> None:
        self.group, self.new = rules.group[row], rules.new[row]
        self.pins = {j: int(p) for j, p in enumerate(rules.pinned[row]) if p >= 0}
        spare = [i for i in range(N) if rules.mask[row, i] > 0 and i not in self.pins.values()]
        self.free = [j for j in range(rules.slots) if j not in self.pins][: len(spare)]
        self.tried = list(permutations(spare, len(self.free)))
        groups, most, fresh, _, slots = asked
        most = most or slots
        while not any(self._fullest(s) <= most for s in self.tried):
            most += 1
        self.limit = most
        legal = [s for s in self.tried if self._fullest(s) <= most]
        self.groups = min(groups, max(self._groups(s) for s in legal))
        legal = [s for s in legal if self._groups(s) >= self.groups]
        self.fresh = min(fresh, max(self._new(s) for s in legal))
        self.legal = [s for s in legal if self._new(s) >= self.fresh]

    def _with_pins(self, slate: Slate) -> list[int]:
        return [*self.pins.values(), *slate]

    def _fullest(self, slate: Slate) -> int:
        """Most items of a group; pins alone may be more than the limit."""
        shown = self._with_pins(slate)
        return max(
            (sum(self.group[i] == self.group[own] for i in shown) for own in slate), default=0
        )

    def _groups(self, slate: Slate) -> int:
        return len({int(self.group[i]) for i in self._with_pins(slate)})

    def _new(self, slate: Slate) -> int:
        return sum(bool(self.new[i]) for i in self._with_pins(slate))

    def allowed(self, above: Slate) -> list[int]:
        """What can follow: the next items of all legal slates that begin so."""
        depth = len(above)
        return sorted({s[depth] for s in self.legal if s[:depth] == above})

    def outcomes(self, chance: Callable[[list[int]], dict[int, float]]) -> Outcomes:
        found: Outcomes = {(): 1.0}
        for _ in self.free:
            grown: Outcomes = {}
            for slate, p in found.items():
                for item, q in chance(self.allowed(slate)).items():
                    grown[(*slate, item)] = p * q
            found = grown
        return found


def law_of(rule: LoggingPolicy, page: OnePage, scores: np.ndarray) -> Outcomes:
    def greedy(left: list[int]) -> int:
        return max(left, key=lambda i: (scores[i], -i))

    if isinstance(rule, TopK):
        return page.outcomes(lambda left: {greedy(left): 1.0})
    if isinstance(rule, PlackettLuce):
        rates = np.exp(scores / rule.temperature)
        return page.outcomes(lambda left: {i: rates[i] / rates[left].sum() for i in left})
    if isinstance(rule, Explore):
        e = rule.epsilon
        return page.outcomes(
            lambda left: {i: e / len(left) + (1 - e) * (i == greedy(left)) for i in left}
        )
    assert isinstance(rule, EpsilonMixed)
    base = law_of(rule.base, page, scores)
    anything = page.outcomes(lambda left: dict.fromkeys(left, 1 / len(left)))
    return {
        s: rule.epsilon * p + (1 - rule.epsilon) * base.get(s, 0.0) for s, p in anything.items()
    }


def whole(page: OnePage, slate: Slate, slots: int) -> list[int]:
    """A slate with its pins; a void slot repeats the first item, or a pin where there is none."""
    chosen, found = iter(slate), list[int]()
    for slot in range(slots):
        if slot in page.pins:
            found.append(page.pins[slot])
        elif slot in page.free:
            found.append(next(chosen))
        else:
            found.append(found[0] if slot else max(page.pins.values(), default=0))
    return found


# What is allowed, and what gives way


@pytest.mark.parametrize("asked", ASKED)
def test_a_candidate_is_allowed_where_the_slate_can_still_be_completed(asked: tuple) -> None:
    rules = made(asked)
    for row in range(len(rules.mask)):
        page, alone = OnePage(rules, row, asked), rules.rows(slice(row, row + 1))
        assert (rules.limit[row], rules.groups[row], rules.fresh[row]) == (
            page.limit, page.groups, page.fresh,
        )  # fmt: skip
        starts = {s[:depth] for s in page.legal for depth in range(len(page.free))}
        for above in starts:
            walk, before = Walk(alone), set(range(N))
            steps = iter(above)
            for slot in page.free[: len(above) + 1]:
                now = set(np.flatnonzero(walk.allowed()[0]).tolist())
                # So a candidate that is turned away is turned away for good.
                assert now <= before
                before = now
                item = next(steps, None)
                if item is not None:
                    walk.show(slot, np.array([item]))
            assert sorted(before) == page.allowed(above)


@pytest.mark.parametrize("asked", ASKED)
def test_flags_say_what_gave_way(asked: tuple) -> None:
    rules = made(asked, count=40, seed=1)
    groups, most, fresh, pins, slots = asked
    wanted = np.array([*pins, *[-1] * (slots - len(pins))])
    np.testing.assert_array_equal(rules.unpinned, (rules.pinned < 0) & (wanted >= 0))
    np.testing.assert_array_equal(rules.limit_raised, rules.limit > (most or slots))
    # Pins may hold more than is asked for; then nothing gives way.
    np.testing.assert_array_equal(rules.fewer_groups, rules.groups < groups)
    np.testing.assert_array_equal(rules.fewer_new, rules.fresh < fresh)


def test_filters_come_first_unless_nothing_is_left() -> None:
    rules = ShelfRules(
        group=np.zeros(4, dtype=np.int64), new=np.ones(4, dtype=bool),
        showable=np.array([True, False, True, False]), pinned=np.array([1]),
        min_groups=1, max_per_group=None, min_new=0,
    )  # fmt: skip
    items = np.array([[0, 1, 2], [1, 3, 1]])
    found = page_rules(rules, items, np.array([[1, 1, 0], [1, 1, 0]]), 2)
    assert found.mask.tolist() == [[1, 0, 0], [1, 1, 0]]
    # Pinned item 1 is filtered on the first page, where one item is left for two slots.
    assert found.unpinned.tolist() == [[True, False], [False, False]]
    assert best_slates(np.zeros((2, 3)), found).tolist() == [[0, 0], [0, 1]]


def test_rules_by_hand() -> None:
    """Groups a a a b b c, best first, c new: one of a group at most, one new, b pinned second."""
    rules = ShelfRules(
        group=np.array([0, 0, 0, 1, 1, 2]), new=np.array([False] * 5 + [True]),
        showable=np.ones(6, dtype=bool), pinned=np.array([-1, 4]),
        min_groups=1, max_per_group=1, min_new=1,
    )  # fmt: skip
    items, scores = np.arange(6)[None], -np.arange(6.0)[None]
    assert best_slates(scores, page_rules(rules, items, np.ones((1, 6)), 3)).tolist() == [[0, 4, 5]]
    # Four slots: a second of some group must come, and the limit is raised for this page.
    found = page_rules(rules, items, np.ones((1, 6)), 4)
    assert (found.limit.tolist(), found.limit_raised.tolist()) == ([2], [True])
    assert best_slates(scores, found).tolist() == [[0, 4, 1, 5]]


def test_without_rules_it_is_the_top_k() -> None:
    rules = made(ASKED[0], count=50)
    scores = np.random.default_rng(2).integers(0, 4, size=(50, N)).astype(float)
    scores[:, 2] = -np.inf
    masked = np.where(rules.mask > 0, scores, -np.inf)
    enough = (rules.mask[:, [0, 1, 3, 4, 5]] > 0).sum(axis=1) >= 3
    assert enough.sum() > 20
    wanted = np.argsort(-masked, axis=1, kind="stable")[:, :3]
    np.testing.assert_array_equal(best_slates(scores, rules)[enough], wanted[enough])


# How likely it is


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
@pytest.mark.parametrize("asked", ASKED)
def test_propensities_equal_enumeration(asked: tuple, rule: LoggingPolicy) -> None:
    rules, slots = made(asked, count=4, seed=2), asked[4]
    rng = np.random.default_rng(3)
    for row in range(len(rules.mask)):
        scores = rng.normal(size=N)
        page = OnePage(rules, row, asked)
        outcomes = {tuple(whole(page, s, slots)): p for s, p in law_of(rule, page, scores).items()}
        assert sum(outcomes.values()) == pytest.approx(1)
        every = [tuple(whole(page, s, slots)) for s in page.tried[:: max(1, len(page.tried) // 40)]]
        slates = np.array(every)
        many = rules.rows(np.full(len(slates), row))
        found = rule.propensities(np.tile(scores, (len(slates), 1)), many.mask, slates, many)
        assert tuple(found) == (*PROPENSITIES, STANDARD_ERROR)
        in_both = not exact_rows(many).all() and not isinstance(rule, TopK)
        sampled = in_both or isinstance(rule, Explore)
        for at, slate in enumerate(every):
            prefix = [sum(p for s, p in outcomes.items() if s[:j] == slate[:j])
                      for j in range(1, slots + 1)]  # fmt: skip
            stands = [sum(p for s, p in outcomes.items() if s[j] == slate[j]) for j in range(slots)]
            assert found["pscore"][at] == pytest.approx([prefix[-1]] * slots, abs=1e-12)
            assert found["pscore_cascade"][at] == pytest.approx(prefix, abs=1e-12)
            # What is drawn lies in [0, 1] and has the mean m, so its variance is m (1 - m) at most;
            # five standard errors, because there are some thousand figures.
            m = np.clip(np.array(stands) - prefix, 0, 1) if sampled else np.zeros(slots)
            gap = np.abs(found["pscore_item_position"][at] - stands)
            assert (gap <= 5 * np.sqrt(m * (1 - m) / DRAWS) + 1e-8).all(), (slate, gap)
            assert sampled or not found[STANDARD_ERROR][at].any()


@pytest.mark.parametrize("asked", ASKED)
def test_the_race_agrees_with_drawing(asked: tuple) -> None:
    """Exact pages are those with groups or new items to keep, not both; there is no error there."""
    rules = made(asked, count=30, seed=4)
    exact = exact_rows(rules)
    if asked in ((3, None, 2, (), 4), (2, 2, 2, (), 4)):
        assert not exact.all()
        return
    if asked[2] == 0 or asked[:2] == (1, None):
        assert exact.all()
    rules = rules.rows(exact)
    logits = np.random.default_rng(5).normal(size=rules.mask.shape)
    slates = PlackettLuce().sample(logits, rules.mask, rules.slots, page_keys(len(logits)), rules)
    known = race(rules, logits, slates)
    drawn, error = drawn_marginals(rules, slates, logits, in_proportion, draws=1_000)
    # Five standard errors; the first free slot is drawn without any, and a void one is sure.
    assert (np.abs(drawn - known)[known < 1] <= 5 * error[known < 1] + 1e-8).all()


def page_keys(count: int) -> Keys:
    return fold(np.full(count, 12345, dtype=np.uint64), np.arange(count))


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
@pytest.mark.parametrize("asked", [ASKED[5], ASKED[8], ASKED[11]])
def test_samples_follow_the_propensities(asked: tuple, rule: LoggingPolicy) -> None:
    rows, rules = 20_000, made(asked, count=1, seed=6)
    many = rules.rows(np.zeros(rows, dtype=np.int64))
    scores = np.tile(np.random.default_rng(7).normal(size=N), (rows, 1))
    slates = rule.sample(scores, many.mask, asked[4], page_keys(rows), many)
    distinct, counts = np.unique(slates, axis=0, return_counts=True)
    few = many.rows(np.arange(len(distinct)))
    p = rule.propensities(scores[: len(distinct)], few.mask, distinct, few)["pscore"][:, 0]
    # 4 sigma, as in the tests of the rules themselves; 360 slates at most, the seed is fixed.
    assert (np.abs(counts / rows - p) <= 4 * np.sqrt(p * (1 - p) / rows) + 1e-12).all()
    assert p.sum() == pytest.approx(1, abs=0.02)  # what was never drawn is rare


def test_idle_rules_change_no_propensity_and_no_sample() -> None:
    asked = ASKED[0]
    rules = made(asked, count=40, seed=8)
    rules = rules.rows((rules.mask > 0).sum(axis=1) >= 3)
    scores = np.random.default_rng(9).normal(size=rules.mask.shape)
    keys = page_keys(len(scores))
    for rule in (TopK(), PlackettLuce(0.7), EpsilonMixed(0.2, PlackettLuce(0.5))):
        slates = rule.sample(scores, rules.mask, 3, keys)
        np.testing.assert_array_equal(rule.sample(scores, rules.mask, 3, keys, rules), slates)
        free, under = (rule.propensities(scores, rules.mask, slates, r) for r in (None, rules))
        for name in PROPENSITIES:
            np.testing.assert_allclose(under[name], free[name], rtol=1e-8, err_msg=name)
        assert not under[STANDARD_ERROR].any()


def test_a_page_draws_from_its_own_numbers() -> None:
    rules = made(ASKED[8], count=30, seed=10)
    logits = np.random.default_rng(11).normal(size=rules.mask.shape)
    slates = best_slates(logits, rules)
    together = drawn_marginals(rules, slates, logits, in_proportion, draws=16)
    rows = np.random.default_rng(12).permutation(30)[:7]
    alone = drawn_marginals(rules.rows(rows), slates[rows], logits[rows], in_proportion, draws=16)
    for one, other in zip(alone, together):
        np.testing.assert_array_equal(one, other[rows])


def test_wrong_pins_and_turned_away_items_have_probability_zero() -> None:
    rules = made((1, 1, 0, (0,), 3), count=20, seed=13)
    pinned = rules.pinned[:, 0] >= 0
    scores = np.random.default_rng(14).normal(size=rules.mask.shape)
    slates = best_slates(scores, rules)
    turned = slates[:, [1, 0, 2]]
    found = PlackettLuce().propensities(scores, rules.mask, turned, rules)
    assert pinned.any()
    assert (found["pscore"][pinned] == 0).all()
    assert (found["pscore_item_position"][pinned, 0] == 0).all()


def test_ranks_and_fill_at_the_sizes_of_a_shop() -> None:
    """Every slate of a large page keeps what its page can keep."""
    rng = np.random.default_rng(15)
    rules = ShelfRules(
        group=rng.integers(0, 6, size=300), new=rng.random(300) < 0.2,
        showable=rng.random(300) < 0.9, pinned=np.array([-1, 17, -1, 40]),
        min_groups=4, max_per_group=2, min_new=2,
    )  # fmt: skip
    items = np.stack([rng.permutation(300)[:20] for _ in range(400)])
    page = page_rules(rules, items, np.ones(items.shape), 5)
    slates = best_slates(rng.normal(size=items.shape), page)
    shown = np.take_along_axis(items, slates, axis=1)
    assert rules.showable[shown].all()
    assert (np.sort(shown, axis=1)[:, 1:] != np.sort(shown, axis=1)[:, :-1]).all()
    fresh = rules.new[shown].sum(axis=1)
    assert (fresh >= page.fresh).all()
    groups = np.array([len(set(row)) for row in rules.group[shown].tolist()])
    assert (groups >= page.groups).all()
    counts = np.array([np.bincount(row).max() for row in rules.group[shown]])
    assert (counts <= page.limit).all()
    assert (page.fewer_new.mean(), page.fewer_groups.mean()) < (0.2, 0.05)
    assert fill(page, lambda _, allowed: allowed.argmax(axis=1)).shape == (400, 5)
    np.testing.assert_array_equal(ranks(np.array([[0.5, 2.0, 0.5]])), [[1, 0, 2]])
