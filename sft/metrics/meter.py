"""Measuring a set of texts: which metrics its rows allow, and all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from envs.catalogue import Catalogue
from rewards.claims import ClaimChecker
from sft.metrics.bertscore import Encoder, bertscore
from sft.metrics.claims import aspect_rows, check_texts, claim_figures, claim_recall
from sft.metrics.features import FeatureFinder, coverage_ratio, matching_ratio, shared_features
from sft.metrics.figures import METRICS, Figure
from sft.metrics.floors import derangement
from sft.metrics.form import characters_per_sentence, flesch_reading_ease, mean_length
from sft.metrics.overlap import ReferenceScorer
from sft.metrics.personal import item_swap, pairs_within, profile_match, shopper_swap
from sft.metrics.variety import distinct, self_bleu, unique_share
from sft.metrics.words import words_of

I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Texts that self-BLEU compares, and pairs of the item swap: both are stated in the notes.
SELF_BLEU_SAMPLE, ITEM_PAIRS = 1_000, 2_000


@dataclass(frozen=True)
class Rows:
    """n texts and what is known of each; None where nothing is."""

    texts: list[str]
    #: ``en`` or ``zh``.
    locale: str
    references: list[str] | None = None
    #: Feature that the text was to be about.
    features: list[str] | None = None
    #: What the writer was given.
    prompts: list[str] | None = None
    #: Index of the item in the catalogue, (n,).
    items: I64 | None = None
    #: Number of the shopper, (n,).
    readers: I64 | None = None
    #: Aspects that the shopper likes, (n, A) bool.
    likes: Bools | None = None


#: What each family of metrics needs.
FAMILIES = {
    "overlap": "column 'reference'",
    "variety": "column 'text'",
    "features": "column 'feature', or a catalogue and column 'item_id'",
    "claims": "a catalogue and column 'item_id'",
    "personal": "a catalogue, column 'item_id' and more than one item or shopper",
    "form": "column 'text'",
}


def possible_families(rows: Rows, catalogue: Catalogue | None) -> list[str]:
    """Return the families of metrics that the rows have everything for."""
    known = catalogue is not None and rows.items is not None
    able = {
        "overlap": rows.references is not None,
        "features": known or rows.features is not None,
        "claims": known,
        "personal": known,
    }
    return [family for family in FAMILIES if able.get(family, True)]


class Meter:
    """Measures sets of texts for the same rows, all with the same random draws."""

    def __init__(
        self, rows: Rows, families: Sequence[str], rng: np.random.Generator,
        catalogue: Catalogue | None = None, encoder: Encoder | None = None,
    ) -> None:  # fmt: skip
        """Prepare what does not depend on the texts.

        Args:
            rows: the rows; every other set of texts must be as long.
            families: which metrics (see `FAMILIES`).
            rng: draws samples, pairs and the shuffled profiles, once.
            catalogue: the items' facts.
            encoder: for BERTScore, where it is wanted.
        """
        self.rows, self._families = rows, families
        self._encoder = encoder
        count = len(rows.texts)
        self.sample = rng.permutation(count)[:SELF_BLEU_SAMPLE]
        self._other = derangement(count, rng)
        self._checker: ClaimChecker | None = None
        self.swaps = np.empty((0, 2), dtype=np.int64)
        self._pairs = np.empty((0, 2), dtype=np.int64)
        reads = "features" in families and rows.features is None
        reads |= "claims" in families or "personal" in families
        if reads and catalogue is not None and rows.items is not None:
            self._checker = ClaimChecker(catalogue)
            self._held = catalogue.aspect_matrix[rows.items] > 0
            readers = np.zeros(count, np.int64) if rows.readers is None else rows.readers
            self._pairs = pairs_within(rows.items, readers, rng)
            self.swaps = rng.permutation(pairs_within(readers, rows.items, rng))[:ITEM_PAIRS]

    @cached_property
    def _references(self) -> ReferenceScorer:
        return ReferenceScorer(self.rows.references or [], self.rows.locale)

    @cached_property
    def _wanted(self) -> Bools:
        return self._stated(self.rows.references or [])

    @cached_property
    def _finder(self) -> FeatureFinder | None:
        if self.rows.features is None:
            return None
        return FeatureFinder(self.rows.features, self.rows.locale)

    def _stated(self, texts: Sequence[str]) -> Bools:
        assert self._checker is not None
        assert self.rows.items is not None
        checked = check_texts(self._checker, self.rows.items, texts)
        return aspect_rows(checked, self._checker.n_aspects)

    def measure(self, texts: Sequence[str]) -> dict[str, Figure]:
        """Return every metric of n texts, in the order of `METRICS`."""
        words = [words_of(text, self.rows.locale) for text in texts]
        found = self._overlap(texts) | self._variety(texts, words) | self._form(texts, words)
        figures = {name: Figure(value) for name, value in found.items()}
        figures |= self._from_claims(texts)
        if self._finder is not None and "features" in self._families:
            figures |= self._named(self._finder, words)
        return {name: figures[name] for name in METRICS if name in figures}

    def _overlap(self, texts: Sequence[str]) -> dict[str, float]:
        if "overlap" not in self._families or self.rows.references is None:
            return {}
        found = self._references.score(texts)
        if self._encoder is not None:
            found["bertscore"] = bertscore(self._encoder, texts, self.rows.references)
        return found

    def _variety(self, texts: Sequence[str], words: list[list[str]]) -> dict[str, float]:
        if "variety" not in self._families:
            return {}
        return {
            "usr": unique_share(words),
            "distinct1": distinct(words, 1),
            "distinct2": distinct(words, 2),
            "self_bleu": self_bleu([texts[row] for row in self.sample], self.rows.locale),
        }

    def _form(self, texts: Sequence[str], words: list[list[str]]) -> dict[str, float]:
        if "form" not in self._families:
            return {}
        if self.rows.locale == "zh":
            reading = {"characters_per_sentence": characters_per_sentence(texts)}
        else:
            reading = {"readability": flesch_reading_ease(texts)}
        return {"length": mean_length(words), **reading}

    def _named(self, finder: FeatureFinder, words: list[list[str]]) -> dict[str, Figure]:
        assert self.rows.features is not None
        number = {feature: place for place, feature in enumerate(finder.features)}
        found = [finder.find_in(text) for text in words]
        targets = [number[feature] for feature in self.rows.features]
        return {
            "fmr": Figure(matching_ratio(found, targets)),
            "fcr": Figure(coverage_ratio(found, len(finder.features))),
            "div": Figure(shared_features(found)),
        }

    def _from_claims(self, texts: Sequence[str]) -> dict[str, Figure]:
        """Metrics that read the texts' claims: without a feature column, features are aspects."""
        items, checker = self.rows.items, self._checker
        if items is None or checker is None:
            return {}
        checked = check_texts(checker, items, texts)
        stated = aspect_rows(checked, checker.n_aspects)
        figures: dict[str, Figure] = {}
        if "features" in self._families and self._finder is None:
            aspects = [text.aspects for text in checked]
            figures["fcr"] = Figure(coverage_ratio(aspects, checker.n_aspects))
            figures["div"] = Figure(shared_features(aspects))
        if "claims" in self._families:
            figures |= {name: Figure(v) for name, v in claim_figures(checked).items()}
            if self.rows.references is not None:
                figures["claim_recall"] = Figure(claim_recall(stated, self._wanted))
        if "personal" in self._families:
            figures |= self._personal(texts, items, checker, stated)
        return figures

    def _personal(
        self, texts: Sequence[str], items: I64, checker: ClaimChecker, stated: Bools
    ) -> dict[str, Figure]:
        def support(item: int, text: str) -> float:
            claims = set(checker.check(item, text).claims)
            return sum(claim.supported for claim in claims) / max(len(claims), 1)

        readers = self.rows.readers
        # Without shoppers every pair of rows is its own cluster.
        clusters = np.arange(len(texts)) if readers is None else readers
        figures = item_swap(texts, items, self.swaps, clusters, support)
        if self.rows.likes is None:
            return figures
        likes, held = self.rows.likes, self._held
        return {
            **profile_match(stated, held, likes, self._other, items),
            **shopper_swap(stated, held, likes, self._pairs[self._known()], items),
            **figures,
        }

    def _known(self) -> NDArray[np.bool_]:
        """Which pairs of readers both have likes: of the others nobody knows what is right."""
        likes = self.rows.likes
        assert likes is not None
        known: NDArray[np.bool_] = np.asarray(likes.any(axis=1))
        return np.asarray(known[self._pairs[:, 0]] & known[self._pairs[:, 1]])

    def feature_in_prompt(self) -> float | None:
        """Share of rows whose prompt names the target feature; None where that is not known."""
        if self._finder is None or self.rows.prompts is None or self.rows.features is None:
            return None
        number = {feature: place for place, feature in enumerate(self._finder.features)}
        named = [self._finder.find(prompt) for prompt in self.rows.prompts]
        return matching_ratio(named, [number[feature] for feature in self.rows.features])
