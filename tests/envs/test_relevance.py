"""Hidden relevance in search: what people judged, and what that makes of the rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from envs.catalogue import Catalogue, typed_table
from envs.relevance import QUERY_SCORES, Relevance
from envs.similarity import SCENES, SCORES, query_anchors, score_pairs
from tests.shop_at_hand import small_shop

SEARCH = SCENES.index("search")


def _scores(row: int, items: np.ndarray) -> np.ndarray:
    """The six scores of items for the query in a row of the table, (n, 6)."""
    shop = small_shop()
    text = shop.visitors.catalogue.queries["query"].tolist()[row]
    return score_pairs(shop.index, query_anchors(shop.index, [text]), items[None])[0]


def _judged(per_query: int) -> Catalogue:
    """The small shop, judged by text, graph and words alone: 3 (0.2 t + 0.3 g + 0.4 s)."""
    catalogue = small_shop().visitors.catalogue
    items = np.arange(per_query)
    rows = []
    for row, query in enumerate(catalogue.queries["query_id"]):
        wanted = 3 * _scores(row, items)[:, list(QUERY_SCORES)] @ np.array([0.2, 0.3, 0.4])
        rows += [
            (query, catalogue.items["item_id"][item], float(rating))
            for item, rating in zip(items, wanted)
        ]
    table = pd.DataFrame(rows, columns=["query_id", "item_id", "rating"])
    return replace(catalogue, judgements=typed_table(table, "judgements", "hand"))


def test_what_nobody_judged_is_judged_as_the_rest_was() -> None:
    catalogue = _judged(per_query=20)
    relevance = Relevance(catalogue, small_shop().index)
    assert relevance.weights is not None
    np.testing.assert_allclose(relevance.weights, [0.2, 0.3, 0.4, 0], atol=1e-5)
    others = np.arange(30, 40)
    scores = _scores(0, others)
    found = relevance.of(SEARCH, np.array([0]), others[None], scores[None])[0]
    expected = scores[:, list(QUERY_SCORES)] @ np.array([0.2, 0.3, 0.4])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_judgement_stands_whatever_the_scores_say() -> None:
    catalogue = _judged(per_query=20)
    ratings = catalogue.judgements["rating"].to_numpy(copy=True)
    ratings[0] = 3.0
    table = catalogue.judgements.assign(rating=ratings)
    relevance = Relevance(replace(catalogue, judgements=table), small_shop().index)
    items = np.array([0])
    found = relevance.of(SEARCH, items, items[None], _scores(0, items)[None])
    assert found.tolist() == [[1.0]]


def test_a_few_judgements_teach_nothing_of_the_others() -> None:
    catalogue = small_shop().visitors.catalogue
    few = _judged(per_query=2).judgements.head(20)
    relevance = Relevance(replace(catalogue, judgements=few), small_shop().index)
    assert relevance.weights is None
    items = np.arange(30, 40)
    scores = _scores(1, items)
    found = relevance.of(SEARCH, np.array([1]), items[None], scores[None])[0]
    np.testing.assert_array_equal(found, scores[:, SCORES.index("scene")])
