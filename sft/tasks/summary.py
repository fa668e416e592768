"""The review summary task: many reviews become pros and cons, with counts that code worked out.

A model that counts gets it wrong, so it is not asked to: code tallies the reviews, the prompt holds
the tallies, and a text whose counts are not those of the prompt is replaced (`checked_summary`).
The prompt has praise and criticism in the order in which a summary names them, each with a mark of
its own: a small model that was to find the largest counts among ``battery: 3 praise, 1 criticise |
...`` got one summary in five right, and without marks it named one aspect twice or went on in the
other list.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sft.tasks.review import Point
from sft.tasks.text import ORDINALS, clean, leading, line

#: Pros and cons that a summary names, each.
NAMED = 3
#: Counts of praise, and of criticism, in a prompt, and their words; the others are left out.
SHOWN, SIDE_WORDS = 6, 24
#: Words of the quoted sentences of a prompt.
QUOTE_WORDS = 40

_SUMMARY = {"en": "summary", "zh": "总结"}
_WORDS = {
    "en": {
        "of": "reviews: {}",
        "praise": "praise: {}",
        "criticism": "criticism: {}",
        "count": "{} {} {}",
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
        "praise": "好评: {}",
        "criticism": "差评: {}",
        "count": "{}{}{}",
        "quote": "原话",
        "part": "{}（{}条中的{}条）",
        "joint": "、",
        "pros": "优点：{}。",
        "cons": "缺点：{}。",
        "none": "无人提及",
        "gap": "",
    },
}
#: Marks of praise and of criticism: none stands in both, so that one token says where to go on.
_MARKS = {"praise": ORDINALS[:SHOWN], "criticism": ORDINALS[10 : 10 + SHOWN]}
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


#: Aspects, each with the number of reviews that name it.
Named = tuple[tuple[str, int], ...]
#: The named pros and the named cons.
Counts = tuple[Named, Named]


class ReviewSummaryTask:
    """Pros and cons of a set of reviews, each with the number of reviews that say so."""

    name = "review_summary"

    def prompt(self, given: SummaryInput) -> str:
        """Return ``title | reviews: n | praise: ① a 3, ② b 1 | criticism: ⑪ a 2 | summary ->``."""
        words = _WORDS[given.locale]
        sides = [
            words[side].format(
                _listed([words["count"].format(m, *part) for m, part in zip(marks, parts)], words)
            )
            for side, marks, parts in zip(_MARKS, _MARKS.values(), _shown(given))
        ]
        quotes = [f"{words['quote']}: {clean(quote)}" for quote in given.quotes if clean(quote)]
        head = [clean(given.title), words["of"].format(given.reviews)]
        return line([*head, *sides, *leading(quotes, QUOTE_WORDS)], _SUMMARY, given.locale)

    def target(self, told: SummaryInput) -> str:
        """Return the summary that counts alone make: at most `NAMED` pros and cons."""
        words = _WORDS[told.locale]

        def side(name: str, parts: Named) -> str:
            counted = [
                words["part"].format(aspect, *_ordered(count, told.reviews, told.locale))
                for aspect, count in parts
            ]
            return words[name].format(_listed(counted, words))

        return words["gap"].join(map(side, ("pros", "cons"), most_said(told)))


def _listed(parts: Sequence[str], words: Mapping[str, str]) -> str:
    return words["joint"].join(parts) or words["none"]


def _ordered(count: int, of: int, locale: str) -> tuple[int, int]:
    return (of, count) if locale == "zh" else (count, of)


def _shown(given: SummaryInput) -> Counts:
    """Return the praise and the criticism that fit, most often said first.

    Aspects have names that can be read back. Both prompt and target are made of these, so that a
    target names nothing that a prompt lacks.
    """
    kept: dict[str, Tally] = {}
    for tally in given.tallies:
        name = listed_name(tally.aspect)
        if name:
            kept.setdefault(name, tally)
    praise, criticism = (
        _fitting([(name, getattr(tally, side)) for name, tally in kept.items()], given.locale)
        for side in ("praise", "criticism")
    )
    return praise, criticism


def _fitting(counts: Iterable[tuple[str, int]], locale: str) -> Named:
    """Return the counts above 0 that fit into a prompt, the largest first."""
    ordered = sorted((part for part in counts if part[1]), key=lambda part: -part[1])
    texts = {_WORDS[locale]["count"].format("", *part): part for part in ordered[:SHOWN]}
    return tuple(texts[text] for text in leading(texts, SIDE_WORDS))


def listed_name(aspect: str) -> str:
    """Return an aspect as a summary names it: commas part the aspects, brackets hold counts."""
    return " ".join(re.sub(r"[,、()（）]", " ", clean(aspect)).split())


def most_said(given: SummaryInput) -> Counts:
    """Return the pros and cons that a summary names, most often said first."""
    praise, criticism = _shown(given)
    return praise[:NAMED], criticism[:NAMED]


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


def _read_side(text: str, locale: str, reviews: int) -> Named | None:
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
    mistakes = []
    for side, counts, shown in zip(("praise", "criticism"), said, _shown(given)):
        true = dict(shown)
        names = [aspect for aspect, _ in counts]
        mistakes += [
            f"{name!r} is named twice" for name in {n for n in names if names.count(n) > 1}
        ]
        mistakes += [
            f"{side} of {aspect!r} is {true.get(aspect, 0)}, not {count}"
            for aspect, count in counts
            if count != true.get(aspect)
        ]
    return mistakes


def checked_summary(text: str, given: SummaryInput) -> str:
    """Return a model's summary if its counts are right, else the one that code writes."""
    return ReviewSummaryTask().target(given) if summary_mistakes(text, given) else text.strip()
