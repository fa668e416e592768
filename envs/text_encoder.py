"""The offline text encoder: TF-IDF and truncated SVD, kept as plain arrays.

Texts are read as *tokens* (`tokens`): words of letters with their digits (``usb-c``, ``x300``),
numbers apart from their unit (``20,000mAh`` is ``20000`` and ``mah``; ``60-hour`` is ``60`` and
``hour``), and single Chinese characters. Full-width forms, case and accents make no difference.
*Terms* are tokens and pairs of neighbouring tokens. Chinese is written without spaces, so that its
pairs of characters stand in for words (most have two); they never reach across a space or a comma.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_HAN = "\u3400-\u9fff"
#: A number; or letters and digits from a letter on, joined by - or '; or a Chinese character.
TOKEN = rf"\d+(?:\.\d+)*|[^\W\d_{_HAN}][^\W_{_HAN}]*(?:[-'][^\W_{_HAN}]+)*|[{_HAN}]"
_TOKEN = re.compile(TOKEN)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_ACCENTS = re.compile("[\u0300-\u036f]")
#: What may stand between two words of a pair.
_GAPS = {"", " ", "-"}


def plain(text: str) -> str:
    """Return the text in lower case, without accents, full-width forms and thousands commas."""
    if text.isascii():
        return _THOUSANDS.sub("", text.lower())
    apart = unicodedata.normalize("NFKD", text)
    whole = unicodedata.normalize("NFC", _ACCENTS.sub("", apart))
    return _THOUSANDS.sub("", whole.lower())


def tokens(text: str) -> list[str]:
    """Return the words, numbers and single Chinese characters of a text, in order."""
    return _TOKEN.findall(plain(text))


def terms(text: str) -> list[str]:
    """Return the tokens and the pairs of neighbours, which is what texts are compared by."""
    text = plain(text)
    found: list[str] = []
    last, end = "", 0
    for match in _TOKEN.finditer(text):
        token = match.group()
        gap = text[end : match.start()]
        # "耳机 长续航": the space ends a Chinese word, so 机长 is none.
        han = last >= "\u3400" or token >= "\u3400"
        if last and (gap == "" if han else gap in _GAPS):
            found.append(f"{last} {token}")
        found.append(token)
        last, end = token, match.end()
    return found


class Encoder(Protocol):
    """What the `text` score needs of an encoder."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit rows (n, d) float32; zeros for a text it can make nothing of."""
        ...


@dataclass(frozen=True)
class TextEncoder:
    """Maps texts to unit vectors; a text without a known word maps to zeros."""

    vocabulary: dict[str, int]
    #: (V,) float32
    idf: NDArray[np.float32]
    #: (d, V) float32
    components: NDArray[np.float32]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit rows (n, d) float32."""
        dense = np.asarray(self._weights(texts) @ self._by_term, dtype=np.float32)
        return dense / np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-6)

    @cached_property
    def _by_term(self) -> NDArray[np.float32]:
        """A row of d numbers for each term, (V, d): what a sparse product runs along."""
        return np.ascontiguousarray(self.components.T)

    def _weights(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """Unit rows of (1 + log count) * idf over the known terms of each text, sparse (n, V).

        What scikit-learn's vectorizer returns that the encoder was fitted with, without its call
        costs, which a service would pay with every query.
        """
        columns: list[int] = []
        counts: list[int] = []
        ends = [0]
        for text in texts:
            found = Counter(terms(text))
            known = sorted(
                (self.vocabulary[t], n) for t, n in found.items() if t in self.vocabulary
            )
            columns += [column for column, _ in known]
            counts += [count for _, count in known]
            ends.append(len(columns))
        place = np.array(columns, dtype=np.int64)
        weights = (np.log(np.array(counts, dtype=np.float32)) + np.float32(1)) * self.idf[place]
        rows = np.repeat(np.arange(len(texts)), np.diff(ends))
        norms = np.sqrt(np.bincount(rows, weights.astype(np.float64) ** 2, len(texts)))
        unit = weights / np.where(norms > 0, norms, 1)[rows].astype(np.float32)
        return sparse.csr_matrix((unit, place, ends), shape=(len(texts), len(self.idf)))

    def projected(self, matrix: NDArray[np.float32]) -> TextEncoder:
        """Return the encoder whose vectors are those of this one times ``matrix``.T, (d, d)."""
        return replace(self, components=(matrix @ self.components).astype(np.float32))


def fit_text_encoder(
    texts: Sequence[str], dimensions: int, rng: np.random.Generator
) -> TextEncoder:
    """Fit the encoder on a shop's texts; fewer dimensions are kept for a tiny vocabulary."""
    # Heavy to import, and of use to nobody who has a fitted encoder.
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        analyzer=terms, sublinear_tf=True, max_features=50_000, dtype=np.float32
    )
    matrix = vectorizer.fit_transform(texts)
    dimensions = max(1, min(dimensions, min(matrix.shape) - 1))
    svd = TruncatedSVD(dimensions, n_iter=4, random_state=int(rng.integers(2**31)))
    svd.fit(matrix)
    return TextEncoder(
        vocabulary={word: int(index) for word, index in vectorizer.vocabulary_.items()},
        idf=vectorizer.idf_.astype(np.float32),
        components=svd.components_.astype(np.float32),
    )
