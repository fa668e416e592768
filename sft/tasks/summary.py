"""The review summary task: many reviews become pros and cons, with counts that code worked out.

A model that counts gets it wrong, so it is not asked to: code tallies the reviews, the prompt holds
the tallies, and a text whose counts are not those of the prompt is replaced (`checked_summary`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sft.tasks.review import Point
from sft.tasks.text import clean, leading, line

#: Pros and cons that a summary names, each.
NAMED = 3
#: Words of the tallies of a prompt; a tally beyond them is left out whole.
TALLY_WORDS = 60
#: Words of the quoted sentences of a prompt.
QUOTE_WORDS = 40

_SUMMARY = {"en": "summary", "zh": "总结"}
_WORDS = {
    "en": {
        "of": "reviews: {}",
        "tally": "{}: {} praise, {} criticise",
        "quote": "said",
        "part": "{} ({} of {})",
        "joint": ", ",
        "pros": "Pros: {}.",
        "cons": "Cons: {}.",
        "none": "none named",
        "gap": " ",
    },
    "zh": {
        "of": "评价: {}条",
        "tally": "{}: {}条好评, {}条差评",
        "quote": "原话",
        "part": "{}（{}条中的{}条）",
        "joint": "、",
        "pros": "优点：{}。",
        "cons": "缺点：{}。",
        "none": "无人提及",
        "gap": "",
    },
}
#: A counted aspect as `_WORDS` writes it; in Chinese the number of reviews comes first.
_PART = {
    "en": re.compile(r"(?P<aspect>.+?) \((?P<count>\d+) of (?P<of>\d+)\)"),
    "zh": re.compile(r"(?P<aspect>.+?)（(?P<of>\d+)条中的(?P<count>\d+)条）"),
}
_WHOLE = {
    "en": re.compile(r"Pros: (?P<pros>.+)\. Cons: (?P<cons>.+)\."),
    "zh": re.compile(r"优点：(?P<pros>.+)。缺点：(?P<cons>.+)。"),
}


@dataclass(frozen=True)
class Tally:
    """How many reviews praise and how many criticise an aspect."""

    aspect: str
    praise: int
    criticism: int


@dataclass(frozen=True)
class SummaryInput:
    """What is known of a set of reviews."""

    title: str
    #: Number of reviews, those that name no aspect included.
    reviews: int
    #: Most mentioned first.
    tallies: tuple[Tally, ...]
    #: Sentences of the reviews, most telling first, for models that read more than numbers.
    quotes: tuple[str, ...] = ()
    locale: str = "en"


#: Aspect and count of each named pro, and of each named con.
Counts = tuple[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]


class ReviewSummaryTask:
    """Pros and cons of a set of reviews, each with the number of reviews that say so."""

    name = "review_summary"

    def prompt(self, given: SummaryInput) -> str:
        """Return ``title | reviews: n | aspect: p praise, c criticise | ... | summary ->``."""
        words = _WORDS[given.locale]
        tallies = [
            words["tally"].format(tally.aspect, tally.praise, tally.criticism)
            for tally in _shown(given)
        ]
        quotes = [f"{words['quote']}: {clean(quote)}" for quote in given.quotes if clean(quote)]
        head = [clean(given.title), words["of"].format(given.reviews)]
        return line([*head, *tallies, *leading(quotes, QUOTE_WORDS)], _SUMMARY, given.locale)

    def target(self, told: SummaryInput) -> str:
        """Return the summary that counts alone make: at most `NAMED` pros and cons."""
        words = _WORDS[told.locale]

        def listed(counts: Iterable[tuple[str, int]]) -> str:
            parts = [
                words["part"].format(aspect, *_ordered(count, told.reviews, told.locale))
                for aspect, count in counts
            ]
            return words["joint"].join(parts) or words["none"]

        pros, cons = _counts(told)
        return words["gap"].join(
            (words["pros"].format(listed(pros)), words["cons"].format(listed(cons)))
        )


def _ordered(count: int, of: int, locale: str) -> tuple[int, int]:
    return (of, count) if locale == "zh" else (count, of)


def _shown(given: SummaryInput) -> list[Tally]:
    """Return the tallies that fit, most mentioned first, with names that can be read back.

    Both prompt and target are made of these, so that a target names nothing that a prompt lacks.
    """
    kept: list[Tally] = []
    for tally in given.tallies:
        # Commas part the listed aspects and brackets hold their counts.
        name = " ".join(re.sub(r"[,、()（）]", " ", clean(tally.aspect)).split())
        if name and name not in {known.aspect for known in kept}:
            kept.append(Tally(name, tally.praise, tally.criticism))
    words = _WORDS[given.locale]["tally"]
    texts = {words.format(t.aspect, t.praise, t.criticism): t for t in kept}
    return [texts[text] for text in leading(texts, TALLY_WORDS)]


def _counts(given: SummaryInput) -> Counts:
    """Return the named pros and cons with their counts, most often said first."""
    shown = _shown(given)
    sides = ([(t.aspect, t.praise) for t in shown], [(t.aspect, t.criticism) for t in shown])
    pros, cons = (
        tuple(sorted((part for part in side if part[1]), key=lambda part: -part[1])[:NAMED])
        for side in sides
    )
    return pros, cons


def tally(reviews: Sequence[Iterable[Point]]) -> tuple[Tally, ...]:
    """Count, for each aspect, the reviews that praise and that criticise it; most named first.

    A review counts once for an aspect however often it praises it, and once on either side where it
    does both.
    """
    praise: Counter[str] = Counter()
    criticism: Counter[str] = Counter()
    for points in reviews:
        said = {(point.aspect, point.good) for point in points}
        praise.update(aspect for aspect, good in said if good)
        criticism.update(aspect for aspect, good in said if not good)
    named = sorted(praise | criticism, key=lambda a: (-praise[a] - criticism[a], a))
    return tuple(Tally(aspect, praise[aspect], criticism[aspect]) for aspect in named)


def read_counts(text: str, locale: str, reviews: int) -> Counts | None:
    """Return the pros and cons that a summary names, or None if it is no summary of ``reviews``."""
    whole = _WHOLE[locale].fullmatch(" ".join(text.split()))
    if whole is None:
        return None
    pros, cons = (_read_side(whole[side], locale, reviews) for side in ("pros", "cons"))
    return None if pros is None or cons is None else (pros, cons)


def _read_side(text: str, locale: str, reviews: int) -> tuple[tuple[str, int], ...] | None:
    words = _WORDS[locale]
    if text == words["none"]:
        return ()
    found = []
    for part in text.split(words["joint"]):
        match = _PART[locale].fullmatch(part)
        if match is None or int(match["of"]) != reviews:
            return None
        found.append((match["aspect"], int(match["count"])))
    return tuple(found)


def summary_mistakes(text: str, given: SummaryInput) -> list[str]:
    """Return what a summary gets wrong about the tallies, one line a mistake; [] if nothing."""
    said = read_counts(text, given.locale, given.reviews)
    if said is None:
        return [f"it is no list of pros and cons of {given.reviews} reviews"]
    known = {tally.aspect: tally for tally in _shown(given)}
    mistakes = []
    for side, counts in zip(("praise", "criticism"), said):
        names = [aspect for aspect, _ in counts]
        mistakes += [
            f"{name!r} is named twice" for name in {n for n in names if names.count(n) > 1}
        ]
        for aspect, count in counts:
            true = getattr(known[aspect], side) if aspect in known else 0
            if count != true or not true:
                mistakes.append(f"{side} of {aspect!r} is {true}, not {count}")
    return mistakes


def checked_summary(text: str, given: SummaryInput) -> str:
    """Return a model's summary if its counts are right, else the one that code writes."""
    return ReviewSummaryTask().target(given) if summary_mistakes(text, given) else text.strip()
