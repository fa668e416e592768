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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

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


def _vectorizer(vocabulary: dict[str, int] | None = None) -> TfidfVectorizer:
    return TfidfVectorizer(
        analyzer=terms, sublinear_tf=True, max_features=50_000, vocabulary=vocabulary,
        dtype=np.float32,
    )  # fmt: skip


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
        vectorizer = _vectorizer(self.vocabulary)
        vectorizer.idf_ = self.idf
        dense = np.asarray(vectorizer.transform(texts) @ self.components.T, dtype=np.float32)
        return dense / np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-6)

    def projected(self, matrix: NDArray[np.float32]) -> TextEncoder:
        """Return the encoder whose vectors are those of this one times ``matrix``.T, (d, d)."""
        return replace(self, components=(matrix @ self.components).astype(np.float32))


def fit_text_encoder(
    texts: Sequence[str], dimensions: int, rng: np.random.Generator
) -> TextEncoder:
    """Fit the encoder on a shop's texts; fewer dimensions are kept for a tiny vocabulary."""
    vectorizer = _vectorizer()
    matrix = vectorizer.fit_transform(texts)
    dimensions = max(1, min(dimensions, min(matrix.shape) - 1))
    svd = TruncatedSVD(dimensions, n_iter=4, random_state=int(rng.integers(2**31)))
    svd.fit(matrix)
    return TextEncoder(
        vocabulary={word: int(index) for word, index in vectorizer.vocabulary_.items()},
        idf=vectorizer.idf_.astype(np.float32),
        components=svd.components_.astype(np.float32),
    )
