"""The rule-based summary: recounted review by review, on made-up and on real reviews."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from sft.corpus_config import ReviewsConfig
from sft.review_aspects import AspectFinder
from sft.review_summary import Summary, summarise
from sft.reviews import Review, aspect_words, read_reviews
from sft.tasks.review import Point
from sft.tasks.summary import NAMED, read_counts
from tests.data_at_hand import shared_data

#: Which reviews (by their place) praise, or criticise, an aspect.
Says = Callable[[str, bool], int]


def agrees(summary: Summary, aspects: Sequence[str], says: Says) -> None:
    """Check a summary against a count of every aspect, made without it."""
    for side, good in ((summary.pros, True), (summary.cons, False)):
        true = {aspect: says(aspect, good) for aspect in aspects}
        assert {aspect: true[aspect] for aspect, _ in side} == dict(side)
        most = sorted((count for count in true.values() if count), reverse=True)[:NAMED]
        assert [count for _, count in side] == most


def test_by_hand() -> None:
    reviews = [
        Review("Great battery, ugly strap.", 4),
        Review("The battery is great, I love the battery!", 5),
        Review("Awful battery.", 1),
        Review("It came on a Tuesday.", 3),
    ]
    made = summarise(reviews, {"battery": (), "strap": ("band",)})
    assert (made.reviews, made.pros, made.cons) == (
        4, (("battery", 2),), (("battery", 1), ("strap", 1)),
    )  # fmt: skip
    assert made.text == "Pros: battery (2 of 4). Cons: battery (1 of 4), strap (1 of 4)."
    assert summarise(reviews[3:], {"battery": ()}).text == "Pros: none named. Cons: none named."


def test_points_that_reviews_have_already_are_taken_as_they_are() -> None:
    reviews = [Review("no word of it", 4, points=(Point("味道", True),)), Review("味道差", 1)]
    assert summarise(reviews, locale="zh").text == "优点：味道（2条中的1条）。缺点：无人提及。"
    assert summarise(reviews, {"味道": ()}, locale="zh").cons == (("味道", 1),)


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_random_reviews_with_many_aspects(locale: str) -> None:
    """More aspects than a prompt has room for: the most named ones are never the ones left out."""
    rng = np.random.default_rng(0)
    names = [f"aspect {chr(97 + n)}" for n in range(25)]
    for _ in range(50):
        said = [
            tuple(Point(names[int(n)], bool(rng.integers(2))) for n in rng.integers(25, size=6))
            for _ in range(int(rng.integers(3, 40)))
        ]
        reviews = [Review("", 3, points=points) for points in said]

        def says(aspect: str, good: bool, reviews: list[Review] = reviews) -> int:
            return sum(any(p == Point(aspect, good) for p in r.points) for r in reviews)

        agrees(summarise(reviews, locale=locale), names, says)


def bags(count: int, times: int) -> list[list[int]]:
    """Return random sets of rows, of very different sizes."""
    rng = np.random.default_rng(3)
    sizes = np.geomspace(3, count, times).astype(int)
    return [rng.permutation(count)[:size].tolist() for size in sizes]


def test_real_english_reviews() -> None:
    """Each review of the file is read again, alone."""
    path: Path = shared_data("beauty_reviews/reviews.jsonl")
    reviews = read_reviews(ReviewsConfig(path=path, item="item", shopper="user"))[:400]
    aspects = aspect_words(ReviewsConfig(path=path), reviews)
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    texts = [text for text in texts if text.strip()][: len(reviews)]
    finder = AspectFinder(aspects, "en")
    points = [{(p.aspect, p.good) for p in finder.points(text)} for text in texts]
    for rows in bags(len(reviews), 12):

        def says(aspect: str, good: bool, rows: list[int] = rows) -> int:
            return sum((aspect, good) in points[row] for row in rows)

        made = summarise([reviews[row] for row in rows], aspects)
        agrees(made, list(aspects), says)
        assert read_counts(made.text, "en", len(rows)) == (made.pros, made.cons)


@pytest.mark.parametrize("name", ["train", "dev"])
def test_real_chinese_labels(name: str) -> None:
    """Recounted from the raw labels of the file."""
    path: Path = shared_data(f"zh_reviews_asap/{name}.jsonl")
    raw = [json.loads(line)["aspects"] for line in path.read_text(encoding="utf-8").splitlines()]
    config = ReviewsConfig(path=path, rating="star", labels="aspects", locale="zh")
    reviews = read_reviews(config)
    labels = sorted({label for row in raw for label in row})
    for rows in bags(len(raw), 30):

        def says(label: str, good: bool, rows: list[int] = rows) -> int:
            return sum(raw[row].get(label) == (1 if good else -1) for row in rows)

        made = summarise([reviews[row] for row in rows], locale="zh")
        agrees(made, labels, says)
        assert read_counts(made.text, "zh", len(rows)) == (made.pros, made.cons)
