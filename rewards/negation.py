"""Denials: what a text says that an item has not.

A denial is supported only where something says so: a feature whose value is "no", or another colour
than the one denied. That a fact is not listed proves nothing: facts are never complete.
"""

from __future__ import annotations

from rewards.inflection import stem
from rewards.view import Finding, View
from rewards.words import is_chinese

#: Most ordinary words between a negator and what it denies: "does not come with a".
MOST_FILLERS = 5
#: Most words that an unknown thing denied has: "no power cable".
MOST_UNKNOWN = 2
_FREE = stem("free")
_CARRYING = frozenset({"or", "nor", "或"})


def negator(view: View, at: int) -> int:
    """Return the end of a negator at ``at``, or ``at`` if there is none that denies anything."""
    if _bound(view, at):
        return at
    end = view.listed(at, view.lexicon.negators)
    if end == at and view.keys[at] == "non" and view.after_word(at) > at + 1:
        end = at + 1
    if end > at and not view.broken(end) and view.listed(end, view.lexicon.harmless) > end:
        return at
    return end


def _bound(view: View, at: int) -> bool:
    """Whether a bound begins here: "no more than", 不到."""
    bounds = view.lexicon.bounds
    first = view.first[at]
    chinese = is_chinese(view.word(at))
    return any(
        ("" if chinese else " ").join(view.words[first : first + length]) in bounds
        for length in (2, 3)
    )


def denied(view: View, at: int, end: int) -> Finding | None:
    """Judge what the negator from atom ``at`` to ``end`` denies; None for "do not worry"."""
    place = end
    for _ in range(MOST_FILLERS + 1):
        if place >= view.size or view.broken(place):
            break
        if view.word(place) in view.lexicon.harmless:
            return None
        target = _target(view, at, place)
        if target is not None:
            return target
        place = view.plain(place)
    return Finding(at, end, "denial", -1, False, "denies nothing that is known")


def denied_before(view: View, at: int, end: int, before: Finding | None) -> Finding | None:
    """Judge "X is not included": a negator after what it denies, or None if it is not that."""
    if before is None or before.kind not in ("fact", "feature") or end >= view.size:
        return None
    between = range(before.end, at)
    if len(between) > 2 or any(view.broken(place) for place in range(before.end, end + 1)):
        return None
    stop = view.listed(end, view.lexicon.provided)
    if stop == end or not all(view.word(place) in view.lexicon.joiners for place in between):
        return None
    return _about(view, before.start, stop, before)


def turned(view: View, met: Finding) -> Finding:
    """Return ``met``, or its denial where "-free" follows in the same word: "Bluetooth-free"."""
    end = met.end
    joined = end < view.size and view.first[end] == view.first[end - 1]
    if joined and view.keys[end] == _FREE and met.kind != "denial":
        return _about(view, met.start, view.after_word(end), met)
    return met


def goes_on(view: View, at: int, before: Finding) -> bool:
    """Whether "or" at ``at`` carries the denial before it further: "without NFC or GPS"."""
    return before.kind == "denial" and before.end == at and view.word(at) in _CARRYING


def _target(view: View, start: int, at: int) -> Finding | None:
    """Return the denial of what stands at ``at``, or None if that is only a filler."""
    met = view.match(at)
    if met is not None:
        return _about(view, start, met.end, met)
    word = view.word(at)
    if at in view.quantities or isinstance(view.keys[at], tuple):
        return Finding(start, at + 1, "denial", -1, False, "denies a number")
    after = view.plain(at)
    if after == at:
        return Finding(start, _unknown_end(view, at), "denial", -1, False, "absence is not stated")
    own = "".join(map(str, view.keys[at:after])) in view.item.runs if is_chinese(word) else True
    if own and "".join(view.words[view.first[at] : view.last[after - 1]]) not in (
        view.lexicon.ordinary
    ):
        stop = after if is_chinese(word) else _unknown_end(view, at)
        return Finding(start, stop, "denial", -1, False, "denies a word of the item")
    return None


def _about(view: View, start: int, end: int, met: Finding) -> Finding:
    """Turn what a phrase claims into its denial."""
    phrase = tuple(view.keys[met.start : met.end])
    if met.supported:
        return Finding(start, end, "denial", met.aspect, False, "denies a fact")
    stated = view.item.flags.get(phrase) is False
    other = met.kind in ("colour", "brand") and (met.kind == "brand" or bool(view.item.colours))
    rule = "absence is stated" if stated or other else "absence is not stated"
    return Finding(start, end, "denial", met.aspect, stated or other, rule)


def _unknown_end(view: View, at: int) -> int:
    """Return the end of up to two unknown words (or a run of unknown characters) from ``at``."""
    end = view.after_word(at)
    most = 4 if is_chinese(view.word(at)) else MOST_UNKNOWN
    while (
        end < view.size
        and end - at < most
        and not view.broken(end)
        and isinstance(view.keys[end], str)
        and view.plain(end) == end
        and view.match(end) is None
    ):
        end = view.after_word(end)
    return end
