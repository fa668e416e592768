"""Pairs of the tasks `review` and `review_summary`, made of reviews and their points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sft.corpus_split import TaskPair
from sft.review_summary import sum_up
from sft.reviews import Review
from sft.tasks.review import ReviewInput, ReviewTask, ReviewTold
from sft.tasks.summary import ReviewSummaryTask

#: Reviews that one summary is made of, inclusive.
BAG = (3, 24)
#: An item with this many reviews can have a summary of its own; others are summed up by class.
ENOUGH = 5


@dataclass(frozen=True)
class ReviewPair(TaskPair):
    """A pair that knows the reviews it was made of, so that a text can be checked against them."""

    #: The reviews, with their points: one, or those that are summed up.
    reviews: tuple[Review, ...] = ()
    locale: str = "en"


def review_pairs(
    reviews: Sequence[Review], locale: str, count: int, rng: np.random.Generator
) -> list[ReviewPair]:
    """Return at most ``count`` pairs of reviews that name a point, each review once."""
    task = ReviewTask()
    usable = [review for review in reviews if review.points]
    chosen = rng.permutation(len(usable))[:count]
    return [
        ReviewPair(
            task.name,
            task.prompt(ReviewInput(review.title, review.rating, review.points, locale)),
            task.target(ReviewTold(review.text, locale)),
            _named(review.item),
            _named(review.shopper),
            (review,),
            locale,
        )
        for review in (usable[int(row)] for row in chosen)
    ]


def summary_pairs(
    reviews: Sequence[Review], locale: str, count: int, quotes: int, rng: np.random.Generator
) -> list[ReviewPair]:
    """Return at most ``count`` pairs, each about a random set of reviews of one item or one class.

    A set of reviews that name no aspect is left out: there is nothing to sum up.
    """
    task, groups = ReviewSummaryTask(), summary_groups(reviews)
    if not groups:
        return []
    pairs = []
    for group in rng.integers(len(groups), size=count):
        title, members = groups[int(group)]
        size = min(len(members), int(rng.integers(BAG[0], BAG[1] + 1)))
        bag = [members[int(m)] for m in rng.permutation(len(members))[:size]]
        given = sum_up(title, bag, locale, quotes)
        if given.tallies:
            pairs.append(
                ReviewPair(
                    task.name, task.prompt(given), task.target(given),
                    tuple(sorted({review.item for review in bag if review.item})),
                    tuple(sorted({review.shopper for review in bag if review.shopper})),
                    tuple(bag), locale,
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


def _named(name: str) -> tuple[str, ...]:
    return (name,) if name else ()
