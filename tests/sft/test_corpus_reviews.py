"""Reviews: what they praise and criticise, learned aspects, and the pairs made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.errors import UserError
from sft.corpus_config import ReviewsConfig
from sft.review_aspects import AspectFinder, learn_aspects
from sft.review_pairs import ENOUGH, review_pairs, summary_groups, summary_pairs
from sft.reviews import Review, aspect_words, catalogue_reviews, find_points, read_reviews
from sft.tasks.review import MARK, Point
from tests.data_at_hand import shared_data
from tests.shop_at_hand import small_shop

GOOD, BAD = True, False
ENGLISH = AspectFinder({"battery": (), "colour": ("color",), "price": ("cost",)}, "en")
CHINESE = AspectFinder({"服务": ("服务员",), "价格": ("性价比",), "味道": ()}, "zh")


@pytest.mark.parametrize(
    ("finder", "text", "expected"),
    [
        (ENGLISH, "I love the battery.", [("battery", GOOD)]),
        (ENGLISH, "Great batteries, awful colors!", [("battery", GOOD), ("colour", BAD)]),
        (ENGLISH, "The battery is not good.", [("battery", BAD)]),
        (ENGLISH, "Nothing wrong with the cost", [("price", GOOD)]),
        (ENGLISH, "Nice colour but the battery is weak", [("colour", GOOD), ("battery", BAD)]),
        (ENGLISH, "The battery came in a box. Great!", []),
        (ENGLISH, "Great battery. Great battery.", [("battery", GOOD)]),
        (ENGLISH, "", []),
        (CHINESE, "味道很好，服务员态度差", [("味道", GOOD), ("服务", BAD)]),
        (CHINESE, "味道不错但是性价比不太值得", [("味道", GOOD), ("价格", BAD)]),
        (CHINESE, "味道不怎么好吃。", [("味道", BAD)]),
        (CHINESE, "问了价格。", []),
    ],
)
def test_points_of_clauses(
    finder: AspectFinder, text: str, expected: list[tuple[str, bool]]
) -> None:
    assert [(point.aspect, point.good) for point in finder.points(text)] == expected


def test_judged_nouns_are_learned_as_aspects() -> None:
    said = ["I love the lens.", "The lens is great.", "Good: this lens, bought on a nice day.",
            "A great lens!", "The strap broke.", "I hate the strap", "my straps are ugly",
            "I went to the shop to see the sea."]  # fmt: skip
    assert learn_aspects(said, "en", 5) == {"lens": ["lens"], "strap": ["strap", "straps"]}
    assert list(learn_aspects(said, "en", 1)) == ["lens"]
    chinese = ["味道很好。", "味道不错", "味道特别棒", "服务员很热情", "服务员太慢", "服务员都很好"]
    # A word is two characters unless it is always the end of the same longer one.
    assert set(learn_aspects([*chinese, "他家味道一般"], "zh", 5)) <= {"味道", "服务员"}
    assert learn_aspects([], "en", 5) == {}


def test_made_up_reviews_praise_strong_facts_and_criticise_weak_ones() -> None:
    """Every point is a fact of the item whose strength says on which side it is."""
    catalogue = small_shop().visitors.catalogue
    strength = {
        (item, phrase): value
        for item, phrases, value in zip(
            *(catalogue.facts[name] for name in ("item_id", "phrases", "strength"))
        )
        for phrase in phrases
    }
    reviews = catalogue_reviews(catalogue)
    assert len(reviews) == len(catalogue.reviews)
    points = [(review, point) for review in reviews for point in review.points]
    assert len(points) > len(reviews)
    for review, point in points:
        assert point.phrase.lower() in review.text.lower()
        assert point.good == (strength[review.item, point.phrase] >= 0.5)
    # The writer of made-up reviews has nothing to complain about at full marks.
    assert not [1 for review, point in points if review.rating == 5 and not point.good]


def some(count: int, item: str, kind: str = "") -> list[Review]:
    return [
        Review(f"t{n}", 4, item, f"{item}s{n}", item, kind, (Point("size", n % 2 == 0),))
        for n in range(count)
    ]


def test_items_with_enough_reviews_are_summed_up_alone_and_the_rest_by_class() -> None:
    reviews = [*some(ENOUGH, "a", "lamps"), *some(2, "b", "lamps"), *some(2, "c", "mugs")]
    groups = summary_groups(reviews)
    assert [(title, len(members)) for title, members in groups] == [("a", ENOUGH), ("lamps", 7)]


def test_pairs_name_whom_they_are_about() -> None:
    reviews = [*some(4, "a", "lamps"), *some(4, "b", "lamps")]
    pairs = summary_pairs(reviews, "en", 20, 0, np.random.default_rng(0))
    assert len(pairs) == 20
    for pair in pairs:
        assert {s[0] for s in pair.shoppers} == set(pair.items)
    written = review_pairs(reviews, "en", 5, np.random.default_rng(0))
    assert len({pair.shoppers for pair in written}) == 5
    assert all(pair.completion.startswith(MARK["en"]) for pair in written)
    assert len(review_pairs(reviews, "en", 50, np.random.default_rng(0))) == 8


def file_of(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "reviews.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "settings", "message"),
    [
        ({"text": "a", "rating": 9}, {}, r"row 1: a rating must be a number from 1 to 5, but is 9"),
        ({"text": "a", "rating": "x"}, {}, "but is 'x'"),
        ({"text": "a", "rating": None}, {}, "but is None"),
        ({"text": "", "rating": 3}, {}, "none of its 1 rows has a text in column 'text'"),
        ({"txt": "a", "rating": 3}, {}, r"text names column 'text'.*Did you mean 'txt'\?"),
        ({"text": "a", "rating": 3, "l": "x"}, {"labels": "l"}, "labels must be an object"),
        ({"text": "a", "rating": 3, "l": {"x": 7}}, {"labels": "l"}, "must be 1, 0 or -1"),
    ],
)
def test_bad_review_files(
    tmp_path: Path, row: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_reviews(ReviewsConfig(path=file_of(tmp_path, [row]), **settings))
    assert "\n" not in str(caught.value)


def test_labels_may_get_other_names(tmp_path: Path) -> None:
    row = {"text": "a", "rating": 3, "l": {"dish_taste": 1, "dish_look": 1, "price": -1, "x": 0}}
    config = ReviewsConfig(
        path=file_of(tmp_path, [row]), labels="l", aspects={"food": ("dish_taste", "dish_look")}
    )
    (review,) = read_reviews(config)
    assert review.points == (Point("food", True), Point("price", False))


def test_nothing_learned_is_an_error(tmp_path: Path) -> None:
    config = ReviewsConfig(path=file_of(tmp_path, [{"text": "ok", "rating": 3}]))
    with pytest.raises(UserError, match=r"no aspect could be learned from its 1 reviews"):
        aspect_words(config, read_reviews(config))


def test_points_of_real_english_reviews_agree_with_their_stars() -> None:
    """What reviews of five stars name is praised far more often than what those of one star do."""
    path = shared_data("beauty_reviews/reviews.jsonl")
    config = ReviewsConfig(path=path, item="item", shopper="user")
    raw = read_reviews(config)
    learned = aspect_words(config, raw)
    assert {"hair", "color", "price", "skin", "scent"} <= set(learned)
    reviews = find_points(raw, AspectFinder(learned, "en"))
    share = {}
    for stars in (1, 5):
        good = [p.good for review in reviews if review.rating == stars for p in review.points]
        assert len(good) > 100
        share[stars] = (np.mean(good), np.std(good) / np.sqrt(len(good)))
    apart = share[5][0] - share[1][0]
    assert apart - 3 * np.hypot(share[5][1], share[1][1]) > 0.3


def test_points_of_real_chinese_reviews_agree_with_their_labels() -> None:
    """Four aspects, found by their words; reviews whose label is neutral are left aside."""
    rows = [
        json.loads(line)
        for name in ("train", "dev")
        for line in shared_data(f"zh_reviews_asap/{name}.jsonl").read_text("utf-8").splitlines()
    ]
    labels = {"味道": "dish_taste", "服务": "service_waiters_attitude",
              "环境": "environment_decoration", "价格": "price_level"}  # fmt: skip
    words = {"味道": ("口味",), "服务": ("服务员",), "环境": ("装修",), "价格": ("价位",)}
    finder = AspectFinder(words, "zh")
    praised = [
        row["aspects"][labels[point.aspect]] > 0
        for row in rows
        for point in finder.points(row["text"])
        if point.good and row["aspects"].get(labels[point.aspect], 0)
    ]
    every = [
        row["aspects"][label] > 0
        for row in rows
        for label in labels.values()
        if row["aspects"].get(label, 0)
    ]
    assert len(praised) > 100
    slack = 3 * np.hypot(np.std(praised) / len(praised) ** 0.5, np.std(every) / len(every) ** 0.5)
    # Better than saying that everything labelled is praised.
    assert np.mean(praised) > np.mean(every)
    assert np.mean(praised) > 0.9 - slack
    learned = learn_aspects([row["text"] for row in rows], "zh", 10)
    assert {"味道", "环境", "服务"} <= set(learned)
