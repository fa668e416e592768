"""How relevant an item truly is in a scene: hidden from every policy, felt by every shopper."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.catalogue import Catalogue
from envs.similarity import SCENES, SCORES, ItemIndex, query_anchors, score_pairs

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Columns of the scores that read the query itself.
QUERY_SCORES = tuple(SCORES.index(name) for name in ("text", "graph", "scene"))
_SCENE_SCORE = SCORES.index("scene")
_SIMILAR, _SEARCH = SCENES.index("similar"), SCENES.index("search")
_BEST_RATING = 3.0
#: Judged pairs from which on they teach what was not judged.
_ENOUGH = 100


class Relevance:
    """Hidden relevance of the items of a pool, in [0, 1].

    0 at home (taste alone decides); beside an item, the mean of same class and the cosine of the
    aspect vectors. In search, the human judgement where there is one; else what the judgements make
    of an item that matches the query so well (`learned_weights`), because who judges looks at more
    than shared words; without enough judgements the share of the query's words that title, class or
    brand hold.
    """

    def __init__(self, catalogue: Catalogue, index: ItemIndex) -> None:
        """Read the judgements, and learn from them."""
        x = catalogue.aspect_matrix
        self.unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)
        self.class_index = catalogue.class_index
        rows = {query: row for row, query in enumerate(catalogue.queries["query_id"])}
        table = catalogue.judgements
        places = catalogue.positions(table["item_id"]).tolist()
        self.judged = {
            (rows[query], item): float(rating) / _BEST_RATING
            for query, item, rating in zip(table["query_id"], places, table["rating"])
        }
        texts = catalogue.queries["query"].tolist()
        enough = len(self.judged) >= _ENOUGH
        self.weights = learned_weights(self.judged, texts, index) if enough else None

    def of(self, scene: int, rows: I64, pool: I64, scores: F32) -> F32:
        """Relevance (n, P) of pools (n, P) with scores (n, P, 6); rows are shoppers, items, ..."""
        if scene == _SIMILAR:
            same = self.class_index[pool] == self.class_index[rows][:, None]
            cosine = np.einsum("npa,na->np", self.unit[pool], self.unit[rows])
            return (0.5 * same + 0.5 * cosine).astype(np.float32)
        if scene != _SEARCH:
            return np.zeros(pool.shape, dtype=np.float32)
        relevant = scores[..., _SCENE_SCORE].copy()
        if self.weights is not None:
            relevant = np.clip(_with_one(scores) @ self.weights, 0, 1).astype(np.float32)
        for row, column in np.ndindex(*pool.shape):
            key = (int(rows[row]), int(pool[row, column]))
            relevant[row, column] = self.judged.get(key, relevant[row, column])
        return relevant


def learned_weights(
    judged: dict[tuple[int, int], float], queries: list[str], index: ItemIndex
) -> F64:
    """Fit relevance to the scores that read the query by least squares over the judged pairs.

    Args:
        judged: (row of the query, item) -> relevance.
        queries: text of each query.
        index: what the scores are computed from.

    Returns:
        Weights of the `QUERY_SCORES` scores, then of 1, (4,).
    """
    by_query: dict[int, list[int]] = {}
    for row, item in judged:
        by_query.setdefault(row, []).append(item)
    marks, wanted = [], []
    for row, items in by_query.items():
        anchors = query_anchors(index, [queries[row]])
        marks.append(_with_one(score_pairs(index, anchors, np.array([items]))[0]))
        wanted += [judged[row, item] for item in items]
    return np.linalg.lstsq(np.concatenate(marks), np.array(wanted), rcond=None)[0]


def _with_one(scores: F32) -> F64:
    """Return the `QUERY_SCORES` scores and a 1 behind them, (..., 4)."""
    match = scores[..., list(QUERY_SCORES)].astype(np.float64)
    return np.concatenate([match, np.ones((*match.shape[:-1], 1))], axis=-1)
