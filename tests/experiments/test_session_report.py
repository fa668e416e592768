"""The page of a simulation: whole, harmless whatever a catalogue says, true to the session."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from envs.errors import UserError
from experiments.config import Config
from experiments.session_report import render, write_session_report
from experiments.session_report_trace import Card, Trace, Turn, telling_session, trace
from experiments.simulate import Sessions, evaluate, play
from experiments.simulate_field import Field, Simulated
from policies.reasoner.book import write_book
from rewards.claims import ClaimChecker
from tests.shop_at_hand import bare_world, small_shop

HOSTILE = "<script>alert('x')</script> & \"quotes\" \u2067turned"
ESCAPED = "&lt;script&gt;alert("


@cache
def field() -> Field:
    catalogue, profiles = small_shop().visitors.catalogue, small_shop().visitors.profiles
    book, _ = write_book(
        catalogue, profiles, ClaimChecker(catalogue), None,
        np.arange(catalogue.n_items), np.random.default_rng(0),
    )  # fmt: skip
    return Field(
        shop=small_shop(), config=Config(name="t"), scorer=None, search_seed=0,
        books={"none": lambda: None, "rules": lambda: book}, usual=("random",),
    )  # fmt: skip


@cache
def simulated() -> Simulated:
    chosen = field().contestants(["similarity+rules", "myopic+rules", "random"])
    return Simulated(field(), chosen, evaluate(chosen, range(7, 107)))


@cache
def page(folder: Path) -> str:
    out = folder / "sub" / "report.html"
    write_session_report(simulated(), out, "shelftalk simulate --report <here>")
    return out.read_text(encoding="utf-8")


def _card(text: str) -> Card:
    return Card(
        item=1, title=text, item_class=text, hue=0, brand=text, price=1.0,
        scores={"text": 0.5, text: 2.0}, reason=text, claims=[text], unsupported=1,
        examined=1.0, attracts=0.0, clicked=True, bought=True,
    )  # fmt: skip


def _turn(text: str) -> Turn:
    return Turn(
        "search", text, [_card(text)], trust_before=0.5, trust=0.5, satiation=0.0, hazard=0.1,
        left=True, reward=1.0,
    )  # fmt: skip


def test_whatever_the_catalogue_says_is_text() -> None:
    traces = [Trace("similarity", HOSTILE, 0, [_turn(HOSTILE)]), Trace("b", HOSTILE, 0, [])]
    traces[1].turns.append(_turn(HOSTILE))
    result = simulated().as_json()
    result["shop"] = {**result["shop"], "name": HOSTILE, "locale": HOSTILE, "preset": HOSTILE}
    html = render(result, traces, 1, [(HOSTILE, HOSTILE, HOSTILE)], HOSTILE, HOSTILE)
    assert "<script" not in html
    assert html.count(ESCAPED) >= 20
    assert "\u2067" not in html
    assert "alert('x')" not in html  # quotes are escaped too, so no attribute can be left


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    html = page(tmp_path)
    assert re.findall(r"""(?:src|href)=["'](?!#)""", html) == []
    assert "url(" not in html
    assert "@import" not in html


def test_the_page_shows_every_policy_and_both_shelves(tmp_path: Path) -> None:
    html = page(tmp_path)
    for words in ("similarity+rules", "myopic+rules", "Random order", "&lt;here&gt;"):
        assert words in html
    both = _both()
    turns = sum(len(one.turns) for one in both)
    assert html.count('<ol class="board"') == turns
    slots = bare_world().config.slots
    assert html.count('<li class="ware') == turns * slots
    cards = [card for one in both for turn in one.turns for card in turn.cards]
    assert html.count("<b>clicked</b>") == sum(card.clicked for card in cards)
    assert html.count('<b class="bought">') == sum(card.bought for card in cards)
    assert any(card.reason for card in cards)
    assert html.count('<svg class="chart"') == 4  # paired differences; trust, satiation, leaving


@cache
def _both() -> tuple[Trace, Trace]:
    evaluation = simulated().evaluation
    sides = simulated().contestants[:2]
    seed = telling_session([evaluation.played[one.name] for one in sides], evaluation.seeds)
    first, second = (trace(field().shop, one, field().book_of(one.name), seed) for one in sides)
    return first, second


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--report .*: cannot be written"):
        write_session_report(simulated(), tmp_path / "file" / "report.html", "")


def test_a_trace_is_the_session_that_was_played() -> None:
    one = simulated().contestants[0]
    played = play(one.world, one.policy, 6, 50)
    for n in range(6):
        found = trace(field().shop, one, field().book_of(one.name), 50 + n)
        cards = [card for turn in found.turns for card in turn.cards]
        assert found.reward == pytest.approx(played.reward[n], rel=1e-5)
        assert len(found.turns) == played.pages[n]
        assert sum(card.clicked for card in cards) == played.clicks[n]
        assert sum(card.bought for card in cards) == played.purchases[n]
        assert found.turns[-1].trust == played.trust[n]
        for before, after in zip(found.turns, found.turns[1:], strict=False):
            assert after.trust_before == before.trust
            assert not before.left


@pytest.mark.parametrize("multi_visit", [False, True])
def test_the_chances_shown_are_those_that_clicks_and_leaving_have(multi_visit: bool) -> None:
    """Over many sessions, what was said to have chance p happens a share p of the time."""
    one = simulated().contestants[2]
    config = one.world.config.model_copy(
        update={"multi_visit": multi_visit, "return_bias": 0.0, "max_pages": 30}
    )
    one = replace(one, world=one.world.with_config(config))
    turns = [
        turn for n in range(150) for turn in trace(field().shop, one, None, 2_000 + n).turns
    ]  # fmt: skip
    hazard = np.array([turn.hazard for turn in turns])
    left = np.array([turn.left for turn in turns])
    assert abs((left - hazard).mean()) < 3 * np.sqrt((hazard * (1 - hazard)).mean() / len(turns))
    assert any(turn.day > 0 for turn in turns) == multi_visit
    cards = [card for turn in turns for card in turn.cards]
    chance = np.array([card.examined * card.attracts for card in cards])
    clicked = np.array([card.clicked for card in cards])
    assert abs((clicked - chance).mean()) < 3 * np.sqrt((chance * (1 - chance)).mean() / len(cards))


def _sessions(pages: list[int], clicks: list[int], purchases: list[int]) -> Sessions:
    numbers = [np.array(one, dtype=np.float64) for one in (clicks, pages, purchases, pages)]
    zero = np.zeros(len(pages))
    return Sessions(zero, numbers[0], numbers[1], numbers[2], numbers[3], zero)


def test_the_telling_session_is_short_and_full() -> None:
    other = _sessions([4, 4, 4, 4], [0, 0, 0, 0], [0, 0, 0, 0])
    first = _sessions([2, 9, 5, 4], [3, 9, 2, 4], [1, 3, 1, 2])
    assert telling_session([first, other], range(10, 14)) == 12
    long = _sessions([9, 9, 9, 9], [0, 0, 0, 0], [0, 0, 0, 0])
    assert telling_session([first, long], range(10, 14)) in range(10, 14)
    dull = _sessions([1, 2, 9, 2], [0, 1, 9, 0], [0, 0, 0, 0])
    assert telling_session([dull], range(10, 14)) == 11
