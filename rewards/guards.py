"""Vetoes: what must never be shown, whatever it would earn."""

from __future__ import annotations

import re

from rewards.claims import TextClaims
from rewards.words import normalise

#: Longest reason that is shown, in words.
MAX_WORDS = 40

_PERSONAL = re.compile(r"https?://|www\.|[\w.+-]+@[\w-]+\.\w+|\+?\d[\d\s()-]{8,}\d")
#: Marks of the prompt's own form: a reason that holds them has copied its instructions.
_PROMPT = re.compile(r"\||->|likes[^.:]*:|喜欢[^。：:]*[:：]|<[^>]*>|ignore (all|previous|the) ")
_BANNED = re.compile(
    r"\b(best ever|the best|number one|no\.? ?1|guaranteed?|risk[- ]free|cheapest|perfect|"
    r"everyone|miracle|cures?|free money|100% (safe|sure))\b"
)
#: Greek letters that units are written with (32 Ω, 5 µm), as `normalise` leaves them.
_UNITS = "ωμ"
#: Share of Chinese characters from which on a text is Chinese.
_CHINESE = 0.3


def veto(text: str, claims: TextClaims) -> str | None:
    """Return why a reason must not be shown, or None if nothing speaks against it.

    The answer is one of ``empty``, ``unsupported claim``, ``repeated claim``, ``banned phrase``,
    ``copied prompt``, ``personal data``, ``too long``, ``wrong script``.
    """
    plain = normalise(text)
    if not claims.words:
        return "empty"
    if claims.unsupported:
        return "unsupported claim"
    stated = [claim.text for claim in claims.claims]
    if len(set(stated)) < len(stated):
        return "repeated claim"
    if _BANNED.search(plain):
        return "banned phrase"
    if _PROMPT.search(plain):
        return "copied prompt"
    if _PERSONAL.search(plain):
        return "personal data"
    if claims.words > MAX_WORDS:
        return "too long"
    if _foreign_script(plain):
        return "wrong script"
    return None


def _foreign_script(text: str) -> bool:
    """True if letters of another script (look-alikes among them) stand in a text.

    A Latin text holds Latin letters alone; a Chinese one holds Latin names and units too.
    """
    letters = [c for c in text if c.isalpha() and c not in _UNITS]
    other = [c for c in letters if ord(c) > 0x24F]
    han = [c for c in other if "\u3400" <= c <= "\u9fff"]
    if len(han) >= _CHINESE * len(letters):
        return len(han) < len(other)
    return bool(other) and len(other) < len(letters)
