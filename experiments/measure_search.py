"""How relevant an order is: NDCG@10 on the products that people judged, with paired intervals.

Protocol. A query counts when at least `AT_LEAST` products were judged for it and one of them is
relevant at all (NDCG is 0/0 otherwise). A ranker orders the judged products of a query and nothing
else: what nobody judged is neither right nor wrong. Gain 2^r - 1 of rating r, discount log2(1 +
place), cut at `CUTOFF` (Burges et al. 2005, "Learning to rank using gradient descent"; Järvelin,
Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques"). Tied items are averaged over
all their orders (McSherry, Najork 2008), so that a random order has its exact expectation: that of
one big tie. Queries are what varies: intervals are bootstrapped over them, and all rankers are
compared on the same resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.catalogue import Catalogue
from envs.similarity import SCORES, ItemIndex, query_anchors, score_pairs
from experiments.simulate import Difference, Figure

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Judged products that a query needs.
AT_LEAST = 10
#: Places that count.
CUTOFF = 10
#: Resamples of the queries behind an interval.
_RESAMPLES = 4_000
#: Parts that the queries are cut into when weights are chosen on the others.
FOLDS = 5


@dataclass(frozen=True)
class JudgedQuery:
    """A query and what people said of n products for it."""

    #: Row in the catalogue's table of queries.
    row: int
    text: str
    #: Item indexes, (n,) int64.
    items: I64
    #: 0 irrelevant .. 3 exact, (n,) float64.
    ratings: F64


def judged_queries(
    catalogue: Catalogue, at_least: int = AT_LEAST
) -> tuple[list[JudgedQuery], dict[str, int]]:
    """Return the queries that can be measured, and how many were left out by reason."""
    texts = dict(zip(catalogue.queries["query_id"], catalogue.queries["query"]))
    rows = {query: row for row, query in enumerate(texts)}
    table = catalogue.judgements.assign(item=catalogue.positions(catalogue.judgements["item_id"]))
    kept: list[JudgedQuery] = []
    left_out = {f"fewer than {at_least} judged products": 0, "no relevant product": 0}
    few, nothing = left_out
    for query, part in table.groupby("query_id", sort=False):
        if len(part) < at_least:
            left_out[few] += 1
        elif not (part["rating"] > 0).any():
            left_out[nothing] += 1
        else:
            items = part["item"].to_numpy(dtype=np.int64)
            ratings = part["rating"].to_numpy(dtype=np.float64)
            kept.append(JudgedQuery(rows[query], texts[query], items, ratings))
    return kept, left_out


def ndcg(scores: NDArray[np.floating], ratings: F64, cutoff: int = CUTOFF) -> F64:
    """NDCG of S orders of n items by falling score, ties averaged, (S,) float64 in [0, 1].

    Args:
        scores: (S, n).
        ratings: (n,), one of them above 0 at least.
        cutoff: places that count.
    """
    rows, n = scores.shape
    gain = np.exp2(ratings) - 1
    discount = 1 / np.log2(np.arange(n) + 2)
    discount[cutoff:] = 0
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    # Equal scores form a group; each of its places gets the group's mean gain.
    start = np.ones((rows, n), dtype=bool)
    start[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    group = start.ravel().cumsum() - 1
    mean = np.bincount(group, gain[order].ravel()) / np.bincount(group)
    found = mean[group].reshape(rows, n) @ discount
    return found / (np.sort(gain)[::-1] @ discount)


def six_scores(index: ItemIndex, judged: Sequence[JudgedQuery]) -> list[F32]:
    """Return the six scores of each query's judged products, (n, 6) float32 each."""
    return [
        score_pairs(index, query_anchors(index, [query.text]), query.items[None])[0]
        for query in judged
    ]


def fold_of(count: int, rng: np.random.Generator) -> I64:
    """Cut ``count`` queries into `FOLDS` parts of equal size at random, (count,) int64."""
    return rng.permutation(count) % FOLDS


@dataclass(frozen=True)
class BestMix:
    """The best fixed weights of the six scores, and what such weights are worth elsewhere."""

    #: Chosen on all queries, (6,) float32.
    weights: F32
    #: NDCG of each query under weights that were chosen on the other folds alone, (Q,) float64.
    crossed: F64


def best_mix(
    tables: Sequence[F32], judged: Sequence[JudgedQuery], tried: F32, folds: I64
) -> BestMix:
    """Find the weights with the highest mean NDCG among those ``tried``, (M, 6).

    A figure on the queries that chose the weights would flatter them; so each query is measured
    under the choice of the others.
    """
    worth = np.stack(
        [ndcg(tried @ table.T, query.ratings) for table, query in zip(tables, judged)], axis=1
    )
    crossed = np.empty(len(judged))
    for fold in range(FOLDS):
        chosen = int(worth[:, folds != fold].mean(axis=1).argmax())
        crossed[folds == fold] = worth[chosen, folds == fold]
    return BestMix(tried[int(worth.mean(axis=1).argmax())], crossed)


def tried_mixes(count: int, rng: np.random.Generator) -> F32:
    """Return equal weights, each score alone and ``count`` weights of a flat Dirichlet, (M, 6)."""
    size = len(SCORES)
    drawn = rng.dirichlet(np.ones(size), size=count)
    return np.concatenate([np.full((1, size), 1 / size), np.eye(size), drawn]).astype(np.float32)


@dataclass(frozen=True)
class Relevance:
    """NDCG of each ranker and query; resamples of the queries are shared by all comparisons."""

    #: By ranker, (Q,) float64.
    ndcg: Mapping[str, F64]
    #: Queries of each resample, (R, Q) int64.
    resamples: I64

    def figures(self, level: float = 0.95) -> dict[str, Figure]:
        """Return means with percentile bootstrap intervals by ranker."""
        return {name: self._figure(values, level) for name, values in self.ndcg.items()}

    def paired(self, pairs: Sequence[tuple[str, str]], level: float = 0.95) -> list[Difference]:
        """Return the differences a - b over the same queries."""

        def difference(a: str, b: str) -> Difference:
            f = self._figure(self.ndcg[a] - self.ndcg[b], level)
            return Difference(a=a, b=b, metric="ndcg", diff=f["mean"], low=f["low"], high=f["high"])

        return [difference(a, b) for a, b in pairs]

    def _figure(self, values: F64, level: float) -> Figure:
        means = values[self.resamples].mean(axis=1)
        low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
        return {"mean": float(values.mean()), "low": float(low), "high": float(high)}


def relevance(by_ranker: Mapping[str, F64], rng: np.random.Generator) -> Relevance:
    """Draw the resamples that figures and differences rest on."""
    count = len(next(iter(by_ranker.values())))
    return Relevance(by_ranker, rng.integers(count, size=(_RESAMPLES, count)))
