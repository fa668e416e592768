"""The multi-dimensional similarity: six scores in [0, 1] between an anchor and every item.

An *anchor* is what a scene starts from: a shopper (home), an item (similar-to-an-item) or a query
(search). Every anchor is a weighted mix of items: a shopper's history, the item itself, the items
whose text fits the query best. The scores, each of shape (n, I) for n anchors:

``text``       cosine of text embeddings (TF-IDF + SVD), negative values cut to 0
``behaviour``  item-item cosine of co-interaction, averaged over the mix, over its 99.9th percentile
``graph``      item-attribute-item paths weighted by rarity: cosine of the idf-weighted incidence
               matrix of (key, value), brand and class nodes; a path over a rare node counts more
``price``      exp(-|z_i - z_anchor|) of the within-class z-score of log price
``scene``      home: share of the class in the history over the largest share; similar: 1 for the
               same class, else how often the classes are met by the same shoppers; search: share
               of the query's words found in title, class or brand
``quality``    the item's quality, whatever the anchor
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from envs.item_index import ItemIndex, SimilarityConfig, build_index, stem_words
from envs.shoppers import Profiles

__all__ = [
    "SCENES",
    "SCORES",
    "Anchors",
    "ItemIndex",
    "SimilarityConfig",
    "build_index",
    "item_anchors",
    "query_anchors",
    "score",
    "score_pairs",
    "shopper_anchors",
    "stem_words",
]

F32 = NDArray[np.float32]

SCORES = ("text", "behaviour", "graph", "price", "scene", "quality")
SCENES = ("home", "similar", "search")


@dataclass(frozen=True)
class Anchors:
    """n anchors of one scene, ready to be scored."""

    scene: str
    #: Row-normalised weights over items, sparse (n, I).
    mix: sparse.csr_matrix
    #: (n, d) float32 unit rows.
    embedding: F32
    #: (n,) float32 within-class price z-score.
    price_level: F32
    #: What an item's class adds to the `scene` score, (n, C) float32 in [0, 1]; 0 in search.
    class_score: F32
    #: What its words add, sparse (n, I) float32 in [0, 1]; empty but in search.
    word_score: sparse.csr_matrix


def shopper_anchors(index: ItemIndex, profiles: Profiles, rows: NDArray[np.int64]) -> Anchors:
    """Home-scene anchors of the given shopper rows."""
    shape = (len(profiles.shopper_ids), len(index.quality))
    triples = (profiles.history_weights, (profiles.history_rows, profiles.history_items))
    mix = sparse.csr_matrix(sparse.csr_matrix(triples, shape=shape)[rows])
    share = profiles.class_mix[rows]
    return Anchors(
        scene="home",
        mix=mix,
        embedding=_unit(np.asarray(mix @ index.embedding)),
        price_level=profiles.price_level[rows],
        class_score=share / np.maximum(share.max(axis=1, keepdims=True), 1e-6),
        word_score=sparse.csr_matrix(mix.shape, dtype=np.float32),
    )


def item_anchors(index: ItemIndex, rows: NDArray[np.int64]) -> Anchors:
    """Similar-scene anchors of the given item indexes."""
    shape = (len(rows), len(index.quality))
    ones = np.ones(len(rows), dtype=np.float32)
    return Anchors(
        scene="similar",
        mix=sparse.csr_matrix((ones, (np.arange(len(rows)), rows)), shape=shape),
        embedding=index.embedding[rows],
        price_level=index.price_z[rows],
        class_score=index.class_ties[index.class_index[rows]],
        word_score=sparse.csr_matrix(shape, dtype=np.float32),
    )


def query_anchors(index: ItemIndex, queries: Sequence[str]) -> Anchors:
    """Search-scene anchors of free-text queries."""
    embedding = index.encoder.encode(queries)
    fit = np.maximum(embedding @ index.embedding.T, 0)
    count = min(index.query_items, fit.shape[1])
    best = np.argpartition(-fit, count - 1, axis=1)[:, :count]
    weight = np.take_along_axis(fit, best, axis=1)
    weight = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-6)
    rows = np.repeat(np.arange(len(queries)), count)
    return Anchors(
        scene="search",
        mix=sparse.csr_matrix((weight.ravel(), (rows, best.ravel())), shape=fit.shape),
        embedding=embedding,
        # A query tells no price level: the class-typical price stands in.
        price_level=np.zeros(len(queries), dtype=np.float32),
        class_score=np.zeros((len(queries), len(index.class_ties)), dtype=np.float32),
        word_score=sparse.vstack([_words_found(index, query) for query in queries], format="csr"),
    )


def _words_found(index: ItemIndex, query: str) -> sparse.csr_matrix:
    """Share of the query's words that each item carries, sparse (1, I) float32."""
    found = np.zeros(len(index.quality), dtype=np.float32)
    words = stem_words(query)
    for word in words & index.word_items.keys():
        found[index.word_items[word]] += 1.0 / len(words)
    return sparse.csr_matrix(np.minimum(found, 1.0)[None])


def _unit(rows: F32) -> F32:
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)).astype(np.float32)


def score(index: ItemIndex, anchors: Anchors) -> F32:
    """Return the six scores of each anchor and item in the order of `SCORES`, (n, I, 6) float32."""
    out = np.empty((*anchors.mix.shape, len(SCORES)), dtype=np.float32)
    out[..., 0] = np.clip(anchors.embedding @ index.embedding.T, 0, 1)
    ties = np.asarray((anchors.mix @ index.behaviour).todense())
    out[..., 1] = np.clip(ties / index.behaviour_scale, 0, 1)
    paths = (anchors.mix @ index.graph) @ index.graph.T
    out[..., 2] = np.clip(np.asarray(paths.todense()), 0, 1)
    out[..., 3] = np.exp(-np.abs(index.price_z[None] - anchors.price_level[:, None]))
    out[..., 4] = anchors.class_score[:, index.class_index]
    # Most scenes have no words to look for: the sum over all items is left out there.
    if anchors.word_score.nnz:
        out[..., 4] += anchors.word_score.toarray()
    out[..., 5] = index.quality[None]
    return out


def score_pairs(index: ItemIndex, anchors: Anchors, items: NDArray[np.int64]) -> F32:
    """Return the six scores of each anchor and its own items (n, P) alone, (n, P, 6) float32.

    The same figures as `score` up to rounding, at a cost that does not grow with the shop.
    """
    row = np.repeat(np.arange(len(items)), items.shape[1])
    flat = items.ravel()
    ties = sparse.csr_matrix(anchors.mix @ index.behaviour)
    paths = sparse.csr_matrix(anchors.mix @ index.graph)[row].multiply(index.graph[flat])
    words = np.asarray(anchors.word_score[row, flat]).ravel()
    out = np.empty((len(flat), len(SCORES)), dtype=np.float32)
    out[:, 0] = np.einsum("ne,npe->np", anchors.embedding, index.embedding[items]).ravel()
    out[:, 1] = np.asarray(ties[row, flat]).ravel() / index.behaviour_scale
    out[:, 2] = np.asarray(paths.sum(axis=1)).ravel()
    out[:, 3] = np.exp(-np.abs(index.price_z[flat] - anchors.price_level[row]))
    out[:, 4] = anchors.class_score[row, index.class_index[flat]] + words
    out[:, 5] = index.quality[flat]
    return np.clip(out, 0, 1).reshape(*items.shape, len(SCORES))
