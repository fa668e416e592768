"""The offline text encoder: TF-IDF and truncated SVD, kept as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

#: Words and numbers (usb-c, 2.4), or single Chinese characters. A sentence's full stop is no part.
TOKEN = r"[a-zA-Z0-9]+(?:[.\-][a-zA-Z0-9]+)*|[\u4e00-\u9fff]"


def _vectorizer(vocabulary: dict[str, int] | None = None) -> TfidfVectorizer:
    return TfidfVectorizer(
        token_pattern=TOKEN, ngram_range=(1, 2), sublinear_tf=True, max_features=50_000,
        vocabulary=vocabulary, dtype=np.float32,
    )  # fmt: skip


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
