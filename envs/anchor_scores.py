"""The six scores of one anchor, quickly: what a service asks, one shopper, item or query at a time.

`envs.similarity` scores batches of anchors by sparse matrix products, whose call costs alone take
milliseconds. Here an anchor is laid out as dense arrays, so that scoring some items is a short loop
over them, whatever the size of the shop. Both give the same figures up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from envs.item_index import ItemIndex, stem_words
from envs.kernels_scores import mix_rows, score_rows
from envs.shoppers import Profiles
from envs.similarity import SCORES

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

_NO_WORDS = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True)
class OneAnchor:
    """One anchor of a shop of I items, C classes and G attribute nodes; see `envs.similarity`."""

    #: Unit vector, (d,) float32.
    embedding: F32
    #: Co-interaction with each item, not yet scaled, (I,) float32.
    ties: F32
    #: Weight of each attribute node, (G,) float32.
    paths: F32
    price_level: np.float32
    #: What an item's class adds to the `scene` score, (C,) float32.
    class_score: F32
    #: What its words add, (I,) float32; empty but in search.
    words: F32


def histories(profiles: Profiles, items: int) -> sparse.csr_matrix:
    """Return the history weights of each shopper, sparse (U, I)."""
    triples = (profiles.history_weights, (profiles.history_rows, profiles.history_items))
    return sparse.csr_matrix(triples, shape=(len(profiles.shopper_ids), items))


def shopper_anchor(
    index: ItemIndex, profiles: Profiles, met: sparse.csr_matrix, row: int
) -> OneAnchor:
    """Return the home-scene anchor of a shopper row; ``met`` is of `histories`."""
    part = slice(met.indptr[row], met.indptr[row + 1])
    items, weights = met.indices[part].astype(np.int64), met.data[part]
    share = profiles.class_mix[row]
    return _mixed(
        index, items, weights,
        embedding=_unit(weights @ index.embedding[items]),
        price_level=profiles.price_level[row],
        class_score=share / np.maximum(share.max(initial=0), np.float32(1e-6)),
    )  # fmt: skip


def item_anchor(index: ItemIndex, item: int) -> OneAnchor:
    """Return the similar-scene anchor of an item."""
    return _mixed(
        index, np.array([item]), np.ones(1, dtype=np.float32),
        embedding=index.embedding[item],
        price_level=index.price_z[item],
        class_score=index.class_ties[index.class_index[item]],
    )  # fmt: skip


def query_anchor(index: ItemIndex, query: str) -> OneAnchor:
    """Return the search-scene anchor of a query."""
    (embedding,) = index.encoder.encode([query])
    fit = np.maximum(index.embedding @ embedding, 0)
    count = min(index.query_items, len(fit))
    best = np.argpartition(-fit, count - 1)[:count]
    weights = fit[best] / np.maximum(fit[best].sum(), np.float32(1e-6))
    return _mixed(
        index, best, weights,
        embedding=embedding,
        price_level=np.float32(0),
        class_score=np.zeros(len(index.class_ties), dtype=np.float32),
        words=_words_found(index, query),
    )  # fmt: skip


def _mixed(
    index: ItemIndex, items: I64, weights: F32, embedding: F32, price_level: np.float32,
    class_score: F32, words: F32 = _NO_WORDS,
) -> OneAnchor:  # fmt: skip
    ties = np.zeros(len(index.quality), dtype=np.float32)
    paths = np.zeros(index.graph.shape[1], dtype=np.float32)
    for out, matrix in ((ties, index.behaviour), (paths, index.graph)):
        mix_rows(out, items, weights, matrix.indptr, matrix.indices, matrix.data)
    return OneAnchor(embedding, ties, paths, np.float32(price_level), class_score, words)


def _words_found(index: ItemIndex, query: str) -> F32:
    """Share of the query's words that each item carries, (I,) float32."""
    found = np.zeros(len(index.quality), dtype=np.float32)
    words = stem_words(query)
    for word in words & index.word_items.keys():
        found[index.word_items[word]] += 1.0 / len(words)
    return np.minimum(found, 1.0)


def _unit(row: F32) -> F32:
    return (row / np.maximum(np.linalg.norm(row), 1e-6)).astype(np.float32)


def scores_of(index: ItemIndex, anchor: OneAnchor, items: I64 | None = None) -> F32:
    """Return the six scores of P items in the order of `SCORES`, (P, 6) float32; None: of all."""
    embedding = index.embedding if items is None else index.embedding[items]
    rows = np.arange(len(index.quality)) if items is None else items
    out = np.empty((len(rows), len(SCORES)), dtype=np.float32)
    score_rows(
        out, rows, embedding @ anchor.embedding, anchor.ties, np.float32(index.behaviour_scale),
        anchor.paths, index.graph.indptr, index.graph.indices, index.graph.data, index.price_z,
        anchor.price_level, anchor.class_score, index.class_index, anchor.words, index.quality,
    )  # fmt: skip
    return out
