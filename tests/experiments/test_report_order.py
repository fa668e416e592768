"""The report on why items stand where they stand, on further policies, rounds and looking ahead."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envs.files import read_json, write_json
from experiments.report import write_report
from experiments.report_order import order_sentence, why_bars
from experiments.report_parts import Card
from experiments.report_parts_order import Order
from experiments.report_words import ABOUT, ANCHORS, POLICIES
from tests.experiments import report_run
from tests.experiments.report_page import well_formed


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return report_run.write_run(tmp_path / "fixture")


def alter(run: Path, file: str, change: Callable[[Any], None]) -> None:
    value = read_json(run / file)
    change(value)
    write_json(run / file, value)


def report_of(run: Path) -> str:
    out = run.parent / "report.html"
    write_report(run, out)
    return out.read_text(encoding="utf-8")


def _text(run: Path) -> str:
    return well_formed(report_of(run)).text


# --- What put an item there -------------------------------------------------------------------


def _card(contributions: dict[str, float], *named: str) -> Card:
    about = {"item_id": "i", "title": "t", "scores": {"text": 0.5}}
    return Card.model_validate(about | {"contributions": contributions, "named": named})


def test_the_longest_bar_of_a_shelf_fills_its_half_and_the_others_are_to_scale() -> None:
    first, second = why_bars(
        [_card({"text": 1.0, "price": -2.0}, "text"), _card({"text": 4.0, "price": 0.0})]
    )
    # From the middle (50 %): to the right what lifts, to the left what holds back.
    assert [(bar.start, bar.length, bar.lifts) for bar in first] == [
        (50, 12.5, True), (25, 25, False)
    ]  # fmt: skip
    assert [(bar.start, bar.length) for bar in second] == [(50, 50), (50, 0)]
    assert [bar.named for bar in first] == [True, False]
    assert [bar.text for bar in first] == ["+1.00", "−2.00"]
    assert (first[0].score, first[1].score) == (0.5, None)


def test_small_scores_are_written_with_more_digits_and_rounding_has_no_bar() -> None:
    (bars,) = why_bars([_card({"text": 0.05, "price": 0.0121, "graph": 1e-9})])
    assert [bar.text for bar in bars] == ["+0.050", "+0.012", "0.000"]
    assert [bar.length for bar in bars] == [50, pytest.approx(12.1), 0]


def test_cards_without_contributions_have_no_bars() -> None:
    assert why_bars([_card({}), _card({})]) == [[], []]
    assert why_bars([_card({"text": 0.0})])[0][0].length == 0


def test_a_shelf_shows_bars_or_for_an_older_run_the_scores(run: Path) -> None:
    html = report_of(run)
    cards = sum(len(shelf[side]) for shelf in report_run.shelves() for side in ("before", "after"))
    assert html.count('<dl class="why">') == cards
    assert html.count('class="track"') == cards * len(report_run.GROUPS)
    assert '<dl class="scores">' not in html
    assert ", named by the reason" in well_formed(html).text

    def without(shelves: list[dict[str, Any]]) -> None:
        for shelf in shelves:
            for card in (*shelf["before"], *shelf["after"]):
                del card["contributions"], card["named"]

    alter(run, "simulate/shelves.json", without)
    html = report_of(run)
    assert html.count('<dl class="scores">') == cards
    assert '<dl class="why">' not in html
    assert "The small bars are the six similarity scores" in well_formed(html).text


# --- Whether the reason says so ---------------------------------------------------------------


def test_naming_stands_beside_its_floors(run: Path) -> None:
    text = _text(run)
    # Written out by hand from the fixture.
    own = "RL ranker, PPO reasons 52.5 % 48.5 to 56.5 % 58.6 % 48.0 % +4.5 points +3.7 to +5.3"
    assert f"{own} 3.4 %" in text
    assert "Similarity, SFT reasons 47.3 % 43.3 to 51.3 % 45.7 % +1.6 points −0.8 to +4.0" in text
    assert "its reason 46 % 25 % 15 % 25 %" in text
    assert "on 240 first pages" in text
    said = "On the shelf “RL ranker, PPO reasons”, 52.5 % of 1,200 items stand beside a reason that"
    assert said in text


@pytest.mark.parametrize(
    ("named", "over", "said"),
    [
        (0.52, 0.045, "reasons here tell what the item is rather than why it stands there."),
        (0.58, 0.045, "for 58.6 %, which the interval holds. A reason names one more often"),
        (0.70, -0.045, "for 58.6 %. A reason names one less often than the reason of another"),
        (0.70, 0.001, "A reason is not shown to name one more often than the reason of another"),
    ],
)
def test_the_finding_is_said_as_it_is(named: float, over: float, said: str) -> None:
    found = report_run.order()
    one = found["policies"]["ranker+ppo"]
    one["named"] = {"value": named, "low": named - 0.04, "high": named + 0.04}
    one["over_shuffled"] = {"value": over, "low": over - 0.008, "high": over + 0.008}
    assert said in order_sentence(Order.model_validate(found)).replace("\u00a0", " ")


def test_a_run_without_reasons_or_without_the_measure_is_silent(run: Path) -> None:
    nothing = Order(groups=[], policies={})
    assert order_sentence(nothing) == ""

    def change(metrics: dict[str, Any]) -> None:
        for one in metrics["simulate"]["order"]["policies"]:
            metrics["simulate"]["order"]["policies"][one] = {"items": 0, "links": {"items": 0}}

    alter(run, "metrics.json", change)
    assert "Does a reason name" not in _text(run)
    alter(run, "metrics.json", lambda metrics: metrics["simulate"].pop("order"))
    text = _text(run)
    assert "Does a reason name" not in text
    assert "not shown" not in text.split("Warnings")[1]


def test_a_broken_measure_does_not_take_the_simulation_with_it(run: Path) -> None:
    report_run.add_baselines(run)

    def change(metrics: dict[str, Any]) -> None:
        metrics["simulate"]["order"]["policies"]["ranker+ppo"]["named"] = "often"

    def shorten(metrics: dict[str, Any]) -> None:
        metrics["table"]["horizon"]["variants"]["long"]["there"].pop()

    alter(run, "metrics.json", change)
    alter(run, "rankers/metrics.json", shorten)
    text = _text(run)
    assert "metrics.json: simulate.order: policies.ranker+ppo.named:" in text
    assert "rankers/metrics.json: table.horizon:" in text
    assert "every list must have a figure for each of the pages" in text
    assert "The RL ranker earns 4.74 more per session" in text


# --- Further policies -------------------------------------------------------------------------


def test_further_policies_are_named_and_told_in_words(run: Path) -> None:
    report_run.add_baselines(run)
    text = _text(run)
    for name in ("mmr", "linucb", "click_regression", "myopic", "oracle", "ranker"):
        assert POLICIES[name] in text
        assert f"{POLICIES[name]} {' '.join(ABOUT[name].split())}" in text
    assert "Thompson" not in text
    assert (
        "The RL ranker covers 69.6 % of the way from the similarity shelf to the oracle, and "
        "80.5 % (95 % interval 79.3 to 81.7 %) of the way from there to the myopic oracle." in text
    )
    assert "RL ranker − LinUCB" in text


def test_no_anchor_is_passed_off_as_a_choice(run: Path) -> None:
    """What knows the hidden taste stands in no row of what it costs to be wrong about it."""
    report_run.add_baselines(run)
    risk = report_of(run).split('id="risk"')[1]
    assert not any(f'<th scope="row">{POLICIES[name]}<' in risk for name in ANCHORS)
    assert "<td>LinUCB</td>" in risk


def test_every_known_policy_is_explained() -> None:
    assert set(ABOUT) == {name for name in POLICIES if "+" not in name}


# --- Rounds and looking ahead -----------------------------------------------------------------


def test_rounds_are_shown_with_whose_doing_it_was(run: Path) -> None:
    assert "What each round brought" not in _text(run)
    report_run.add_round(run)
    text = _text(run)
    assert "Round 2 − round 1: both +0.31 (0.20 to 0.42)" in text
    assert "Round 2 − round 1: its reasons +0.22 (0.13 to 0.31)" in text
    assert "Round 2 − round 1: its ranker +0.09 (−0.01 to 0.19)" in text
    assert "Round 2 helped: +0.31 (0.20 to 0.42) over round 1; both rankers place" in text
    assert "to a rank correlation of 0.91." in text


def test_a_round_that_changed_nothing_is_said_to(run: Path) -> None:
    report_run.add_round(run)

    def change(metrics: dict[str, Any]) -> None:
        metrics["rounds"]["steps"][0]["gain"] |= {"diff": 0.05, "low": -0.1, "high": 0.2}

    alter(run, "metrics.json", change)
    assert "Round 2 is not shown to change anything: +0.05 (−0.10 to 0.20)" in _text(run)


def test_ppo_of_the_last_round_stands_beside_round_1(run: Path) -> None:
    report_run.add_round(run)
    html = report_of(run)
    text = well_formed(html).text
    worth = "Worth of a reason 0.792 1.174 +0.382 0.344 to 0.421 0.801 1.213 +0.412 0.371 to 0.453"
    assert worth in text
    assert "Claims that the item supports 93.1 % 99.4 % +6.3 points +4.3 to +8.3 points" in text
    assert "92.8 % 99.1 % –" in text
    # A figure that only one round has.
    assert "Distinct word pairs 21.3 % 18.7 % 88 % kept – – –" in text
    # The shelves show what the last round wrote, and so do the samples and the risks.
    assert "Texts side by side, of round 2" in text
    assert "Told again in round 2" in text
    assert "Norvik N2 headphones" not in text
    assert "PPO reasons: of 8,096 texts, 73" in text
    for title in ("PPO reward", "PPO reward, round 2", "Ranker return, round 2"):
        assert f"<figcaption>{title}</figcaption>" in html


def test_looking_ahead_is_drawn(run: Path) -> None:
    assert "What looking ahead does" not in _text(run)
    report_run.add_baselines(run)
    html = report_of(run)
    section = html.split('id="horizon"')[1].split("</section>")[0]
    assert section.count('<svg class="chart"') == 4
    labels = re.findall(r'aria-label="([^"]*)"', section)
    satiated = "Satiation with what is shown, by page: trained for the session goes from 0.1 to"
    assert any(label.startswith(satiated) for label in labels)
    assert "trained for the page goes from 1 to 0" in section
    # Pages are counted: no mark stands between two of them.
    marks = re.findall(r'text-anchor="middle">([\d.]+)</text>', section)
    assert marks == ["1", "2", "3"] * 4


def test_outside_text_is_escaped_here_too(run: Path) -> None:
    report_run.add_baselines(run)
    report_run.add_round(run)
    evil = "<script>alert('x')</script>"

    def figures(metrics: dict[str, Any]) -> None:
        order = metrics["simulate"]["order"]
        order["groups"].append(evil)
        order["policies"][evil] = order["policies"]["ranker+ppo"]

    def looking_ahead(metrics: dict[str, Any]) -> None:
        variants = metrics["table"]["horizon"]["variants"]
        variants[evil] = variants["long"]

    def card(shelves: list[dict[str, Any]]) -> None:
        shelves[0]["after"][0] |= {"contributions": {evil: 1.0}, "named": [evil]}

    alter(run, "metrics.json", figures)
    alter(run, "rankers/metrics.json", looking_ahead)
    alter(run, "simulate/shelves.json", card)
    html = report_of(run)
    well_formed(html)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 5
