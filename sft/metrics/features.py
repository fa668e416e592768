"""Feature metrics of explanations: FMR, FCR and DIV of NETE (Li et al. 2020) and PETER (2021)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from sft.metrics.words import words_of


class FeatureFinder:
    """Finds which features of a fixed list a text names, by their words."""

    def __init__(self, features: Sequence[str], locale: str) -> None:
        """Take the F features, each a word or a phrase."""
        self._locale = locale
        self.features = list(dict.fromkeys(features))
        self._number: dict[tuple[str, ...], list[int]] = {}
        for number, feature in enumerate(self.features):
            phrase = tuple(words_of(feature, locale))
            if phrase:
                # Two spellings of one feature ("Screen", "screen") are found together.
                self._number.setdefault(phrase, []).append(number)
        self._sizes = sorted({len(phrase) for phrase in self._number})

    def find(self, text: str) -> frozenset[int]:
        """Return the numbers of the features that the text names."""
        return self.find_in(words_of(text, self._locale))

    def find_in(self, words: Sequence[str]) -> frozenset[int]:
        """Return the numbers of the features that these words name."""
        phrases = (
            tuple(words[start : start + size])
            for size in self._sizes
            for start in range(len(words) - size + 1)
        )
        return frozenset(n for phrase in phrases for n in self._number.get(phrase, ()))


def matching_ratio(found: Sequence[Collection[int]], targets: Sequence[int]) -> float:
    """FMR: share of texts that name their target feature.

    It says nothing where the prompt named the feature: a copy then has FMR 1.
    """
    return sum(target in names for names, target in zip(found, targets)) / len(targets)


def coverage_ratio(found: Sequence[Collection[int]], count: int) -> float:
    """FCR: share of the ``count`` features that any text names."""
    return len({number for names in found for number in names}) / count


def shared_features(found: Sequence[Collection[int]]) -> float:
    """DIV: mean number of features that two texts share, over all pairs of the n texts.

    2 / (n (n - 1)) · sum_{i<j} |F_i ∩ F_j| = sum_f c_f (c_f - 1) / (n (n - 1)), with c_f texts that
    name feature f: counts instead of pairs. Lower is more varied, and a text that names nothing
    scores the perfect 0: read it beside FCR.
    """
    n = len(found)
    counts = Counter(number for names in found for number in set(names))
    return sum(c * (c - 1) for c in counts.values()) / (n * (n - 1)) if n > 1 else 0.0
