"""Claims, profile match, swap tests and intervals: by hand, by brute force, by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from rewards.claims import ClaimChecker
from sft.metrics.claims import aspect_rows, check_texts, claim_figures, claim_recall
from sft.metrics.figures import METRICS, Figure, clustered_mean, not_above
from sft.metrics.floors import GENERIC, derangement, fixed_sentence
from sft.metrics.personal import item_swap, pairs_within, profile_match, shopper_swap
from tests.shop_at_hand import hand_made

Bools = NDArray[np.bool_]

CATALOGUE = hand_made(
    [
        ("watch", "Norvik Watch", "watches", "Norvik"),
        ("lamp", "Lumiq Lamp", "lamps", "Lumiq"),
    ],
    [
        ("watch", "battery", ["30-hour battery", "12 hours per charge"]),
        ("watch", "weight", ["weight of 40 g"]),
        ("lamp", "battery", ["90-hour battery"]),
        ("lamp", "light", ["warm light"]),
    ],
)
WATCH, LAMP = range(2)
BATTERY, LIGHT, WEIGHT = range(3)


def bools(*rows: str) -> Bools:
    """One row a string of 0 and 1."""
    return np.array([[c == "1" for c in row] for row in rows])


# --- claims --------------------------------------------------------------------------------------


def test_claim_figures_by_hand() -> None:
    assert CATALOGUE.aspects == ["battery", "light", "weight"]
    texts = [
        "It has a 30-hour battery and a weight of 40 g.",  # two truths
        "It has a 30-hour battery, a 30-hour battery and warm light.",  # one truth, one lie
        "A good choice.",  # nothing
    ]
    checked = check_texts(ClaimChecker(CATALOGUE), np.array([WATCH] * 3), texts)
    assert claim_figures(checked) == pytest.approx(
        {"claims_per_text": 4 / 3, "claim_precision": 3 / 4, "hallucination_rate": 1 / 3}
    )
    np.testing.assert_array_equal(aspect_rows(checked, 3), bools("101", "100", "000"))


def test_the_same_text_is_judged_by_each_row_s_item() -> None:
    texts = ["You get warm light."] * 2
    checked = check_texts(ClaimChecker(CATALOGUE), np.array([WATCH, LAMP]), texts)
    assert [found.unsupported for found in checked] == [1, 0]


def test_recall_counts_aspects_whatever_the_wording() -> None:
    checker, items = ClaimChecker(CATALOGUE), np.array([WATCH, WATCH])
    said = ["It has 12 hours per charge.", "A good choice."]
    wanted = ["It has a 30-hour battery and a weight of 40 g.", "You get a 30-hour battery."]
    stated, meant = (aspect_rows(check_texts(checker, items, t), 3) for t in (said, wanted))
    assert claim_recall(stated, meant) == pytest.approx(1 / 3)
    assert claim_recall(stated, np.zeros_like(meant)) == 1


# --- profile match -------------------------------------------------------------------------------


def test_profile_match_by_hand() -> None:
    likes = bools("100", "010", "001", "100")
    held = bools("111", "111", "111", "010")  # the last item has nothing that its reader likes
    stated = bools("100", "100", "011", "010")
    other = np.array([1, 2, 0, 1])
    found = profile_match(stated, held, likes, other, np.arange(4))
    assert found["profile_match"].value == pytest.approx(2 / 3)  # yes, no, yes
    assert found["profile_match_control"].value == pytest.approx(0)  # no, no, no
    assert found["profile_match_lift"].value == pytest.approx(2 / 3)
    assert profile_match(stated, held & False, likes, other, np.arange(4)) == {}


def test_texts_that_ignore_the_reader_have_no_lift() -> None:
    """Over many shuffles the lift of texts drawn without a look at the likes is 0."""
    rng = np.random.default_rng(0)
    n = 4_000
    likes, stated = rng.random((n, 6)) < 0.4, rng.random((n, 6)) < 0.3
    held = np.ones((n, 6), dtype=bool)
    lift = profile_match(stated, held, likes, derangement(n, rng), np.arange(n))[
        "profile_match_lift"
    ]
    # A difference of two bits has at most variance 1.
    assert abs(lift.value) < 3 / np.sqrt(n)
    fitting = profile_match(stated & likes, held, likes, derangement(n, rng), np.arange(n))
    assert fitting["profile_match_lift"].low is not None
    assert fitting["profile_match_lift"].low > 0.05


# --- swap tests ----------------------------------------------------------------------------------

HELD = bools("111", "111")
LIKES = bools("100", "010")
ONE_PAIR = np.array([[0, 1]])


@pytest.mark.parametrize(
    ("stated", "earned", "changed"),
    [
        (bools("100", "010"), 1.0, 1.0),  # each reader is told what fits
        (bools("010", "100"), -1.0, 1.0),  # each is told what fits the other
        (bools("100", "100"), 0.0, 0.0),  # one text for both
        (bools("110", "110"), 0.0, 0.0),
        (bools("110", "010"), 0.5, 1.0),  # ½ (½ - ½ + 1 - 0)
        (bools("001", "010"), 0.5, 1.0),  # only the second one fits
        (bools("000", "000"), 0.0, 0.0),
    ],
)
def test_shopper_swap_by_hand(stated: Bools, earned: float, changed: float) -> None:
    found = shopper_swap(stated, HELD, LIKES, ONE_PAIR, np.zeros(2, dtype=np.int64))
    assert found["shopper_swap"].value == pytest.approx(earned)
    assert found["shopper_swap_changed"].value == changed


def test_pairs_with_the_same_right_claims_do_not_count() -> None:
    held = bools("001", "001")  # neither reader's liking is there
    assert shopper_swap(LIKES, held, LIKES, ONE_PAIR, np.zeros(2, dtype=np.int64)) == {}


def test_one_sentence_for_everybody_earns_exactly_nothing() -> None:
    rng = np.random.default_rng(1)
    n = 300
    likes, held = rng.random((n, 5)) < 0.5, rng.random((n, 5)) < 0.7
    groups = rng.integers(9, size=n)
    # The item decides which of the sentence's claims are true.
    held = held[groups]
    stated = held & (rng.random(5) < 0.6)
    pairs = pairs_within(groups, np.arange(n), rng)
    found = shopper_swap(stated, held, likes, pairs, groups)
    assert found["shopper_swap"] == Figure(0.0, 0.0, 0.0)


def test_item_swap_by_hand() -> None:
    checker = ClaimChecker(CATALOGUE)

    def support(item: int, text: str) -> float:
        claims = set(checker.check(item, text).claims)
        return sum(claim.supported for claim in claims) / max(len(claims), 1)

    def earned(one: str, two: str) -> float:
        pair, clusters = np.array([[0, 1]]), np.zeros(2, dtype=np.int64)
        return item_swap([one, two], np.array([WATCH, LAMP]), pair, clusters, support)[
            "item_swap"
        ].value

    own, others = "It has a 30-hour battery.", "You get warm light."
    assert earned(own, others) == 1
    assert earned(others, own) == -1
    assert earned(own, own) == 0
    assert earned("A good choice.", "It does its job well.") == 0
    assert earned(own, "A good choice.") == 0.5
    no_pair, alone = np.empty((0, 2), np.int64), np.array([WATCH])
    assert item_swap([own], alone, no_pair, alone, support) == {}


def test_pairs_are_disjoint_within_groups_and_unlike() -> None:
    rng = np.random.default_rng(2)
    groups, differ = rng.integers(12, size=500), rng.integers(3, size=500)
    pairs = pairs_within(groups, differ, rng)
    assert len(np.unique(pairs)) == pairs.size
    assert (groups[pairs[:, 0]] == groups[pairs[:, 1]]).all()
    assert (differ[pairs[:, 0]] != differ[pairs[:, 1]]).all()
    # Two of three differ; at most 250 pairs are drawn, less half a pair a group.
    band = 3 * np.sqrt(250 * 2 / 9)
    assert 244 * 2 / 3 - band < len(pairs) < 250 * 2 / 3 + band
    # Without a second row, or without an unlike one, there is none; all unlike ones pair up.
    assert pairs_within(np.arange(5), np.arange(5), rng).shape == (0, 2)
    assert pairs_within(np.zeros(5, np.int64), np.zeros(5, np.int64), rng).shape == (0, 2)
    assert pairs_within(np.zeros(5, np.int64), np.arange(5), rng).shape == (2, 2)
    assert pairs_within(np.empty(0, np.int64), np.empty(0, np.int64), rng).shape == (0, 2)


# --- intervals and floors ------------------------------------------------------------------------


def test_interval_of_independent_rows_is_student_t() -> None:
    values = np.random.default_rng(4).normal(size=50)
    figure = clustered_mean(values, np.arange(50))
    low, high = stats.t.interval(0.95, 49, values.mean(), stats.sem(values))
    assert (figure.value, figure.low, figure.high) == pytest.approx((values.mean(), low, high))


def test_rows_said_many_times_are_no_more_evidence() -> None:
    values = np.random.default_rng(5).normal(size=30)
    once = clustered_mean(values, np.arange(30))
    often = clustered_mean(np.repeat(values, 9), np.repeat(np.arange(30), 9))
    assert often.as_dict() == pytest.approx(once.as_dict())
    assert clustered_mean(values, np.zeros(30, np.int64)).as_dict() == {"value": values.mean()}


@pytest.mark.parametrize("count", [2, 3, 10, 101])
def test_derangement_moves_everybody(count: int) -> None:
    order = derangement(count, np.random.default_rng(count))
    assert sorted(order) == list(range(count))
    assert (order != np.arange(count)).all()


def test_fixed_sentence_is_the_one_that_fits_the_references_best() -> None:
    rng = np.random.default_rng(6)
    references = ["it has light", "it has weight", "it has power", "a b c d", "e f g", "h i j"]
    assert fixed_sentence(references, "en", rng).startswith("it has")
    assert fixed_sentence(["many people like it"] * 3, "en", rng) == "many people like it"
    # Where no reference says what the others say, the generic sentence is the better guess.
    assert fixed_sentence(["a choice", "good people", "many like that"], "en", rng) == GENERIC["en"]


def test_what_does_not_beat_its_floor() -> None:
    level = Figure(40.0)
    assert not_above("bleu", level, {"fixed": Figure(40.0), "shuffled": Figure(3.0)}) == ["fixed"]
    assert not_above("bleu", level, {"fallback": Figure(50.0)}) == []
    # An interval that covers the floor does not beat it.
    lift = Figure(0.2, -0.1, 0.5)
    assert not_above("profile_match_lift", lift, {"fixed": Figure(0.0)}) == ["fixed"]
    # Lower is better here.
    assert not_above("hallucination_rate", Figure(0.1), {"shuffled": Figure(0.9)}) == []
    assert not_above("hallucination_rate", Figure(0.9), {"shuffled": Figure(0.1)}) == ["shuffled"]
    assert {m.better for m in METRICS.values() if m.beats} <= {1, -1}
