"""Vetoes: what must never be shown, whatever it would earn."""

from __future__ import annotations

import re
import unicodedata

from rewards.claims import TextClaims
from rewards.phrases import forbidden_phrase
from rewards.words import is_chinese, normalise

#: Longest reason that is shown, in words.
MAX_WORDS = 40

#: Marks of the prompt's own form: a reason that holds them has copied its instructions.
_PROMPT = re.compile(r"\||->|\blikes\b[^.:]*:|喜欢[^。：:]*[:：]")
#: Marks that no sentence needs: markup, lists, emoji, arrows, stars, shouted punctuation.
_MARKUP = re.compile(
    r"[*`{}\\^]|~~|__|(?<!\w)_\w|(?<!\S)[#>•‣▪●◦·—–-]+\s*\w+(?=.*\n)|(?<!\S)#|</?\w|&#?\w+;|\]\(|"
    r"\S\s*\n\s*\S|[!?！？]{2,}|\.{4,}|。{2,}|"
    "[\u2190-\u21ff\u2300-\u23ff\u2500-\u27bf\u2900-\u297f\u2b00-\u2bff\U0001f000-\U0001faff]"
)
#: Without any of these there is no markup; looked for first, because it is quick.
_ODD = re.compile(
    "[*`{}\\\\^~_#><&\\]\n!?！？\u2190-\u21ff\u2300-\u23ff\u2500-\u27bf\u2900-\u297f\u2b00-\u2bff"
    "\U0001f000-\U0001faff]|\\.{4}|。。"
)
#: Characters that are not seen, or that join themselves to others: controls, direction marks,
#: joiners, fillers, tags, private ones, and accents that no letter takes up.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u0300-\u036f\u0489\u061c\u115f\u1160\u180e"
    "\u1ab0-\u1aff\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20d0-\u20ff\u2800\u3164\ue000-\uf8ff"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffd\U000e0000-\U000e0fff]"
)
#: Letters and digits in another guise, which `normalise` folds: circled, mathematical, small.
_GUISE = re.compile(
    "[\u1d00-\u1d7f\u2070-\u209c\u210a-\u2115\u2118-\u211d\u2124\u2128\u212c-\u2139\u2145-\u2149"
    "\u2460-\u24ff\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff"
    "\U0001f100-\U0001f1ff]"
)
#: Full-width letters and digits, which Chinese texts do hold.
_FULL_WIDTH = re.compile("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]")
#: Words in capitals that make a text shouted, if they are most of its words.
_SHOUTED = 4
#: Greek letters that units are written with (32 Ω, 5 µm), as `normalise` leaves them.
_UNITS = "ωμ"
#: Share of Chinese characters from which on a text is Chinese.
_CHINESE = 0.3


def veto(text: str, claims: TextClaims) -> str | None:
    """Return why a reason must not be shown, or None if nothing speaks against it.

    The answer is one of ``empty``, ``unsupported claim``, ``repeated claim``, ``copied prompt``,
    ``banned phrase``, ``pressure``, ``personal data``, ``disguised characters``, ``markup``,
    ``too long``, ``wrong script``.
    """
    if not claims.words:
        return "empty"
    if claims.unsupported:
        return "unsupported claim"
    stated = [claim.text for claim in claims.claims]
    if len(set(stated)) < len(stated):
        return "repeated claim"
    plain = normalise(text)
    if _PROMPT.search(plain):
        return "copied prompt"
    forbidden = forbidden_phrase(plain)
    if forbidden is not None:
        return forbidden
    if not (text.isascii() and text.isprintable()) and disguised(text):
        return "disguised characters"
    if (_ODD.search(text) and _MARKUP.search(text)) or _shouted(text):
        return "markup"
    if claims.words > MAX_WORDS:
        return "too long"
    if not text.isascii() and _foreign_script(plain):
        return "wrong script"
    return None


def disguised(text: str) -> bool:
    """True if a text holds characters that cannot be seen or that pose as others."""
    composed = unicodedata.normalize("NFC", text)
    if _HIDDEN.search(composed):
        return True
    return _GUISE.search(_FULL_WIDTH.sub("", text) if is_chinese(text) else text) is not None


def _shouted(text: str) -> bool:
    words = text.split()
    loud = sum(word.isupper() and len(word) > 2 for word in words)
    return loud >= _SHOUTED and 2 * loud > len(words)


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
