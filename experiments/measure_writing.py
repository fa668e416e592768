"""What reasons for held-out items are like: true, personal, varied; each figure with an interval.

Every writer is asked twice about each row of a panel: for its reader, and for another one. Judged
against the reader, the second text is the control: a writer that looks at the item alone says the
same to both, and its difference is 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.assemble import Visitors
from experiments.measure_intervals import clustered_share, linearised
from experiments.measure_panel import Panel, Said
from policies.reasoner.fallback import fallback_reason
from rewards.claims import ClaimChecker, TextClaims
from rewards.guards import veto
from rewards.words import tokens
from sft.metrics.claims import aspect_rows, check_texts
from sft.metrics.figures import Figure, clustered_mean
from sft.metrics.personal import item_gains, liked_stated, pairs_within, swap_gains
from sft.metrics.variety import distinct
from sft.tasks import LIKES, item_briefs, segment_likes

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Part and whole of each row, (n,) float64 each.
Share = tuple[F64, F64]

#: Figures by name, in the order they are shown: what they are, and 1 where higher is better.
FIGURES: dict[str, tuple[str, int]] = {
    "claim_precision": ("claims that the item supports", 1),
    "hallucination_rate": ("texts with an unsupported claim", -1),
    "veto_rate": ("texts that must not be shown", -1),
    "profile_match": ("texts that truly state what the reader likes", 1),
    "profile_match_control": ("the same when asked for another reader", 0),
    "profile_match_lift": ("match - control, paired", 1),
    "liked_recall": ("liked aspects of the item that are stated", 1),
    "shopper_swap": ("right claims change with the reader", 1),
    "item_swap": ("claims belong to their item", 1),
    "claims": ("claims of a text", 0),
    "words": ("words of a text", 0),
    "distinct1": ("different words / words", 1),
    "distinct2": ("different word pairs / pairs", 1),
    "unique_share": ("different texts / texts", 1),
}


@dataclass(frozen=True)
class Measured:
    """What one writer's n texts came to, row by row, so that two writers can be paired."""

    #: Item of each row, (n,): rows of one item are one cluster.
    items: I64
    #: Means: a value for each row, (n,) float64, NaN where the row does not count.
    rows: dict[str, F64]
    #: Shares: sum of the parts over sum of the wholes.
    shares: dict[str, Share]
    #: Figures of all texts together.
    whole: dict[str, float]
    #: Claims of each text, and why it must not be shown, None where it may.
    checked: list[TextClaims]
    vetoes: list[str | None]

    def figures(self) -> dict[str, Figure]:
        """Return every figure that is defined, in the order of `FIGURES`."""
        found = {name: Figure(value) for name, value in self.whole.items()}
        for name, values in self.rows.items():
            counts = np.isfinite(values)
            if counts.any():
                found[name] = clustered_mean(values[counts], self.items[counts])
        for name, (part, whole) in self.shares.items():
            share = clustered_share(part, whole, self.items)
            if share is not None:
                found[name] = share
        return {name: found[name] for name in FIGURES if name in found}

    def as_dict(self) -> dict[str, dict[str, float]]:
        """Return metric -> ``{value, low?, high?}``."""
        return {name: figure.as_dict() for name, figure in self.figures().items()}

    def veto_shares(self) -> dict[str, float]:
        """Return the share of texts that must not be shown, by reason, the most frequent first."""
        met = Counter(why for why in self.vetoes if why is not None)
        return {why: count / len(self.vetoes) for why, count in met.most_common()}


def paired(after: Measured, before: Measured) -> dict[str, Figure]:
    """Return the differences ``after - before`` over the same rows, with 95 % intervals."""
    found = {}
    for name, values in after.rows.items():
        change = values - before.rows[name]
        counts = np.isfinite(change)
        if counts.any():
            found[name] = clustered_mean(change[counts], after.items[counts])
    for name, (part, whole) in after.shares.items():
        was, of = before.shares[name]
        counts = (whole > 0) | (of > 0)
        if whole.any() and of.any():
            new, old = linearised(part[counts], whole[counts]), linearised(was[counts], of[counts])
            found[name] = clustered_mean(new - old, after.items[counts])
    return {name: found[name] for name in FIGURES if name in found}


class Judge:
    """Judges writers on one panel, all by the same pairs of rows."""

    def __init__(
        self, visitors: Visitors, checker: ClaimChecker, panel: Panel, rng: np.random.Generator
    ) -> None:
        """Look up what the readers like and what the items have.

        Args:
            visitors: the catalogue and its segments.
            checker: finds the claims.
            panel: the rows.
            rng: pairs rows of different items for the item swap, once.
        """
        self.panel, self.checker, self._visitors = panel, checker, visitors
        liked = np.zeros((visitors.profiles.n_segments, checker.n_aspects), dtype=bool)
        for segment, row in enumerate(liked):
            row[visitors.profiles.liked(segment, LIKES)] = True
        self._held: Bools = visitors.catalogue.aspect_matrix[panel.items] > 0
        self._likes, self._theirs = liked[panel.segments], liked[panel.others]
        self._alone = bool((panel.segments == panel.others).all())
        self._pairs = pairs_within(panel.segments, panel.items, rng)

    def measure(self, said: Said) -> Measured:
        """Return what a writer's texts come to."""
        panel, texts = self.panel, said.texts
        checked = check_texts(self.checker, panel.items, texts)
        stated = aspect_rows(checked, self.checker.n_aspects)
        vetoes = [veto(text, found) for text, found in zip(texts, checked)]
        claims = np.array([len(found.distinct) for found in checked], dtype=np.float64)
        wrong = np.array([found.unsupported for found in checked], dtype=np.float64)
        vetoed = np.array([why is not None for why in vetoes])
        wanted = self._likes & self._held
        personal, match = self._personal(stated, said.other_texts)
        worded = [tokens(text) for text in texts]
        return Measured(
            items=panel.items,
            rows={
                "item_swap": self._item_swap(texts),
                "claims": claims,
                "words": np.array([found.words for found in checked], dtype=np.float64),
                **personal,
            },
            shares={
                "claim_precision": (claims - wrong, claims),
                "hallucination_rate": _of_all(wrong > 0),
                "veto_rate": _of_all(vetoed),
                "liked_recall": (_counts(stated & wanted), _counts(wanted)),
                **match,
            },
            whole={
                "distinct1": distinct(worded, 1),
                "distinct2": distinct(worded, 2),
                "unique_share": len(set(texts)) / len(texts),
            },
            checked=checked,
            vetoes=vetoes,
        )

    def _personal(
        self, stated: Bools, other_texts: Sequence[str]
    ) -> tuple[dict[str, F64], dict[str, Share]]:
        """Return the contrasts by row, and profile match and its control as shares."""
        match = liked_stated(stated, self._held, self._likes)
        if self._alone:
            return {}, {"profile_match": _of_counted(match)}
        told = aspect_rows(
            check_texts(self.checker, self.panel.items, other_texts), self.checker.n_aspects
        )
        control = liked_stated(told, self._held, self._likes)
        right, theirs = self._likes & self._held, self._theirs & self._held
        contrasts = {
            "profile_match_lift": match - control,
            "shopper_swap": swap_gains(stated, told, right, theirs),
        }
        return contrasts, {
            "profile_match": _of_counted(match),
            "profile_match_control": _of_counted(control),
        }

    def _item_swap(self, texts: Sequence[str]) -> F64:
        """Same reader, other item: what a pair earns stands in its first row, (n,)."""

        def support(item: int, text: str) -> float:
            found = self.checker.check(item, text)
            claims = len(found.distinct)
            return (claims - found.unsupported) / max(claims, 1)

        earned = np.full(len(texts), np.nan)
        earned[self._pairs[:, 0]] = item_gains(texts, self.panel.items, self._pairs, support)
        return earned

    def rules(self, rng: np.random.Generator) -> Said:
        """Return what the rule-based writer says on this panel."""
        visitors, panel = self._visitors, self.panel
        briefs = item_briefs(visitors.catalogue)
        likes = segment_likes(visitors.catalogue, visitors.profiles)
        own, other = (
            [fallback_reason(briefs[i], likes[s], rng) for i, s in zip(panel.items, segments)]
            for segments in (panel.segments, panel.others)
        )
        return Said(own, other)


def _counts(found: Bools) -> F64:
    return found.sum(axis=1).astype(np.float64)


def _of_all(found: Bools) -> Share:
    return found.astype(np.float64), np.ones(len(found))


def _of_counted(values: F64) -> Share:
    """The rows that count are the whole; the others, NaN, are no part of it."""
    return np.nan_to_num(values), np.isfinite(values).astype(np.float64)


def as_figures(found: Mapping[str, Figure]) -> dict[str, dict[str, float]]:
    """Return figures as plain values."""
    return {name: figure.as_dict() for name, figure in found.items()}
