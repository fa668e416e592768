"""Measures of the tasks beside the reason: what texts were to say, and how much of it they say.

Every function takes n texts and, row by row, what each was to be about; shares of rows come with
their interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from rewards.words import normalise
from sft.metrics.figures import Figure
from sft.review_aspects import AspectFinder, tone
from sft.review_summary import summarise
from sft.reviews import Review
from sft.tasks.listing import JOINT, ListingInput, TagsTask
from sft.tasks.review import MARK, Point
from sft.tasks.summary import NAMED, Named, listed_name, read_counts
from sft.tasks.text import clean

_LEVEL = 0.95

#: Every measure here: what it is, and which way is better (see `sft.metrics.figures.Metric`).
MEASURES: dict[str, tuple[str, int]] = {
    "exact": ("summaries that name the right pros and cons with the right counts", 1),
    "counts_true": ("summaries of which every count is that of the reviews", 1),
    "count_precision": ("named counts that are those of the reviews", 1),
    "count_recall": ("pros and cons to name that are named with their counts", 1),
    "marked": ("texts that begin with the mark of generated reviews", 1),
    "rating_agreement": ("reviews whose tone is that of their stars, over good and bad alike", 1),
    "points_named": ("points to make whose aspect the review names", 1),
    "points_stated": ("points to make that the review makes, on the right side", 1),
    "points_precision": ("points made that were to be made", 1),
    "tag_precision": ("tags that are the item's class, brand or fact", 1),
    "tag_recall": ("tags of the reference that are there", 1),
}


def share(hits: Sequence[bool]) -> Figure:
    """Return the share of hits with Wilson's 95 % interval (Wilson 1927); it never is [1, 1].

    Centre (p + z²/2n) / (1 + z²/n), half width z/(1 + z²/n) · sqrt(p(1-p)/n + z²/4n²).
    """
    n, p = len(hits), float(np.mean(hits))
    z = float(stats.norm.ppf(0.5 + _LEVEL / 2))
    scale = 1 + z**2 / n
    centre = (p + z**2 / (2 * n)) / scale
    half = z / scale * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    return Figure(p, max(0.0, centre - half), min(1.0, centre + half))


def _ratio(part: int, whole: int) -> Figure:
    return Figure(part / whole if whole else 1.0)


# --- review_summary -------------------------------------------------------------------------------


class SummaryCheck(NamedTuple):
    """A summary beside the reviews."""

    #: Every count is the number of reviews that say so, and none is said twice.
    true: bool
    #: And those named are the most often said ones, of both sides.
    exact: bool
    #: Counts that it names, those of them that are true, those that a rule names, and those of the
    #: last that it names.
    named: int
    right: int
    wanted: int
    met: int


def recount(reviews: Sequence[Review], good: bool) -> dict[str, int]:
    """Count the reviews that praise (``good``) or criticise each aspect, one after the other."""
    counts: dict[str, int] = {}
    for review in reviews:
        for aspect in {listed_name(p.aspect) for p in review.points if p.good is good} - {""}:
            counts[aspect] = counts.get(aspect, 0) + 1
    return counts


def check_summary(text: str, reviews: Sequence[Review], locale: str) -> SummaryCheck:
    """Compare a summary with the reviews that it sums up; its prompt is not looked at.

    Which of equally frequent aspects a summary names is its own choice.
    """
    reference = summarise(reviews, locale=locale)
    wanted = [(True, *pro) for pro in reference.pros] + [(False, *con) for con in reference.cons]
    found = read_counts(text, locale, len(reviews))
    if found is None:
        return SummaryCheck(False, False, 0, 0, len(wanted), 0)
    true = {good: recount(reviews, good) for good in (True, False)}
    sides = list(zip((True, False), found))
    named = {(good, *part) for good, side in sides for part in side}
    right = sum(true[good].get(aspect) == count for good, aspect, count in named)
    every = right == sum(len(side) for side in found)
    most = all(_counts(side) == sorted(true[good].values())[-NAMED:] for good, side in sides)
    return SummaryCheck(
        every, every and most, len(named), right, len(wanted), len(named & set(wanted))
    )


def _counts(side: Named) -> list[int]:
    return sorted(count for _, count in side)


def summary_figures(
    texts: Sequence[str], bags: Sequence[Sequence[Review]], locale: str
) -> dict[str, Figure]:
    """Return shares of right summaries, and precision and recall of their counts over all rows."""
    checks = [check_summary(text, bag, locale) for text, bag in zip(texts, bags, strict=True)]
    named, right, wanted, met = (
        sum(check[place] for check in checks) for place in range(2, len(SummaryCheck._fields))
    )
    return {
        "exact": share([check.exact for check in checks]),
        "counts_true": share([check.true for check in checks]),
        "count_precision": _ratio(right, named),
        "count_recall": _ratio(met, wanted),
    }


# --- review ---------------------------------------------------------------------------------------


def unmarked(text: str) -> str:
    """Return a review without the marks of generated ones."""
    for mark in MARK.values():
        text = text.replace(mark, " ")
    return text.strip()


def review_figures(
    texts: Sequence[str], reviews: Sequence[Review], finder: AspectFinder, locale: str
) -> dict[str, Figure]:
    """Return what generated reviews keep of their mark, their stars and their points.

    Tone is words of praise minus words of blame. ``rating_agreement`` is the mean of two shares,
    of reviews with 4 or 5 stars that sound good and of those with 1 or 2 that sound bad, so that
    praising everything earns one half; three stars are left out, and a text without any judgement
    agrees with nothing.
    """
    bare = [unmarked(text) for text in texts]
    figures = {"marked": share([text.lstrip().startswith(MARK[locale]) for text in texts])}
    tones = [tone(text, locale) for text in bare]
    good = [t > 0 for t, review in zip(tones, reviews) if review.rating >= 4]
    bad = [t < 0 for t, review in zip(tones, reviews) if review.rating <= 2]
    sides = [float(np.mean(side)) for side in (good, bad) if side]
    if sides:
        figures["rating_agreement"] = Figure(float(np.mean(sides)))
    asked = [set(review.points) for review in reviews]
    made = [finder.points(text) for text in bare]
    names = [finder.named(text) for text in bare]
    named = stated = meant = 0
    for points, text, says, about in zip(asked, bare, made, names):
        for point in points:
            cited = bool(point.phrase) and normalise(point.phrase) in normalise(text)
            named += cited or point.aspect in about
            stated += cited or Point(point.aspect, point.good) in says
        meant += len({Point(point.aspect, point.good) for point in points} & set(says))
    total = sum(map(len, asked))
    return figures | {
        "points_named": _ratio(named, total),
        "points_stated": _ratio(stated, total),
        "points_precision": _ratio(meant, sum(map(len, made))),
    }


# --- tags -----------------------------------------------------------------------------------------


def tag_figures(texts: Sequence[str], listings: Sequence[ListingInput]) -> dict[str, Figure]:
    """Return precision of tags against all that is known of an item, recall against the reference.

    A tag said twice is right once.
    """
    said = right = wanted = met = 0
    for text, listing in zip(texts, listings, strict=True):
        brief = listing.brief
        joint = JOINT[brief.locale].strip()
        phrases = [*(phrase for _, phrase in brief.facts), *sum(brief.synonyms, ())]
        named = [clean(listing.kind), clean(listing.brand), *phrases]
        # A phrase may hold the mark that parts tags; its parts are then tags of their own.
        known = {tag for name in named for tag in _tags(name, joint)}
        tags, reference = _tags(text, joint), set(_tags(TagsTask().target(listing), joint))
        said, right = said + len(tags), right + len(known & set(tags))
        wanted, met = wanted + len(reference), met + len(reference & set(tags))
    return {"tag_precision": _ratio(right, said), "tag_recall": _ratio(met, wanted)}


def _tags(text: str, joint: str) -> list[str]:
    return [tag.strip() for tag in text.split(joint) if tag.strip()]
