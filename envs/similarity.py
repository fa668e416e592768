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

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from envs.catalogue import Catalogue
from envs.settings import Settings
from envs.shoppers import Profiles, price_z
from envs.text_encoder import TOKEN, TextEncoder, fit_text_encoder

F32 = NDArray[np.float32]

SCORES = ("text", "behaviour", "graph", "price", "scene", "quality")
SCENES = ("home", "similar", "search")


class SimilarityConfig(Settings):
    """Similarity scores and candidate pools."""

    dimensions: int = Field(64, ge=2)
    """Dimensions of the text embedding."""
    pool: int = Field(60, ge=2)
    """Candidates kept for each anchor."""
    explore: float = Field(0.2, ge=0, le=1)
    """Share of a pool drawn at random, half of it by popularity, so that no item is unreachable."""
    query_items: int = Field(10, ge=1)
    """Items that stand in for a query where a score needs items."""


@dataclass(frozen=True)
class ItemIndex:
    """What the scores of any anchor are computed from."""

    encoder: TextEncoder
    #: Text embedding of each item, (I, d) float32.
    embedding: F32
    #: Item-item co-interaction cosine, sparse (I, I).
    behaviour: sparse.csr_matrix
    #: Scale that maps behaviour to [0, 1].
    behaviour_scale: float
    #: Idf-weighted unit rows over attribute nodes, sparse (I, G).
    graph: sparse.csr_matrix
    #: Class-class co-history in [0, 1] with ones on the diagonal, (C, C) float32.
    class_ties: F32
    price_z: F32
    quality: F32
    class_index: NDArray[np.int64]
    words: list[frozenset[str]]
    query_items: int

    @cached_property
    def word_items(self) -> dict[str, NDArray[np.int64]]:
        """Items that carry a word, by word."""
        found: dict[str, list[int]] = {}
        for item, words in enumerate(self.words):
            for word in words:
                found.setdefault(word, []).append(item)
        return {word: np.array(items) for word, items in found.items()}


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
    #: The `scene` score, (n, I) float32 in [0, 1].
    scene_score: F32


def stem_words(text: str) -> frozenset[str]:
    """Lower-case words without a plural s, and single Chinese characters."""
    words = re.findall(TOKEN, text.lower())
    return frozenset(w[:-1] if len(w) > 3 and w.endswith("s") else w for w in words)


def item_texts(catalogue: Catalogue) -> list[str]:
    """Title, class, brand, description and fact phrases of each item in one string."""
    phrases = (
        catalogue.facts.assign(first=[p[0] for p in catalogue.facts["phrases"]])
        .groupby("item_id")["first"]
        .agg(" ; ".join)
        .reindex(catalogue.items["item_id"])
        .fillna("")
    )
    items = catalogue.items
    parts = [items["title"], items["class"], items["brand"], items["description"], phrases]
    return [" . ".join(cells) for cells in zip(*(p.tolist() for p in parts))]


def _unit_rows(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    norm = np.sqrt(matrix.multiply(matrix).sum(axis=1)).A1
    return sparse.csr_matrix(sparse.diags(1 / np.maximum(norm, 1e-9)) @ matrix)


def _behaviour(profiles: Profiles, items: int) -> sparse.csr_matrix:
    """Cosine of the items' shopper columns, without the diagonal."""
    shape = (items, len(profiles.shopper_ids))
    ones = np.ones(len(profiles.history_rows), dtype=np.float32)
    met = sparse.csr_matrix((ones, (profiles.history_items, profiles.history_rows)), shape=shape)
    met.data[:] = 1
    unit = _unit_rows(met)
    ties = (unit @ unit.T).tolil()
    ties.setdiag(0)
    return sparse.csr_matrix(ties, dtype=np.float32)


def _graph(catalogue: Catalogue) -> sparse.csr_matrix:
    """Unit rows of attribute incidence weighted by idf = log(I / items that share the node)."""
    features, items = catalogue.features, catalogue.items
    nodes = [(features["item_id"], features["key"] + "=" + features["value"])]
    nodes += [(items["item_id"], f"{c}=" + items[c]) for c in ("class", "brand")]
    rows = np.concatenate([ids.map(catalogue.item_position).to_numpy() for ids, _ in nodes])
    names = np.concatenate([labels.to_numpy(dtype=str) for _, labels in nodes])
    _, columns = np.unique(names, return_inverse=True)
    shape = (len(items), columns.max() + 1)
    met = sparse.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=shape)
    met.data[:] = 1
    idf = np.log(len(items) / np.maximum(met.sum(axis=0).A1, 1)) + 1e-3
    return _unit_rows(sparse.csr_matrix(met @ sparse.diags(idf.astype(np.float32))))


def build_index(
    catalogue: Catalogue, profiles: Profiles, config: SimilarityConfig, rng: np.random.Generator
) -> ItemIndex:
    """Compute everything that scores need, once for a catalogue and its history."""
    texts = item_texts(catalogue)
    encoder = fit_text_encoder(texts, config.dimensions, rng)
    behaviour = _behaviour(profiles, catalogue.n_items)
    scale = float(np.quantile(behaviour.data, 0.999)) if behaviour.nnz else 1.0
    classes = profiles.class_mix > 0
    together = (classes.T.astype(np.float32) @ classes.astype(np.float32)).astype(np.float32)
    met = np.maximum(np.sqrt(np.outer(together.diagonal(), together.diagonal())), 1e-6)
    ties = (0.5 * together / met).astype(np.float32)
    np.fill_diagonal(ties, 1.0)
    items = catalogue.items
    return ItemIndex(
        encoder=encoder,
        embedding=encoder.encode(texts),
        behaviour=behaviour,
        behaviour_scale=max(scale, 1e-6),
        graph=_graph(catalogue),
        class_ties=ties,
        price_z=price_z(catalogue),
        quality=items["quality"].to_numpy(dtype=np.float32),
        class_index=catalogue.class_index,
        words=[
            stem_words(" ".join(row)) for row in zip(items["title"], items["class"], items["brand"])
        ],
        query_items=config.query_items,
    )


def shopper_anchors(index: ItemIndex, profiles: Profiles, rows: NDArray[np.int64]) -> Anchors:
    """Home-scene anchors of the given shopper rows."""
    shape = (len(profiles.shopper_ids), len(index.quality))
    triples = (profiles.history_weights, (profiles.history_rows, profiles.history_items))
    mix = sparse.csr_matrix(sparse.csr_matrix(triples, shape=shape)[rows])
    share = profiles.class_mix[rows]
    share = share / np.maximum(share.max(axis=1, keepdims=True), 1e-6)
    return Anchors(
        scene="home",
        mix=mix,
        embedding=_unit(np.asarray(mix @ index.embedding)),
        price_level=profiles.price_level[rows],
        scene_score=share[:, index.class_index],
    )


def item_anchors(index: ItemIndex, rows: NDArray[np.int64]) -> Anchors:
    """Similar-scene anchors of the given item indexes."""
    shape = (len(rows), len(index.quality))
    ones = np.ones(len(rows), dtype=np.float32)
    mix = sparse.csr_matrix((ones, (np.arange(len(rows)), rows)), shape=shape)
    classes = index.class_index
    return Anchors(
        scene="similar",
        mix=mix,
        embedding=index.embedding[rows],
        price_level=index.price_z[rows],
        scene_score=index.class_ties[classes[rows]][:, classes],
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
    mix = sparse.csr_matrix((weight.ravel(), (rows, best.ravel())), shape=fit.shape)
    covered = np.zeros(fit.shape, dtype=np.float32)
    for row, query in enumerate(queries):
        words = stem_words(query)
        for word in words & index.word_items.keys():
            covered[row, index.word_items[word]] += 1.0 / len(words)
    return Anchors(
        scene="search",
        mix=mix,
        embedding=embedding,
        # A query tells no price level: the class-typical price stands in.
        price_level=np.zeros(len(queries), dtype=np.float32),
        scene_score=np.minimum(covered, 1.0),
    )


def _unit(rows: F32) -> F32:
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)).astype(np.float32)


def score(index: ItemIndex, anchors: Anchors) -> F32:
    """Return the six scores of each anchor and item in the order of `SCORES`, (n, I, 6) float32."""
    out = np.empty((*anchors.scene_score.shape, len(SCORES)), dtype=np.float32)
    out[..., 0] = np.clip(anchors.embedding @ index.embedding.T, 0, 1)
    ties = np.asarray((anchors.mix @ index.behaviour).todense())
    out[..., 1] = np.clip(ties / index.behaviour_scale, 0, 1)
    paths = (anchors.mix @ index.graph) @ index.graph.T
    out[..., 2] = np.clip(np.asarray(paths.todense()), 0, 1)
    out[..., 3] = np.exp(-np.abs(index.price_z[None] - anchors.price_level[:, None]))
    out[..., 4] = anchors.scene_score
    out[..., 5] = index.quality[None]
    return out
