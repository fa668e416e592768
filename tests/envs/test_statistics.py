"""Figures of a shop: counted by hand, and the laws of inequality measures."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from envs.catalogue import Catalogue
from envs.errors import UserError
from envs.statistics import (
    PUBLISHED,
    gini,
    shop_statistics,
    top_share,
    traffic_of_log,
    traffic_statistics,
)
from tests.shop_at_hand import hand_made


@pytest.fixture
def shop() -> Catalogue:
    rows = [(f"i{n}", f"Lamp {n}", "lamps" if n < 4 else "tents", "Lumo") for n in range(5)]
    catalogue = hand_made(rows, [("i0", "light", ["bright bulb"])])
    items = catalogue.items.assign(price=[10.0, 20.0, 30.0, 40.0, 99.0])
    return replace(catalogue, items=items)


@pytest.fixture
def log() -> pd.DataFrame:
    """Session a sees two pages of two items and buys once; session b sees one and leaves."""
    return pd.DataFrame(
        {
            "session_id": ["a", "a", "a", "a", "b", "b"],
            "slate_id": ["s1", "s1", "s2", "s2", "s3", "s3"],
            "item_id": ["i0", "i1", "i0", "i2", "i0", "i3"],
            "click": [1, 0, 1, 1, 0, 0],
            "purchase": [0, 0, 1, 0, 0, 0],
        }
    )


def test_gini_of_known_distributions() -> None:
    assert gini([3, 3, 3]) == 0
    # One of n holds all: 1 - 1/n.
    assert gini([0, 0, 0, 8]) == pytest.approx(0.75)
    # Half the mean absolute difference over the mean, by enumeration of all pairs.
    counts = np.random.default_rng(0).exponential(size=50)
    pairs = np.abs(counts[:, None] - counts[None]).mean() / (2 * counts.mean())
    assert gini(counts) == pytest.approx(pairs)


def test_gini_of_exponential_counts_is_one_half() -> None:
    n = 20_000
    # The error of the Gini coefficient of n exponential values is below 1 / sqrt(3 n).
    counts = np.random.default_rng(1).exponential(size=n)
    assert gini(counts) == pytest.approx(0.5, abs=3 / np.sqrt(3 * n))


def test_gini_ignores_order_and_scale() -> None:
    counts = np.array([5.0, 1, 0, 7, 2])
    assert gini(counts) == pytest.approx(gini(counts[::-1] * 3))


def test_top_share() -> None:
    assert top_share([1, 1, 1, 1, 6]) == 0.6
    assert top_share(np.ones(10)) == pytest.approx(0.2)
    assert top_share(np.arange(15), 0.2) == pytest.approx((14 + 13 + 12) / 105)
    assert top_share([4, 2, 2], 1.0) == 1
    # A fifth of six items is rounded up to two.
    assert top_share([0, 0, 0, 0, 2, 8]) == 1


def test_nothing_to_share_has_no_inequality() -> None:
    assert gini([0, 0]) is None
    assert top_share([0, 0]) is None


def test_traffic_of_a_log_counted_by_hand(shop: Catalogue, log: pd.DataFrame) -> None:
    traffic = traffic_of_log(log, shop)
    assert traffic.pages.tolist() == [2, 1]
    assert traffic.impressions.tolist() == [4, 2]
    assert traffic.clicks.tolist() == [3, 0]
    assert traffic.purchases.tolist() == [1, 0]
    assert traffic.item_impressions.tolist() == [3, 1, 1, 1, 0]
    assert traffic.item_clicks.tolist() == [2, 0, 1, 0, 0]
    assert traffic.item_purchases.tolist() == [1, 0, 0, 0, 0]
    figures = traffic_statistics(traffic)
    assert (figures.sessions, figures.ctr, figures.conversion) == (2, 0.5, 0.5)
    assert figures.purchases_per_click == pytest.approx(1 / 3)
    assert (figures.clicks_per_session, figures.pages_per_session) == (1.5, 1.5)
    assert figures.single_page == 0.5
    assert figures.pages["p50"] == 1.5
    assert figures.popularity["purchases"].top20 == 1
    assert figures.popularity["impressions"].top20 == 0.5


def test_order_of_rows_does_not_matter(shop: Catalogue, log: pd.DataFrame) -> None:
    shuffled = log.sample(frac=1, random_state=3)
    assert traffic_statistics(traffic_of_log(shuffled, shop)) == traffic_statistics(
        traffic_of_log(log, shop)
    )


def test_without_sessions_a_slate_is_a_session(shop: Catalogue, log: pd.DataFrame) -> None:
    traffic = traffic_of_log(log.drop(columns="session_id"), shop)
    assert traffic.pages.tolist() == [1, 1, 1]
    assert traffic.clicks.tolist() == [1, 2, 0]


def test_items_of_another_shop_count_for_sessions_only(shop: Catalogue, log: pd.DataFrame) -> None:
    traffic = traffic_of_log(log.assign(item_id="elsewhere"), shop)
    assert traffic.clicks.sum() == 3
    assert traffic.item_clicks.sum() == 0


def test_a_log_without_purchases_is_the_users_mistake(shop: Catalogue, log: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="column 'purchase' is missing"):
        traffic_of_log(log.drop(columns="purchase"), shop)


def test_shop_statistics_of_prices_ratings_and_history(shop: Catalogue) -> None:
    reviews = pd.DataFrame({"item_id": "i0", "shopper_id": "u", "rating": [5.0, 5, 4, 1]})
    history = pd.DataFrame({"item_id": ["i0"] * 4 + ["i1"], "shopper_id": "u"})
    figures = shop_statistics(replace(shop, reviews=reviews, history=history))
    assert figures.prices["lamps"] == pytest.approx({"p10": 13, "p50": 25, "p90": 37})
    assert figures.prices["tents"]["p90"] == 99
    assert figures.rating_mean == 3.75
    assert figures.ratings == {"1": 0.25, "2": 0, "3": 0, "4": 0.25, "5": 0.5}
    assert figures.history.top20 == 0.8
    assert figures.traffic is None


def test_an_empty_shop_is_described_without_nan(shop: Catalogue, log: pd.DataFrame) -> None:
    figures = shop_statistics(shop, traffic_of_log(log.iloc[:0], shop))
    assert figures.rating_mean is None
    assert figures.traffic is not None
    assert figures.traffic.ctr is None
    json.dumps(asdict(figures), allow_nan=False)


def test_published_ranges_name_their_source() -> None:
    for known in PUBLISHED:
        assert 0 < known.low < known.high
        assert any(year in known.source for year in ("2009", "2011", "2015", "2018", "2021"))
