"""What a shop looks like in numbers, beside what real shops and data sets publish.

`shop_statistics` takes a catalogue and the `Traffic` of a simulation or of a feedback log, and
returns the figures that people compare shops by; `PUBLISHED` holds the ranges we know of, each with
its source. A rate whose denominator is 0 is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from envs.catalogue import Catalogue
from envs.errors import UserError

F64 = NDArray[np.float64]

#: Quantiles that spread is described by, with their names.
QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}
_LOG_COLUMNS = ("slate_id", "item_id", "click", "purchase")


@dataclass(frozen=True)
class Published:
    """A range that shops or data sets publish for a figure of `TrafficStatistics` or others."""

    figure: str
    low: float
    high: float
    source: str


PUBLISHED = (
    Published(
        "ctr", 0.003, 0.05,
        "Open Bandit Dataset (Saito et al. 2021), campaign All: 0.35 % under random and 0.50 % "
        "under Thompson sampling; Ali-CCP (Ma et al. 2018): 3.4 of 84 million impressions, 4.0 %",
    ),
    Published(
        "purchases_per_click", 0.005, 0.035,
        "Ali-CCP: 18 thousand of 3.4 million clicks, 0.5 %; Retailrocket data set (2015): 22,457 "
        "purchases for 2,664,312 product views, 0.8 %; RecSys Challenge 2015 (YooChoose): 1.15 of "
        "33.0 million clicks, 3.5 %",
    ),
    Published(
        "conversion", 0.014, 0.055,
        "Littledata on Shopify shops: 1.4 % of sessions on average, 4.7 % in the best tenth; "
        "RecSys Challenge 2015: 509,696 of 9,249,729 sessions with a click, 5.5 %",
    ),
    Published(
        "popularity.clicks.top20", 0.5, 0.8,
        "the 80/20 rule of sales, and that those online are less concentrated: Brynjolfsson, Hu "
        "and Simester 2011, Management Science 57(8)",
    ),
    Published(
        "rating_mean", 3.9, 4.4,
        "ratings in shops are mostly kind: Hu, Zhang and Pavlou 2009, CACM 52(10); reviews of "
        "electronics at Amazon up to 2013 (McAuley and Leskovec) average about 3.9, and over half "
        "of them give five stars",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Traffic:
    """What n sessions saw and did in a shop of I items."""

    #: Pages, impressions, clicks and purchases of each session, (n,) float64 each.
    pages: F64
    impressions: F64
    clicks: F64
    purchases: F64
    #: The same by item, (I,) float64 each.
    item_impressions: F64
    item_clicks: F64
    item_purchases: F64


@dataclass(frozen=True)
class Popularity:
    """How unevenly a count is spread over items."""

    #: 0 if all items have the same, towards 1 if one has all.
    gini: float | None
    #: Share of the fifth of items that have most.
    top20: float | None


@dataclass(frozen=True)
class TrafficStatistics:
    """Figures of sessions."""

    sessions: int
    #: Clicks by impression.
    ctr: float | None
    purchases_per_click: float | None
    #: Share of sessions with a purchase.
    conversion: float | None
    clicks_per_session: float | None
    pages_per_session: float | None
    #: Quantiles of pages by session, as in `QUANTILES`.
    pages: dict[str, float]
    #: Share of sessions that end after their first page.
    single_page: float | None
    #: Of impressions, clicks and purchases.
    popularity: dict[str, Popularity]


@dataclass(frozen=True)
class ShopStatistics:
    """Figures of a shop; `dataclasses.asdict` makes them JSON."""

    items: int
    #: Quantiles of the price by class, in the catalogue's currency.
    prices: dict[str, dict[str, float]]
    rating_mean: float | None
    #: Share of each number of stars, "1" to "5".
    ratings: dict[str, float | None]
    #: Of the events of the history.
    history: Popularity
    #: None where no session was given.
    traffic: TrafficStatistics | None


def gini(counts: ArrayLike) -> float | None:
    """Return the Gini coefficient sum_i (2 i - n - 1) x_i / (n sum_i x_i), x ascending, i from 1.

    It is half the mean absolute difference of two items over their mean (Gini 1912).

    Args:
        counts: numbers >= 0, (n,).
    """
    ascending = np.sort(np.asarray(counts, dtype=np.float64))
    n = len(ascending)
    rank = 2 * np.arange(1, n + 1) - n - 1
    return _ratio((rank * ascending).sum(), n * ascending.sum())


def top_share(counts: ArrayLike, share: float = 0.2) -> float | None:
    """Return what the ``share`` of items that have most hold of the sum.

    Their number is rounded up.

    Args:
        counts: numbers >= 0, (n,).
        share: in (0, 1].
    """
    descending = -np.sort(-np.asarray(counts, dtype=np.float64))
    # 0.2 of 15 items is 3 of them, though the product is a hair above 3.
    top = int(np.ceil(share * len(descending) - 1e-9))
    return _ratio(descending[:top].sum(), descending.sum())


def popularity(counts: ArrayLike) -> Popularity:
    """Return how unevenly ``counts`` (I,) are spread over items."""
    return Popularity(gini(counts), top_share(counts))


def traffic_of_log(log: pd.DataFrame, catalogue: Catalogue) -> Traffic:
    """Count the traffic of a feedback log (`envs.feedback`): one row an impression.

    Args:
        log: columns slate_id, item_id, click and purchase; a session is a session_id, or a slate
            where the log has none.
        catalogue: the shop; items that it does not have count for sessions only.

    Raises:
        UserError: for a missing column.
    """
    for column in _LOG_COLUMNS:
        if column not in log:
            raise UserError(
                f"feedback log: column {column!r} is missing; statistics need "
                f"{', '.join(_LOG_COLUMNS)}"
            )
    session_of = log["session_id"] if "session_id" in log else log["slate_id"]
    session, names = pd.factorize(session_of)
    # The rows of a page share its session: one of them stands for the page.
    first = ~pd.DataFrame({"session": session, "slate": log["slate_id"].to_numpy()}).duplicated()
    item = pd.Index(catalogue.items["item_id"]).get_indexer(log["item_id"])
    known = item >= 0
    flags = [np.ones(len(log)), *(log[c].to_numpy(dtype=np.float64) for c in ("click", "purchase"))]

    def count(rows: NDArray[np.intp], bins: int, weights: F64 | None = None) -> F64:
        return np.bincount(rows, weights, minlength=bins).astype(np.float64)

    return Traffic(
        count(session[first], len(names)),
        *(count(session, len(names), flag) for flag in flags),
        *(count(item[known], catalogue.n_items, flag[known]) for flag in flags),
    )


def traffic_statistics(traffic: Traffic) -> TrafficStatistics:
    """Return the figures of some sessions."""
    n = len(traffic.pages)
    clicks = traffic.clicks.sum()
    return TrafficStatistics(
        sessions=n,
        ctr=_ratio(clicks, traffic.impressions.sum()),
        purchases_per_click=_ratio(traffic.purchases.sum(), clicks),
        conversion=_ratio((traffic.purchases > 0).sum(), n),
        clicks_per_session=_ratio(clicks, n),
        pages_per_session=_ratio(traffic.pages.sum(), n),
        pages=_quantiles(traffic.pages),
        single_page=_ratio((traffic.pages == 1).sum(), n),
        popularity={
            "impressions": popularity(traffic.item_impressions),
            "clicks": popularity(traffic.item_clicks),
            "purchases": popularity(traffic.item_purchases),
        },
    )


def shop_statistics(catalogue: Catalogue, traffic: Traffic | None = None) -> ShopStatistics:
    """Return the figures of a shop, and of its traffic if there is any."""
    price = catalogue.items["price"].to_numpy(dtype=np.float64)
    rating = catalogue.reviews["rating"].to_numpy(dtype=np.float64)
    met = pd.Index(catalogue.items["item_id"]).get_indexer(catalogue.history["item_id"])
    return ShopStatistics(
        items=catalogue.n_items,
        prices={
            name: _quantiles(price[catalogue.class_index == index])
            for index, name in enumerate(catalogue.classes)
        },
        rating_mean=_ratio(rating.sum(), len(rating)),
        ratings={
            str(stars): _ratio((rating.round() == stars).sum(), len(rating))
            for stars in range(1, 6)
        },
        history=popularity(np.bincount(met, minlength=catalogue.n_items)),
        traffic=None if traffic is None else traffic_statistics(traffic),
    )


def _ratio(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole else None


def _quantiles(values: Sequence[float] | F64) -> dict[str, float]:
    """Return the `QUANTILES` by name; none of no values."""
    if not len(values):
        return {}
    return {name: float(np.quantile(values, q)) for name, q in QUANTILES.items()}
