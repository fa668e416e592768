"""Tokens of a reason, and the words that copy may use without claiming a fact."""

from __future__ import annotations

import re
import unicodedata

#: A word or number, joined inside by . , ' / + or -, with a trailing unit sign.
_TOKEN = re.compile(r"[^\W_]+(?:[.,'/+\-][^\W_]+)*[%°+\"]?")
_INVISIBLE = {"Cf", "Cc"}

#: Words that state nothing about an item. Everything else in a reason must come from the item.
#: No negation (it turns a fact into its opposite) and no unit of time ("works for years").
_ORDINARY_TEXT = """
    a about after again all along also always an and any anyone anything are around as at away back
    be because been before being below between both but by buy came can care cares choice choose
    choosing come comes could day days do does done down each easily easy else enough even ever
    every everyday exactly expect feel feels few find finds first fit fits for from get gets give
    gives go goes going good great had handy has have having here home how i if in into is it item
    its itself job just keep keeps know known life like likely likes look looking looks lot made
    make makes many match matches matter matters may me means meant meet mind more most much need
    needs new next nice now of off offer offers on once one only or other our out over own part pay
    pays people pick picked picks place plus point product put reason recommend recommended right
    say says see sensible set should shown simple simply since so solid some something sort still
    such suit suited suits sure take takes than that the their them then there these they thing
    things think this those though time to together too top use used useful user uses using value
    very want wants was way we well were what when where which while who why will wish with work
    works worth would yet you you'll you're your yours
"""
ORDINARY = frozenset(_ORDINARY_TEXT.split())
_NUMBER_WORDS_TEXT = """
    one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty
    seventy eighty ninety hundred thousand million half double dual triple
"""
_NUMBER_WORDS = frozenset(_NUMBER_WORDS_TEXT.split())


def normalise(text: str) -> str:
    """NFKC, lower case, without invisible characters: look-alikes of a word become that word.

    A line break or tab is a control character too, but it parts words: it becomes a space.
    """
    text = unicodedata.normalize("NFKC", text).replace("\u2019", "'")
    text = "".join(" " if c.isspace() else c for c in text)
    return "".join(c for c in text if unicodedata.category(c) not in _INVISIBLE).lower()


def tokens(text: str) -> list[str]:
    """Return the words and numbers of a text, normalised."""
    return _TOKEN.findall(normalise(text))


def is_number(word: str) -> bool:
    """True for a token that starts with a number, in digits or spelled: "30-hour", "two-year"."""
    return word[0].isdigit() or word.split("-")[0] in _NUMBER_WORDS
