"""Measures of reasons on hand-made texts: worked values, and a control that really controls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from envs.assemble import Visitors, synthetic_visitors
from envs.shoppers import ShopperConfig
from envs.synthetic import SyntheticConfig
from experiments.config import MeasureConfig
from experiments.measure_panel import Panel, Said, ask, draw_panel
from experiments.measure_samples import claim_marks, samples
from experiments.measure_writing import FIGURES, Judge, Measured, paired
from rewards.claims import ClaimChecker
from sft.metrics.figures import Figure
from tests.shop_at_hand import hand_made, small_shop

CATALOGUE = hand_made(
    [(f"w{i}", f"Norvik Watch {i}", "watches", "Norvik") for i in range(12)],
    [
        fact
        for i in range(12)
        for fact in ((f"w{i}", "battery", [f"{20 + i}-hour battery"]),
                     (f"w{i}", "weight", [f"weight of {40 + i} g"]))
    ],
)  # fmt: skip
BATTERY, WEIGHT = range(2)
#: Each segment likes the aspect of its number.
LIKES = np.eye(2, dtype=np.float32)

Say = Callable[[int, int], str]


def visitors(likes: np.ndarray = LIKES) -> Visitors:
    known = small_shop().visitors
    return Visitors(
        CATALOGUE, known.population, replace(known.profiles, segment_aspects=likes)
    )  # fmt: skip


def panel_of(people: Visitors, prompts: int = 40, samples: int = 2) -> Panel:
    config = MeasureConfig(prompts=prompts, samples=samples)
    return draw_panel(config, people, np.arange(12), np.random.default_rng(0))


def judged(say: Say, people: Visitors | None = None) -> Measured:
    people = people or visitors()
    panel = panel_of(people)
    judge = Judge(people, ClaimChecker(CATALOGUE), panel, np.random.default_rng(1))
    own, other = (
        [say(int(i), int(s)) for i, s in zip(panel.items, segments)]
        for segments in (panel.segments, panel.others)
    )
    return judge.measure(Said(own, other))


def phrase(item: int, aspect: int) -> str:
    return f"{20 + item}-hour battery" if aspect == BATTERY else f"weight of {40 + item} g"


def follows(item: int, segment: int) -> str:
    return f"It has a {phrase(item, segment)}."


def ignores(item: int, segment: int) -> str:
    return f"It has a {phrase(item, BATTERY)}."


def share(figure: Figure, of: float) -> bool:
    return figure.value == pytest.approx(of)


# --- the control ---------------------------------------------------------------------------------


def test_a_writer_that_follows_the_profile_is_one_above_its_control() -> None:
    found = judged(follows).figures()
    assert found["profile_match"].value == 1
    assert found["profile_match_control"].value == 0
    assert found["profile_match_lift"] == Figure(1.0, 1.0, 1.0)
    assert found["shopper_swap"].value == 1
    assert found["item_swap"].value == 1
    assert found["liked_recall"].value == 1


def test_a_writer_that_ignores_the_profile_is_level_with_its_control() -> None:
    measured, panel = judged(ignores), panel_of(visitors())
    found = measured.figures()
    right = float((panel.segments == BATTERY).mean())
    assert 0.2 < right < 0.8
    assert share(found["profile_match"], right)
    assert share(found["profile_match_control"], right)
    assert found["profile_match_lift"] == Figure(0.0, 0.0, 0.0)
    assert found["shopper_swap"] == Figure(0.0, 0.0, 0.0)
    # It knows its items all the same.
    assert found["item_swap"].value == 1


def test_a_writer_that_follows_for_some_items_is_above_by_their_share() -> None:
    def sometimes(item: int, segment: int) -> str:
        return follows(item, segment) if item < 5 else ignores(item, segment)

    found = judged(sometimes).figures()
    rows = panel_of(visitors()).items
    assert share(found["profile_match_lift"], float((rows < 5).mean()))
    assert share(found["shopper_swap"], float((rows < 5).mean()))
    lift = found["profile_match_lift"]
    assert lift.low is not None
    assert 0 < lift.low < lift.value


def test_rows_whose_item_has_nothing_liked_do_not_count() -> None:
    # The second segment likes nothing: only rows of the first can match.
    likes = np.array([[1, 0], [0, 0]], dtype=np.float32)
    people = visitors(likes)
    measured = judged(lambda item, _: f"It has a {phrase(item, BATTERY)}.", people)
    _, counts = measured.shares["profile_match"]
    np.testing.assert_array_equal(counts, panel_of(people).segments == 0)
    assert measured.figures()["profile_match"].value == 1


def test_without_another_segment_there_is_no_control() -> None:
    found = judged(follows, visitors(LIKES[:1])).figures()
    assert found["profile_match"].value == 1
    assert not {"profile_match_lift", "profile_match_control", "shopper_swap"} & found.keys()


# --- truth, vetoes, variety ----------------------------------------------------------------------


def test_truth_and_vetoes_by_hand() -> None:
    """Three kinds of texts: a truth, a truth and a lie, nothing claimed."""

    def mixed(item: int, segment: int) -> str:
        kinds = (
            f"It has a {phrase(item, BATTERY)}.",
            f"It has a {phrase(item, WEIGHT)} and a {phrase(item + 20, BATTERY)}.",
            "It does its job well.",
        )
        return kinds[item % 3]

    measured = judged(mixed)
    found, kind = measured.figures(), panel_of(visitors()).items % 3
    one, two = (float((kind == k).mean()) for k in (0, 1))
    assert share(found["claim_precision"], (one + two) / (one + 2 * two))
    assert share(found["hallucination_rate"], two)
    assert share(found["veto_rate"], two)
    assert share(found["claims"], one + 2 * two)
    assert measured.veto_shares() == {"unsupported claim": pytest.approx(two)}
    precision = found["claim_precision"]
    assert precision.low is not None
    assert precision.high is not None
    assert 0 < precision.low < precision.value < precision.high < 1


def test_variety_by_hand() -> None:
    found = judged(lambda item, _: f"Pick number {'one' if item < 6 else 'two'}.").figures()
    count = len(panel_of(visitors()).items)
    assert share(found["unique_share"], 2 / count)
    assert share(found["distinct1"], 4 / (3 * count))
    assert share(found["distinct2"], 3 / (2 * count))
    assert found["words"].value == 3
    assert set(found) <= FIGURES.keys()


# --- two writers ---------------------------------------------------------------------------------


def test_paired_differences_are_those_of_the_figures() -> None:
    good, bad = judged(follows), judged(ignores)
    found = paired(good, bad)
    for name, change in found.items():
        ours, theirs = good.figures()[name], bad.figures()[name]
        assert change.value == pytest.approx(ours.value - theirs.value), name
    assert found["profile_match_lift"].value == 1
    assert set(paired(good, good).values()) == {Figure(0.0, 0.0, 0.0)}


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    """Both writers fail on the same items, so that the items' part of the chance cancels."""

    def fails(item: int, segment: int, also: int) -> str:
        wrong = item % 3 == 0 or item == also
        return f"It has a {phrase(item + 30 * wrong, BATTERY)}."

    one, two = judged(lambda i, s: fails(i, s, 1)), judged(lambda i, s: fails(i, s, -1))
    change, alone = paired(one, two)["claim_precision"], two.figures()["claim_precision"]
    assert change.low is not None
    assert change.high is not None
    assert alone.low is not None
    assert alone.high is not None
    assert change.high - change.low < 0.7 * (alone.high - alone.low)


# --- the panel, the floors, the samples ----------------------------------------------------------


def test_the_panel_asks_each_prompt_for_two_readers() -> None:
    people = visitors()
    panel = panel_of(people, prompts=10, samples=3)
    assert (panel.count, len(panel.prompts)) == (10, 30)
    assert (panel.segments != panel.others).all()
    rows = panel.items.reshape(10, 3)
    assert (rows == rows[:, :1]).all()
    np.testing.assert_array_equal(panel.prompt_items, rows[:, 0])
    for prompt, segment in zip(panel.prompts, panel.segments):
        assert ("battery", "weight")[segment] in prompt.split("likes ")[1]
    seeds: list[int] = []

    def write(prompts: list[str], seed: int) -> list[str]:
        seeds.append(seed)
        return [f"{prompt}!" for prompt in prompts]

    said = ask(write, panel, 5)
    assert said.texts == [f"{prompt}!" for prompt in panel.prompts]
    assert said.other_texts == [f"{prompt}!" for prompt in panel.other_prompts]
    assert seeds == [5, 5]


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_the_rule_based_floor_is_true_and_personal_in_both_languages(locale: str) -> None:
    rng = np.random.default_rng(3)
    config = SyntheticConfig(items=60, locale=locale)
    people = synthetic_visitors(config, ShopperConfig(shoppers=60), rng)
    panel = draw_panel(MeasureConfig(prompts=60, samples=1), people, np.arange(60), rng)
    judge = Judge(people, ClaimChecker(people.catalogue), panel, rng)
    found = judge.measure(judge.rules(rng)).figures()
    assert found["claim_precision"].value == 1
    assert found["profile_match"].value == 1
    lift = found["profile_match_lift"]
    assert lift.low is not None
    assert lift.low > 0.2
    fixed = judge.measure(Said(["It does its job well."] * 60, ["It does its job well."] * 60))
    assert fixed.figures()["profile_match_lift"] == Figure(0.0, 0.0, 0.0)


def test_samples_show_the_claims_where_they_stand() -> None:
    people = visitors()
    panel = panel_of(people)
    judge = Judge(people, ClaimChecker(CATALOGUE), panel, np.random.default_rng(1))
    texts = [f"  It has a {phrase(int(i), BATTERY)} and magic.  " for i in panel.items]
    said = Said(texts, texts)
    shown = samples(people, panel, said, judge.measure(said))
    assert len(shown) == 20
    for one, row in zip(shown, range(0, len(texts), panel.samples)):
        assert one["text"] == texts[row].strip()
        marks = {one["text"][m["start"] : m["end"]]: m["supported"] for m in one["claims"]}
        assert marks == {phrase(int(panel.items[row]), BATTERY): True, "magic": False}
        assert one["veto"] == "unsupported claim"
        assert one["match"] == (panel.segments[row] == BATTERY)
        assert one["likes"] != one["other_likes"]
    assert claim_marks("", ()) == []
