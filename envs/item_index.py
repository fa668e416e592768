"""What the similarity scores of any anchor are computed from, once for a catalogue.

Everything is made by whole columns and sparse products, so that a million items take minutes: the
one part that reads item by item is the text, in blocks.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from envs.catalogue import Catalogue
from envs.encoder_config import TextConfig
from envs.errors import UserError
from envs.progress import Progress, silent
from envs.settings import Settings
from envs.shoppers import Profiles, price_z
from envs.text_encoder import Encoder, fit_text_encoder, tokens
from envs.transformer_encoder import load_transformer

F32 = NDArray[np.float32]

#: Texts encoded between two reports of progress.
_TEXT_BLOCK = 16_384


class SimilarityConfig(Settings):
    """Similarity scores and candidate pools."""

    dimensions: int = Field(64, ge=2)
    """Dimensions of the text embedding; a transformer has its own number."""
    text: TextConfig = TextConfig()
    pool: int = Field(60, ge=2)
    """Candidates kept for each anchor."""
    explore: float = Field(0.2, ge=0, le=1)
    """Share of a pool drawn at random, half of it by popularity, so that no item is unreachable."""
    query_items: int = Field(10, ge=1)
    """Items that stand in for a query where a score needs items."""
    item_anchors: int = Field(10_000, ge=1)
    """Items that get a candidate pool of their own, the most popular ones and at least one of each
    class; any other item borrows the pool of the nearest of these in its class."""
    dense_items: int = Field(8_000, ge=0)
    """Up to this many items, all scores of an anchor are held at once; in a larger shop items are
    scored block by block, which finds the same best items in far less memory and time, and the
    explored ones are drawn by another method (the same chances, other draws)."""


@dataclass(frozen=True)
class ItemIndex:
    """What the scores of any anchor are computed from."""

    #: An `Encoder`.
    encoder: Any
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
    #: Words of titles, classes and brands, W of them, sorted.
    words: list[str]
    #: Which items carry a word, sparse (W, I) bool.
    postings: sparse.csr_matrix
    query_items: int

    @cached_property
    def word_items(self) -> dict[str, NDArray[np.int64]]:
        """Items that carry a word, by word."""
        bounds, items = self.postings.indptr, self.postings.indices
        return {w: items[bounds[row] : bounds[row + 1]] for row, w in enumerate(self.words)}


def stem_words(text: str) -> frozenset[str]:
    """Lower-case words without a plural s, and single Chinese characters."""
    return frozenset(w[:-1] if len(w) > 3 and w.endswith("s") else w for w in tokens(text))


def item_texts(catalogue: Catalogue) -> list[str]:
    """Title, class, brand, description and fact phrases of each item in one string."""
    items, rows = catalogue.items, catalogue.positions(catalogue.facts["item_id"])
    order = np.argsort(rows, kind="stable")
    phrases = catalogue.facts["phrases"].to_numpy()
    first = [phrases[fact][0] for fact in order]
    bounds = np.searchsorted(rows[order], np.arange(len(items) + 1)).tolist()
    joined = [" ; ".join(first[start:end]) for start, end in pairwise(bounds)]
    parts = [items[column].tolist() for column in ("title", "class", "brand", "description")]
    return [" . ".join(cells) for cells in zip(*parts, joined)]


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
    ties = (unit @ unit.T).tocoo()
    other = ties.row != ties.col
    triples = (ties.data[other], (ties.row[other], ties.col[other]))
    return sparse.csr_matrix(triples, shape=ties.shape, dtype=np.float32)


def _graph(catalogue: Catalogue) -> sparse.csr_matrix:
    """Unit rows of attribute incidence weighted by idf = log(I / items that share the node)."""
    features, items = catalogue.features, catalogue.items
    nodes = [(features["item_id"], features["key"] + "=" + features["value"])]
    nodes += [(items["item_id"], f"{c}=" + items[c]) for c in ("class", "brand")]
    rows = np.concatenate([catalogue.positions(ids) for ids, _ in nodes])
    columns, names = pd.factorize(pd.concat([labels for _, labels in nodes]), sort=True)
    shape = (len(items), len(names))
    met = sparse.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=shape)
    met.data[:] = 1
    idf = np.log(len(items) / np.maximum(met.sum(axis=0).A1, 1)) + 1e-3
    return _unit_rows(sparse.csr_matrix(met @ sparse.diags(idf.astype(np.float32))))


def _postings(items: pd.DataFrame) -> tuple[list[str], sparse.csr_matrix]:
    """Return the W words of titles, classes and brands, and the items of each, (W, I) bool."""
    rows: dict[str, int] = {}
    # Plain machine integers: a set of strings for each of a million items would take gigabytes.
    words, carriers = array("i"), array("i")
    for item, cells in enumerate(zip(items["title"], items["class"], items["brand"])):
        found = stem_words(" ".join(cells))
        words.extend([rows.setdefault(word, len(rows)) for word in found])
        carriers.extend([item] * len(found))
    names = sorted(rows)
    place = np.empty(len(rows), dtype=np.int64)
    place[[rows[name] for name in names]] = np.arange(len(rows))
    where = (place[np.asarray(words, dtype=np.int64)], np.asarray(carriers))
    shape = (len(names), len(items))
    return names, sparse.csr_matrix((np.ones(len(words), dtype=bool), where), shape=shape)


def frozen_encoder(texts: list[str], config: SimilarityConfig, rng: np.random.Generator) -> Encoder:
    """Return the encoder that a config names, untuned.

    Raises:
        UserError: it has to be made or trained, which is the work of the stage `similarity`.
    """
    named = config.text.encoder
    if named == "local" or config.text.tune.steps:
        raise UserError(
            "similarity.text: a local or tuned encoder is trained by the stage `similarity` of "
            "`shelftalk run`; give the folder of such a run, or leave encoder and tune.steps out"
        )
    if named == "tfidf":
        return fit_text_encoder(texts, config.dimensions, rng)
    return load_transformer(named)


def _embedding(encoder: Encoder, texts: list[str], progress: Progress) -> F32:
    """Return the embedding of each text, (I, d) float32."""
    blocks = []
    for start in range(0, len(texts), _TEXT_BLOCK):
        blocks.append(encoder.encode(texts[start : start + _TEXT_BLOCK]))
        progress(min(start + _TEXT_BLOCK, len(texts)), len(texts), {})
    return np.concatenate(blocks)


def build_index(
    catalogue: Catalogue,
    profiles: Profiles,
    config: SimilarityConfig,
    rng: np.random.Generator,
    progress: Progress = silent,
    encoder: Encoder | None = None,
) -> ItemIndex:
    """Compute everything that scores need, once for a catalogue and its history.

    ``progress`` counts the items whose text is encoded, which is most of the time. ``encoder`` is
    one made beforehand; without it the config's is taken, untuned.

    Raises:
        UserError: the config's encoder has to be trained, or cannot be read.
    """
    texts = item_texts(catalogue)
    encoder = encoder or frozen_encoder(texts, config, rng)
    embedding = _embedding(encoder, texts, progress)
    behaviour = _behaviour(profiles, catalogue.n_items)
    scale = float(np.quantile(behaviour.data, 0.999)) if behaviour.nnz else 1.0
    classes = profiles.class_mix > 0
    together = (classes.T.astype(np.float32) @ classes.astype(np.float32)).astype(np.float32)
    met = np.maximum(np.sqrt(np.outer(together.diagonal(), together.diagonal())), 1e-6)
    ties = (0.5 * together / met).astype(np.float32)
    np.fill_diagonal(ties, 1.0)
    words, postings = _postings(catalogue.items)
    return ItemIndex(
        encoder=encoder,
        embedding=embedding,
        behaviour=behaviour,
        behaviour_scale=max(scale, 1e-6),
        graph=_graph(catalogue),
        class_ties=ties,
        price_z=price_z(catalogue),
        quality=catalogue.items["quality"].to_numpy(dtype=np.float32),
        class_index=catalogue.class_index,
        words=words,
        postings=postings,
        query_items=config.query_items,
    )
