"""Which claims a text makes about an item, and which of them the item supports.

What may be claimed is the catalogue's own: facts, boolean features, colours, brands. Phrases are
compared by their atoms (`rewards.atoms`), so inflection, number format and unit do not matter. At
each place of a text, in this order:

1. the longest phrase that the catalogue knows, the item's own before a foreign one;
2. a negator with what it denies (`rewards.negation`);
3. a number, by amount and by what it measures (`rewards.measured`);
4. a fact in other words' order ("the seams are taped");
5. an ordinary word (`rewards.words.ORDINARY`) or one of the item's names and facts: no claim;
6. anything else is a claim that nothing supports: a superlative, a comparison, an invented word.

So a made-up word is never free: it persuades nobody in the simulated shop, having no aspect, but it
is a lie all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from envs.catalogue import Catalogue
from rewards.comparing import compared, compared_chinese, trails
from rewards.knowledge import Knowledge
from rewards.lexicon import lexicon
from rewards.measured import bounded, measured, measures, number
from rewards.negation import denied, denied_before, goes_on, negator, turned
from rewards.view import PART, Finding, View
from rewards.words import is_chinese, origins, word_count


@dataclass(frozen=True)
class Claim:
    """One claim of a text."""

    #: Words of the claim, as matched.
    text: str
    #: Index of the aspect it belongs to; -1 for none (an invention, a colour, a comparison).
    aspect: int
    supported: bool
    #: ``fact``, ``feature``, ``colour``, ``brand``, ``quantity``, ``number``, ``denial``,
    #: ``superlative``, ``comparison`` or ``unknown``.
    kind: str = "fact"
    #: Why it is supported or not, in a few words.
    rule: str = field(default="", compare=False)
    #: Start and end (excluded) of the claim in the text, in characters.
    span: tuple[int, int] = field(default=(0, 0), compare=False)


@dataclass(frozen=True)
class TextClaims:
    """All claims of one text about one item, in the order of the text."""

    claims: tuple[Claim, ...]
    words: int

    @property
    def distinct(self) -> frozenset[Claim]:
        """The claims, each once however often it is stated."""
        return frozenset(self.claims)

    @property
    def unsupported(self) -> int:
        """Number of distinct claims that the item does not support."""
        wrong = [claim for claim in self.claims if not claim.supported]
        return len(set(wrong)) if len(wrong) > 1 else len(wrong)

    @property
    def aspects(self) -> frozenset[int]:
        """Aspects that the text claims something good about, truly or not.

        A denial is left out: "no Bluetooth" persuades nobody who cares about connections.
        """
        return frozenset(
            claim.aspect for claim in self.claims if claim.aspect >= 0 and claim.kind != "denial"
        )


class ClaimChecker:
    """Finds claims in texts about the items of one catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.n_aspects = len(catalogue.aspects)
        self._words = lexicon(catalogue.locale)
        self._knowledge = Knowledge(catalogue, self._words)

    def check(self, item: int, text: str) -> TextClaims:
        """Return the claims of ``text`` about the item with index ``item``."""
        view = View(text, self._knowledge.item(item), self._knowledge.shop, self._words)
        findings = _findings(view)
        places = origins(text) if findings else None
        claims = tuple(_claim(view, finding, places) for finding in findings)
        return TextClaims(claims, word_count(view.words) if view.chinese else len(view.words))


def _findings(view: View) -> list[Finding]:
    """Return the claims of a text from left to right."""
    found: list[Finding] = []
    keys, first, words = view.keys, view.first, view.words
    starts, ends, ordinary = view.shop.lengths, view.item.end_lengths, view.lexicon.ordinary
    at = 0
    while at < view.size:
        key = keys[at]
        met = None
        if found and goes_on(view, at, found[-1]):
            met = denied(view, at, at + 1)
        elif key in starts or key in ends:
            met = view.match(at)
            if met is not None:
                met = turned(view, met)
                if met.supported and at in view.quantities and bounded(view, at):
                    met = _started(found, measured(view, at))
        elif words[first[at]] in ordinary and key.__class__ is str and not view.chinese:
            # Most words end here; everything below says the same more slowly.
            at += 1
            continue
        if met is None:
            met, at = _other(view, at, found)
            if met is None:
                continue
        elif met.rule == PART:
            whole = _reordered(view, at)
            met = whole if whole is not None and whole.end > met.end else met
            after = found[-1] if found and not view.broken(at) else None
            if after is not None and after.end == at and not after.supported:
                # "magic steel body": what follows an invention belongs to it.
                at = met.end
                continue
        found.append(met)
        at = met.end
    return found


def _other(view: View, at: int, found: list[Finding]) -> tuple[Finding | None, int]:
    """Judge what is no known phrase at ``at``: a claim, or None and where to go on."""
    if at in view.quantities:
        return _started(found, measured(view, at)), at + 1
    if isinstance(view.keys[at], tuple):
        return number(view, at), at + 1
    plain = view.plain(at)
    end = negator(view, at)
    if end > plain or (end > at and not is_chinese(view.word(at))):
        before = denied_before(view, at, end, found[-1] if found else None)
        if before is not None:
            found.pop()
            return before, at
        return denied(view, at, end), end
    harmless = view.listed(at, view.lexicon.negators)
    if harmless > plain:
        return None, harmless
    met = compared_chinese(view, at) if view.chinese else None
    if met is not None:
        return met, at
    if plain > at:
        return _reordered(view, at), plain
    if measures(view, at) or trails(view, at):
        return None, view.after_word(at)
    return compared(view, at) or _unknown(view, at), at


def _started(found: list[Finding], met: Finding | None) -> Finding | None:
    """Take back what a bound's own words seemed to claim: "lighter than 300 g"."""
    while met is not None and found and found[-1].end > met.start:
        found.pop()
    return met


def _reordered(view: View, at: int) -> Finding | None:
    """Return the fact whose words stand at ``at`` in any order, between joining words only."""
    if view.keys[at] not in view.item.bag_words:
        return None
    joiners = view.lexicon.joiners
    said: set[object] = set()
    end = at
    best: Finding | None = None
    while end < view.size and (end == at or not view.broken(end)):
        key = view.keys[end]
        own = key in view.item.bag_words
        if not own and view.word(end) not in joiners:
            break
        end += 1
        if own:
            said.add(key)
            for words, aspect in view.item.bags:
                if words <= said:
                    best = Finding(at, end, "fact", aspect, True, "states a fact in other words")
        if best is not None and not own:
            break
    return best


def _unknown(view: View, at: int) -> Finding:
    """Return the claim of a word that nothing knows, or of a run of such Chinese characters."""
    end = view.after_word(at)
    if is_chinese(view.word(at)):
        while (
            end < view.size and not view.broken(end) and is_chinese(view.word(end))
            and isinstance(view.keys[end], str) and view.plain(end) == end
            and view.match(end) is None and negator(view, end) == end
        ):  # fmt: skip
            end += 1
    return Finding(at, end, "unknown", -1, False, "neither ordinary nor of the item")


def _claim(view: View, finding: Finding, places: list[int] | None) -> Claim:
    """Return a finding as a claim: its words, and its place in the text as it was given."""
    first, last = view.first[finding.start], view.last[finding.end - 1]
    start, end = view.places[first][0], view.places[last - 1][1]
    words = view.words[first:last]
    if last == first + 1 or (view.chinese and is_chinese(view.folded[start:end])):
        text = view.folded[start:end]
    else:
        text = " ".join(words)
    if places is not None:
        start, end = places[start], places[end - 1] + 1
    return Claim(text, finding.aspect, finding.supported, finding.kind, finding.rule, (start, end))


def claim_matrix(
    checked: Sequence[TextClaims], n_aspects: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return claims (n, A) in {0, 1}, unsupported counts (n,) and word counts (n,), float32."""
    claims = np.zeros((len(checked), n_aspects), dtype=np.float32)
    cells = [(row, aspect) for row, text in enumerate(checked) for aspect in text.aspects]
    if cells:
        rows, columns = zip(*cells)
        claims[list(rows), list(columns)] = 1
    unsupported = np.array([text.unsupported for text in checked], dtype=np.float32)
    words = np.array([text.words for text in checked], dtype=np.float32)
    return claims, unsupported, words


def claim_precision(checked: Sequence[TextClaims]) -> float:
    """Share of claims that are supported; 1 where nothing is claimed.

    A claim that a text states twice counts once: saying a truth again is no further truth, and a
    word stammered thirty times is one invention.
    """
    total = sum(len(text.distinct) for text in checked)
    wrong = sum(text.unsupported for text in checked)
    return 1.0 if not total else 1.0 - wrong / total
