"""English phrases in a sentence: which article a phrase takes, and whether it is a plural.

A fact's phrase comes bare ("steel lamp body"). After "its" or "the" it reads well as it is; after a
verb it wants an article, unless it is a plural or names something that is not counted. Which nouns
are counted no rule knows, so the common ones of shops are listed; of others this module says
nothing, and they are told with "its" or "the".
"""

from __future__ import annotations

import re

#: Nouns that take "a" when they head a phrase in the singular.
_COUNTED = """
    adapter alarm angle back backlight backrest bag band base battery bay bed beep beeper blade
    body boil bottle bowl box brew brush build button cable camera canister capacity carafe card
    cartridge case certification chair chamber charge charger chime chip chipset circuit clip
    clock coating collar compartment connection connector cord cover design desk dial diameter
    dimmer disc display door drawer drive fabric fan filter finish foot format frame function
    grip guarantee handle headband heater hinge hood hook hose housing interface jacket kettle
    keyboard keypad knob lamp layer layout lens level lid lifespan light limit lining lock logo
    look mat membrane microphone mirror mode motor mount mouse nozzle opening outlet pack pad
    pan panel pedal pen plate player plug pocket port printer processor programme projector
    puzzle rack range rate rating ratio reader receiver remote resolution rest roller screen
    screw seal seat sensor set setting shaft shelf shell shut-off sleeve slot socket sole
    speaker speed stand strap strip style supply surface switch table tank thermostat tie timer
    tool top tray trial trigger tube upper valve wall warranty watch wheel width window yield
    zip zipper
"""
_COUNTED_NOUNS = frozenset(_COUNTED.split())
#: Plurals without an s, and singulars with one.
_PLURALS = frozenset(("feet", "people", "teeth"))
_SINGULARS = frozenset(("lens", "series", "chassis", "canvas", "gas"))
#: What ends the part of a phrase that its head closes: "pack of 20 labels".
_AFTER_HEAD = re.compile(r" (?:at|by|for|from|in|of|on|over|per|to|up|with)\b.*")
_DETERMINED = re.compile(r"(?:an?|the|its|your|no|any|each|every|all|some) ", re.IGNORECASE)
#: Words that begin like "you" or "won" though their first letter is a vowel.
_LIKE_CONSONANT = re.compile(r"(?:uni(?!n)|us[aei]|ut[ei]|eu|one\b|once\b|ubi)", re.IGNORECASE)
_SILENT_H = re.compile(r"(?:hour|honest|honou?r|heir)", re.IGNORECASE)
#: Numbers that are read out with a vowel first: 8, 80, 800, 11, 18 and 18,000, but not 110.
_VOWEL_NUMBER = re.compile(r"(?:8\d*|1[18])(?:[,.]\d+)*(?!\d)")
#: Letters whose names begin with a vowel, for what is spelled out: "an HDMI port".
_VOWEL_NAMES = frozenset("AEFHILMNORSX")
#: Capitals that are read as a word.
_SPOKEN = frozenset(("LAN", "RAID", "RAM", "ROM", "SATA", "SIM", "NAS", "SIMM", "SODIMM"))


def head(phrase: str) -> str:
    """Return the noun that a phrase is about: "body" of "steel lamp body"."""
    words = _AFTER_HEAD.sub("", phrase).split()
    return words[-1] if words else ""


def is_plural(phrase: str) -> bool:
    """Whether a phrase is about several things: "five storage pockets"."""
    noun = head(phrase)
    if not noun.islower() or noun in _SINGULARS:
        return False
    return noun in _PLURALS or (noun.endswith("s") and not noun.endswith(("ss", "us", "is")))


def with_article(phrase: str) -> str | None:
    """Return a phrase as it stands after a verb: "a steel lamp body", "five storage pockets".

    None where nothing here knows whether it takes an article.
    """
    if _DETERMINED.match(phrase) or is_plural(phrase):
        return phrase
    return f"{_article(phrase)} {phrase}" if head(phrase) in _COUNTED_NOUNS else None


def _article(phrase: str) -> str:
    """Return "a" or "an", by the sound that a phrase begins with."""
    first = re.split(r"[\s/-]", phrase.strip(), maxsplit=1)[0]
    if first[:1].isdigit():
        vowel = _VOWEL_NUMBER.match(first) is not None
    elif re.match(r"[A-Z]+\d*$", first) and first not in _SPOKEN:
        vowel = first[0] in _VOWEL_NAMES
    elif _LIKE_CONSONANT.match(first):
        vowel = False
    else:
        vowel = first[:1].lower() in "aeiou" or _SILENT_H.match(first) is not None
    return "an" if vowel else "a"
