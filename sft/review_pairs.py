"""Pairs of the tasks `review` and `review_summary`, made of reviews and their points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sft.corpus_split import TaskPair
from sft.reviews import Review
from sft.tasks.review import ReviewInput, ReviewTask, ReviewTold
from sft.tasks.summary import ReviewSummaryTask, SummaryInput, Tally, tally
from sft.tasks.text import sentences

#: Reviews that one summary is made of, inclusive.
BAG = (3, 12)
#: An item with this many reviews can have a summary of its own; others are summed up by class.
ENOUGH = 5


def review_pairs(
    reviews: Sequence[Review], locale: str, count: int, rng: np.random.Generator
) -> list[TaskPair]:
    """Return at most ``count`` pairs of reviews that name a point, each review once."""
    task = ReviewTask()
    usable = [review for review in reviews if review.points]
    chosen = rng.permutation(len(usable))[:count]
    return [
        TaskPair(
            task.name,
            task.prompt(ReviewInput(review.title, review.rating, review.points, locale)),
            task.target(ReviewTold(review.text, locale)),
            _named(review.item),
            _named(review.shopper),
        )
        for review in (usable[int(row)] for row in chosen)
    ]


def summary_pairs(
    reviews: Sequence[Review], locale: str, count: int, quotes: int, rng: np.random.Generator
) -> list[TaskPair]:
    """Return ``count`` pairs, each about a random set of reviews of one item or one class."""
    task, groups = ReviewSummaryTask(), summary_groups(reviews)
    if not groups:
        return []
    pairs = []
    for group in rng.integers(len(groups), size=count):
        title, members = groups[int(group)]
        size = min(len(members), int(rng.integers(BAG[0], BAG[1] + 1)))
        bag = [members[int(m)] for m in rng.permutation(len(members))[:size]]
        given = sum_up(title, bag, locale, quotes)
        pairs.append(
            TaskPair(
                task.name, task.prompt(given), task.target(given),
                tuple(sorted({review.item for review in bag if review.item})),
                tuple(sorted({review.shopper for review in bag if review.shopper})),
            )
        )  # fmt: skip
    return pairs


def summary_groups(reviews: Sequence[Review]) -> list[tuple[str, list[Review]]]:
    """Return what can be summed up: items with `ENOUGH` reviews, and classes, with their reviews.

    Where neither is known, all reviews are one class without a name.
    """
    by_item: dict[str, list[Review]] = {}
    by_kind: dict[str, list[Review]] = {}
    for review in reviews:
        by_item.setdefault(review.item, []).append(review)
        by_kind.setdefault(review.kind, []).append(review)
    of_items = [
        (members[0].title, members)
        for item, members in by_item.items()
        if item and len(members) >= ENOUGH
    ]
    return of_items + [
        (kind, members) for kind, members in by_kind.items() if len(members) >= BAG[0]
    ]


def sum_up(title: str, reviews: Sequence[Review], locale: str, quotes: int = 0) -> SummaryInput:
    """Count what reviews say; ``quotes`` sentences about the most named aspects go with it."""
    tallies = tally([review.points for review in reviews])
    return SummaryInput(title, len(reviews), tallies, _quotes(tallies, reviews, quotes), locale)


def _quotes(tallies: Sequence[Tally], reviews: Sequence[Review], count: int) -> tuple[str, ...]:
    """Return the shortest sentence about each of the ``count`` most named aspects."""
    found = []
    for counted in tallies[:count]:
        about = [
            sentence
            for review in reviews
            for point in review.points
            if point.aspect == counted.aspect
            for sentence in sentences(review.text)
            if (point.phrase or point.aspect).lower() in sentence.lower()
        ]
        if about:
            found.append(min(about, key=lambda sentence: (len(sentence), sentence)))
    return tuple(dict.fromkeys(found))


def _named(name: str) -> tuple[str, ...]:
    return (name,) if name else ()
