"""What reviews praise and criticise: aspects by their words, and the polarity of what is said.

An aspect counts as praised or criticised in a clause that names it and holds a word of praise or
blame (the nearest one, turned by a negator before it). A clause that names an aspect without any
judgement counts for nothing. Aspects are given, or learned as the words that reviews most often
judge (Hu and Liu 2004, "Mining and summarizing customer reviews": frequent nouns near opinion
words; a determiner before a word stands in for a tagger).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from envs.files import read_json
from rewards.inflection import stem
from rewards.lexicon import lexicon
from rewards.words import CJK, normalise
from sft.tasks.review import Point
from sft.tasks.text import clean

DATA = Path(__file__).parent / "data"
#: Words before a judgement in which a negator turns it; a Chinese one stands right before it.
_TURNED = 3
#: A word must be judged in this many reviews to be learned as an aspect.
LEAST_REVIEWS = 3
#: Share of a word's uses that a determiner must precede for it to pass as a noun.
_NOUN_SHARE = 0.3
#: Share of a Chinese word's uses that must follow the same character for it to be part of the word.
_SAME_BEFORE = 0.8

_CLAUSE = re.compile(r"[.,;:!?()\n。，；：！？、…~]+")
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")
_DETERMINERS = frozenset(["the", "this", "these", "my", "its", "their", "your", "a", "an"])
#: Two characters before a word of degree: 味道很好, 环境不错.
_JUDGED = re.compile(
    rf"([{CJK}]{{2}})(?:也|都|还|真的)?(?:很|太|非常|挺|特别|超|蛮|真|比较|有点|十分|不错|一般)"
)


@dataclass(frozen=True)
class Sentiment:
    """Words of praise (+1) and blame (-1), and the words that turn them."""

    value: dict[str, int]
    negators: frozenset[str]
    #: Words that part a sentence in two that may disagree.
    but: frozenset[str]
    #: Nouns of reviews that are no aspect of anything.
    vague: frozenset[str]


@cache
def sentiment(locale: str) -> Sentiment:
    """Return the word lists of ``locale`` ("en" or "zh")."""
    data = read_json(DATA / f"sentiment_{locale}.json")
    names = ("good", "bad", "negators", "but", "vague")
    words = {name: " ".join(data[name]).split() for name in names}
    value = dict.fromkeys(words["good"], 1) | dict.fromkeys(words["bad"], -1)
    return Sentiment(
        value, frozenset(words["negators"]), frozenset(words["but"]), frozenset(words["vague"])
    )


#: Aspect -> the words that name it.
AspectWords = Mapping[str, Sequence[str]]


class AspectFinder:
    """Finds what a review praises and criticises among given aspects."""

    def __init__(self, aspects: AspectWords, locale: str) -> None:
        """Look for ``aspects``; English words are found in any inflection."""
        self.locale = locale
        self._words = sentiment(locale)
        named = [(clean(a), normalise(w)) for a, words in aspects.items() for w in (a, *words)]
        # Longest first: 性价比 is not 价.
        named.sort(key=lambda pair: -len(pair[1]))
        self._named = [
            (aspect, tuple(_stems(word)) if locale == "en" else tuple(word))
            for aspect, word in named
        ]

    def points(self, text: str) -> tuple[Point, ...]:
        """Return praised and criticised aspects in the order of the text, each side once."""
        found: dict[Point, None] = {}
        for clause in _clauses(normalise(text), self.locale, self._words):
            judged = _judgements(clause, self.locale, self._words)
            if judged:
                for aspect, place in self._mentions(clause):
                    value = min(judged, key=lambda judgement: abs(judgement[0] - place))[1]
                    found.setdefault(Point(aspect, value > 0))
        return tuple(found)

    def named(self, text: str) -> frozenset[str]:
        """Return the aspects that a text names, judged or not."""
        clauses = _clauses(normalise(text), self.locale, self._words)
        return frozenset(aspect for clause in clauses for aspect, _ in self._mentions(clause))

    def _mentions(self, clause: Sequence[str]) -> list[tuple[str, int]]:
        parts = [stem(part) for part in clause] if self.locale == "en" else list(clause)
        taken: set[int] = set()
        found = []
        for aspect, name in self._named:
            for start in range(len(parts) - len(name) + 1):
                span = range(start, start + len(name))
                if tuple(parts[start : start + len(name)]) == name and taken.isdisjoint(span):
                    taken.update(span)
                    found.append((aspect, start))
        return sorted(found, key=lambda mention: mention[1])


def tone(text: str, locale: str) -> int:
    """Return the words of praise in a text minus those of blame, turned ones the other way."""
    words = sentiment(locale)
    clauses = _clauses(normalise(text), locale, words)
    return sum(value for c in clauses for _, value in _judgements(c, locale, words))


def _stems(text: str) -> list[str]:
    return [stem(word) for word in _WORD.findall(text)]


def _clauses(text: str, locale: str, words: Sentiment) -> list[list[str]]:
    """Return the clauses of a normalised text as words, or as characters in Chinese."""
    parts = [p for p in _CLAUSE.split(text.replace("\u2019", "'")) if p.strip()]
    if locale == "zh":
        turns = "|".join(sorted(words.but, key=len, reverse=True))
        return [list(piece) for part in parts for piece in re.split(turns, part) if piece]
    clauses: list[list[str]] = []
    for part in parts:
        clause: list[str] = []
        for word in _WORD.findall(part):
            if word in words.but and clause:
                clauses.append(clause)
                clause = []
            clause.append(word)
        clauses.append(clause)
    return clauses


def _judgements(clause: Sequence[str], locale: str, words: Sentiment) -> list[tuple[int, int]]:
    """Return (place, +1 or -1) of each word of praise or blame in a clause."""
    return _judgements_en(clause, words) if locale == "en" else _judgements_zh(clause, words)


def _judgements_en(clause: Sequence[str], words: Sentiment) -> list[tuple[int, int]]:
    found = []
    for place, word in enumerate(clause):
        value = words.value.get(word)
        if value is not None:
            before = clause[max(0, place - _TURNED) : place]
            found.append((place, -value if words.negators & set(before) else value))
    return found


def _judgements_zh(clause: Sequence[str], words: Sentiment) -> list[tuple[int, int]]:
    text = "".join(clause)
    found = []
    at = 0
    while at < len(text):
        # The longest word at a place: 不错 is praise, not a denial of 错.
        word = next(
            (text[at : at + n] for n in range(4, 0, -1) if text[at : at + n] in words.value), ""
        )
        if not word:
            at += 1
            continue
        turned = text[:at].endswith(tuple(words.negators))
        found.append((at, -words.value[word] if turned else words.value[word]))
        at += len(word)
    return found


def learn_aspects(texts: Iterable[str], locale: str, count: int) -> dict[str, list[str]]:
    """Return the ``count`` words that reviews judge most, each with its written forms.

    A word is judged in a clause that holds a word of praise or blame; it counts once a review.
    """
    words = sentiment(locale)
    judged: Counter[str] = Counter()
    forms: dict[str, Counter[str]] = {}
    nouns = _nouns(texts := list(texts)) if locale == "en" else frozenset()
    for text in texts:
        seen: dict[str, str] = {}
        for clause in _clauses(normalise(text), locale, words):
            if locale == "zh":
                seen |= _judged_words("".join(clause))
            elif _judgements(clause, locale, words):
                seen |= {stem(word): word for word in clause if stem(word) in nouns}
        for key, form in seen.items():
            judged[key] += 1
            forms.setdefault(key, Counter())[form] += 1
    named = {key: _name(key, seen, locale) for key, seen in forms.items()}
    ranked = [
        key
        for key in sorted(judged, key=lambda key: (-judged[key], key))
        if judged[key] >= LEAST_REVIEWS
        and not {key, named[key]} & (words.vague | words.value.keys())
    ]
    return {named[key]: sorted(forms[key]) if locale == "en" else [] for key in ranked[:count]}


def _name(key: str, seen: Counter[str], locale: str) -> str:
    """Return the commonest form of a word.

    A Chinese one was cut out of its clause: 务员 is called 服务员 where nearly every 务员 was seen
    in a 服务员.
    """
    form, times = seen.most_common(1)[0]
    return form if locale == "en" or times >= _SAME_BEFORE * seen.total() else key


def _judged_words(clause: str) -> dict[str, str]:
    """Return two-character words that a clause judges, each with the character before it."""
    return {m[1]: clause[max(0, m.start() - 1) : m.end(1)] for m in _JUDGED.finditer(clause)}


def _nouns(texts: Iterable[str]) -> frozenset[str]:
    """Return the stems that often follow a determiner, ordinary words aside."""
    after: Counter[str] = Counter()
    total: Counter[str] = Counter()
    ordinary = lexicon("en").ordinary
    for text in texts:
        words = _WORD.findall(normalise(text).replace("\u2019", "'"))
        total.update(map(stem, words))
        after.update(
            stem(word)
            for before, word in pairwise(words)
            if before in _DETERMINERS and word not in ordinary
        )
    return frozenset(
        word
        for word, times in after.items()
        if len(word) > 2 and times >= LEAST_REVIEWS and times >= _NOUN_SHARE * total[word]
    )
