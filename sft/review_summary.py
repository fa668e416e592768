"""Reviews summed up by rules: what praises and criticises, and how many reviews say so.

This is what a model learns to write, what stands in where its counts are wrong
(`sft.tasks.summary.checked_summary`), and the floor that its texts are measured against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sft.review_aspects import AspectFinder, AspectWords
from sft.reviews import Review, find_points
from sft.tasks.summary import Named, ReviewSummaryTask, SummaryInput, Tally, most_said, tally
from sft.tasks.text import sentences


@dataclass(frozen=True)
class Summary:
    """What a set of reviews says."""

    #: Number of reviews, those that name no aspect included.
    reviews: int
    #: Aspect and number of reviews that praise it, most praised first; and so for criticism.
    pros: Named
    cons: Named
    text: str


def summarise(
    reviews: Sequence[Review], aspects: AspectWords | None = None, *, locale: str = "en"
) -> Summary:
    """Sum reviews up, without any model.

    Args:
        reviews: the reviews.
        aspects: aspect -> further words that name it, looked for in the reviews' texts; None takes
            the points that the reviews have already (labels).
        locale: ``en`` or ``zh``, the language of the reviews and of the summary.
    """
    if aspects is not None:
        reviews = find_points(reviews, AspectFinder(aspects, locale))
    given = sum_up("", reviews, locale)
    return Summary(len(reviews), *most_said(given), ReviewSummaryTask().target(given))


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
