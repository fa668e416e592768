"""The review task: a rating and what was liked and disliked become a review, marked as generated.

A review that nobody wrote must never pass for a shopper's: the mark is part of every target, and
`mark_generated` puts it before whatever a model wrote.
"""

from __future__ import annotations

from dataclasses import dataclass

from sft.tasks.text import clean, leading, line, shorten

#: The mark before every generated review.
MARK = {"en": "[Generated review]", "zh": "[生成的评价]"}
#: Words of the liked and disliked points together; a point beyond them is left out whole.
POINT_WORDS = 40
#: Words of a reference review; a longer one is cut after a sentence.
REVIEW_WORDS = 60

_WORDS = {
    "en": {"rating": "rating: {} of 5", "good": "liked", "bad": "disliked"},
    "zh": {"rating": "评分: {}分（满分5分）", "good": "满意", "bad": "不满"},
}
_REVIEW = {"en": "review", "zh": "评价"}


@dataclass(frozen=True)
class Point:
    """What a review says about one aspect."""

    aspect: str
    good: bool
    #: The fact that it names; "" where only the aspect is known.
    phrase: str = ""


@dataclass(frozen=True)
class ReviewInput:
    """What a review is about."""

    title: str
    #: Stars, 1 to 5.
    rating: float
    #: What was liked and disliked, the most important first.
    points: tuple[Point, ...]
    locale: str = "en"


@dataclass(frozen=True)
class ReviewTold:
    """The text of a review by a shopper or a template."""

    text: str
    locale: str = "en"


class ReviewTask:
    """A review for a rating and a list of liked and disliked points."""

    name = "review"

    def prompt(self, given: ReviewInput) -> str:
        """Return ``title | rating: 4 of 5 | liked aspect: phrase | ... | review ->``."""
        words = _WORDS[given.locale]
        points = [
            f"{words['good' if point.good else 'bad']} {clean(point.aspect)}"
            + (f": {clean(point.phrase)}" if clean(point.phrase) else "")
            for point in given.points
        ]
        rating = words["rating"].format(f"{given.rating:g}")
        parts = [clean(given.title), rating, *leading(points, POINT_WORDS)]
        return line(parts, _REVIEW, given.locale)

    def target(self, told: ReviewTold) -> str:
        """Return the review, marked as generated and cut after a sentence where it is long."""
        return mark_generated(shorten(" ".join(told.text.split()), REVIEW_WORDS), told.locale)


def mark_generated(text: str, locale: str) -> str:
    """Return ``text`` behind exactly one mark, whether or not it brought its own."""
    for mark in MARK.values():
        text = text.replace(mark, " ")
    return f"{MARK[locale]} {text.strip()}"
