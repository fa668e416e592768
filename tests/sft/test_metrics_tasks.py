"""Measures of reviews, summaries, tags and descriptions, by hand; and what rules score on them."""

from __future__ import annotations

import numpy as np
import pytest

from sft.corpus import CorpusConfig, build_corpus
from sft.metrics.panels import Panel, make_panel
from sft.metrics.tasks import check_summary, review_figures, share, summary_figures, tag_figures
from sft.review_aspects import AspectFinder
from sft.reviews import Review
from sft.tasks import ItemBrief
from sft.tasks.listing import ListingInput
from sft.tasks.review import MARK, Point, ReviewInput
from sft.tasks.rules import rule_description, rule_review
from tests.shop_at_hand import small_shop

# --- summaries ------------------------------------------------------------------------------------

BATTERY, NOISE, SIZE = Point("battery", True), Point("noise", False), Point("size", False)
BAG = [
    Review("", 5, points=(BATTERY,)),
    Review("", 4, points=(BATTERY, NOISE)),
    Review("", 2, points=(SIZE, Point("battery", False))),
    Review("", 3),
]
RIGHT = "Pros: battery (2 of 4). Cons: battery (1 of 4), noise (1 of 4), size (1 of 4)."


@pytest.mark.parametrize(
    ("text", "true", "exact", "named", "right", "met"),
    [
        (RIGHT, True, True, 4, 4, 4),
        # Ties may stand in any order.
        ("Pros: battery (2 of 4). Cons: size (1 of 4), battery (1 of 4), noise (1 of 4).",
         True, True, 4, 4, 4),
        # True, but not all that should be named.
        ("Pros: battery (2 of 4). Cons: noise (1 of 4).", True, False, 2, 2, 2),
        ("Pros: none named. Cons: none named.", True, False, 0, 0, 0),
        (RIGHT.replace("2 of 4", "3 of 4"), False, False, 4, 3, 3),
        (RIGHT.replace("noise", "sound"), False, False, 4, 3, 3),
        (RIGHT.replace("size", "noise"), False, False, 3, 3, 3),
        # Another number of reviews, or no summary at all.
        (RIGHT.replace("of 4", "of 5"), False, False, 0, 0, 0),
        ("I love it.", False, False, 0, 0, 0),
    ],
)  # fmt: skip
def test_summaries_beside_their_reviews(
    text: str, true: bool, exact: bool, named: int, right: int, met: int
) -> None:
    assert check_summary(text, BAG, "en") == (true, exact, named, right, 4, met)


def test_figures_of_summaries_are_over_all_rows() -> None:
    half = "Pros: battery (2 of 4). Cons: noise (2 of 4)."
    figures = summary_figures([RIGHT, half, "no"], [BAG] * 3, "en")
    assert figures["exact"].value == figures["counts_true"].value == pytest.approx(1 / 3)
    assert figures["count_precision"].value == pytest.approx(5 / 6)
    assert figures["count_recall"].value == pytest.approx(5 / 12)


def test_wilsons_interval() -> None:
    """Ten of ten: n / (n + z²) to 1; half of a hundred: the book's 0.404 to 0.596."""
    z2 = 1.959964**2
    every = share([True] * 10)
    assert every.value == 1.0
    assert every.high == pytest.approx(1.0)
    assert every.low == pytest.approx(10 / (10 + z2), abs=1e-6)
    even = share([True, False] * 50)
    assert (even.low, even.high) == (pytest.approx(0.404, abs=5e-4), pytest.approx(0.596, abs=5e-4))


# --- reviews --------------------------------------------------------------------------------------

FINDER = AspectFinder({"battery": (), "noise": (), "size": ()}, "en")


def test_reviews_keep_their_mark_their_stars_and_their_points() -> None:
    reviews = [
        Review("", 5, points=(BATTERY,)),
        Review("", 4, points=(BATTERY, NOISE)),
        Review("", 1, points=(SIZE,)),
        Review("", 3, points=(NOISE,)),
    ]
    texts = [
        f"{MARK['en']} I love the battery.",
        # Both points, and a third that was not asked for; as much blame as praise.
        f"{MARK['en']} Great battery. Awful noise. Bad size. I love it.",
        # The right aspect on the wrong side.
        f"{MARK['en']} I love the size.",
        "The noise.",
    ]
    figures = {name: figure.value for name, figure in
               review_figures(texts, reviews, FINDER, "en").items()}  # fmt: skip
    assert figures == {
        "marked": 0.75,
        # One of two good ones sounds good, no bad one sounds bad.
        "rating_agreement": 0.25,
        "points_named": 1.0,
        "points_stated": 3 / 5,
        "points_precision": 3 / 5,
    }


def test_praising_everything_earns_half_of_the_agreement() -> None:
    reviews = [Review("", stars) for stars in (5, 5, 5, 4, 1)]
    figures = review_figures(["I love it."] * 5, reviews, FINDER, "en")
    assert figures["rating_agreement"].value == 0.5


@pytest.mark.parametrize("stars", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("locale", ["en", "zh"])
def test_rule_based_reviews_make_their_points(locale: str, stars: int) -> None:
    names = {"en": ("battery", "noise"), "zh": ("续航", "噪音")}[locale]
    points = (Point(names[0], True), Point(names[1], False))
    text = rule_review(ReviewInput("Watch", stars, points, locale))
    finder = AspectFinder(dict.fromkeys(names, ()), locale)
    figures = review_figures([text], [Review("", stars, points=points)], finder, locale)
    for name in ("marked", "points_named", "points_stated", "points_precision"):
        assert figures[name].value == 1.0
    if stars != 3:
        assert figures["rating_agreement"].value == 1.0
    one = rule_review(ReviewInput("Watch", stars, (Point(names[0], True, "40h"),), locale))
    assert "40h" in one


# --- tags -----------------------------------------------------------------------------------------

BRIEF = ItemBrief("Lamp", (("light", "warm light"), ("size", "30 cm, flat")), "en", (("warm",), ()))


@pytest.mark.parametrize(
    ("text", "precision", "recall"),
    [
        ("lamps, Lumiq, warm light, 30 cm, flat", 1.0, 1.0),
        ("lamps, Lumiq", 1.0, 2 / 5),
        ("warm", 1.0, 0.0),  # another phrase of a fact: true, though not the reference's
        ("lamps, lamps, lamps, cold light", 1 / 4, 1 / 5),
        ("", 1.0, 0.0),
    ],
)
def test_tags(text: str, precision: float, recall: float) -> None:
    figures = tag_figures([text], [ListingInput(BRIEF, "lamps", "Lumiq")])
    assert figures["tag_precision"].value == pytest.approx(precision)
    assert figures["tag_recall"].value == pytest.approx(recall)


def test_a_rule_based_description_states_the_strongest_facts() -> None:
    assert (
        rule_description(ListingInput(BRIEF, "lamps", "Lumiq")) == "Lamp: warm light, 30 cm, flat."
    )


# --- panels ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def panels() -> dict[str, Panel]:
    shop = small_shop().visitors
    config = CorpusConfig(pairs=300, tags=0.2, description=0.2, review=0.2, review_summary=0.2)
    more = build_corpus(shop.catalogue, shop.profiles, config, np.random.default_rng(0)).more
    tasks = sorted({pair.task for pair in more.held})
    return {
        task: make_panel([p for p in more.held if p.task == task], more.finder, shop.catalogue)
        for task in tasks
    }


def test_references_and_rules_are_true_of_their_items(panels: dict[str, Panel]) -> None:
    """Of a made-up shop both are known to be: what falls short of 1 is the measure's fault."""
    best = {
        "tags": ("tag_precision", "tag_recall"),
        # A rule-based description states four facts, whatever its reference states; and the
        # reference's wording holds words that the checker does not know.
        "description": ("claim_precision",),
        "review": ("marked", "points_named"),
        "review_summary": ("exact", "counts_true", "count_precision", "count_recall"),
    }
    assert panels.keys() == best.keys()
    for task, names in best.items():
        panel = panels[task]
        rules = panel.measure(panel.rules)
        assert {name: rules[name].value for name in names} == dict.fromkeys(names, 1.0)
        if task != "description":
            own = panel.measure(panel.references)
            assert {name: own[name].value for name in names} == dict.fromkeys(names, 1.0)


def test_another_items_texts_are_not(panels: dict[str, Panel]) -> None:
    worse = {"tags": "tag_precision", "description": "claim_precision", "review": "points_named",
             "review_summary": "exact"}  # fmt: skip
    for task, name in worse.items():
        panel = panels[task]
        other = [*panel.references[1:], panel.references[0]]
        assert panel.measure(other)[name].value < 0.9
