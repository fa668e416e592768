"""What a shopper did in this visit, as the ranker sees it: the shop's own equations, on real pages.

The parameters are those of the shop that the ranker learned in (`envs.behaviour.ShopConfig`), and
come with the bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from envs.settings import Settings

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


class SessionSettings(Settings):
    """The shop's parameters of what was shown; see `envs.behaviour.ShopConfig`."""

    satiation_gain: float = Field(0.35, ge=0)
    """Exposure that a page full of one class adds to it."""
    satiation_decay: float = Field(0.8, ge=0, le=1)
    """Share of exposure that remains on the next page."""
    max_pages: int = Field(12, ge=1)
    """Pages of the longest visit that the ranker learned from; later ones count as the last."""


@dataclass(frozen=True)
class SessionPage:
    """One page that a shopper saw; ids of items."""

    shown: Sequence[str]
    clicked: Sequence[str] = ()
    #: Bought items count as clicked, and are not shown again.
    bought: Sequence[str] = ()


@dataclass(frozen=True)
class Session:
    """The pages that a shopper saw in this visit, oldest first."""

    pages: Sequence[SessionPage] = ()


@dataclass(frozen=True)
class Past:
    """A session as numbers; items that the bundle does not know are left out."""

    #: How much of each class was shown lately, (C,) float32.
    exposure: F32
    #: 1 where a class was clicked, (C,) float32.
    clicked: F32
    #: Pages so far (the last page's number where they are more), clicks on the last page, clicks
    #: and purchases of all pages.
    page: int
    clicks_last: int
    clicks: int
    purchases: int
    #: Items bought, (M,) int64.
    bought: I64
    #: Ids that are not in the catalogue.
    unknown: frozenset[str]


def past_of(
    session: Session,
    position: Mapping[str, int],
    class_index: I64,
    n_classes: int,
    slots: int,
    settings: SessionSettings,
) -> Past:
    """Return what the ranker is told of a session.

    On each page, exposure e of class c becomes ``decay e_c + gain / slots * (items of c shown)``,
    as `envs.kernels_session.turn_rows` has it.

    Args:
        session: pages, oldest first.
        position: item index by id.
        class_index: class of each item, (I,).
        n_classes: number of classes C.
        slots: length of the shop's page.
        settings: of the shop.
    """
    exposure, touched = np.zeros(n_classes, np.float32), np.zeros(n_classes, np.float32)
    last = clicks = purchases = 0
    bought: list[int] = []
    unknown: set[str] = set()

    def known(ids: Sequence[str]) -> list[int]:
        """Return the items of distinct ids, in order."""
        distinct = dict.fromkeys(ids)
        unknown.update(distinct.keys() - position.keys())
        return [position[item] for item in distinct if item in position]

    for page in session.pages:
        exposure = (exposure.astype(np.float64) * settings.satiation_decay).astype(np.float32)
        for kind in class_index[known(page.shown)]:
            exposure[kind] = np.float64(exposure[kind]) + settings.satiation_gain / slots
        clicked, taken = known([*page.clicked, *page.bought]), known(page.bought)
        touched[class_index[clicked]] = 1
        last = len(clicked)
        clicks, purchases = clicks + len(clicked), purchases + len(taken)
        bought += taken
    return Past(
        exposure, touched, min(len(session.pages), settings.max_pages - 1), last, clicks, purchases,
        np.array(list(dict.fromkeys(bought)), dtype=np.int64), frozenset(unknown),
    )  # fmt: skip
