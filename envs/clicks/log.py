"""Logged pages as a click model is fitted to them: who stood where, and what was clicked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs.clicks.base import Bools
from envs.errors import UserError
from envs.feedback import slate_order

I64 = NDArray[np.int64]


@dataclass(frozen=True)
class ClickLog:
    """S pages of k positions.

    Raises:
        UserError: the arrays are empty, differ in shape or hold what is no click or item.
    """

    #: True where the position was clicked, (S, k) bool.
    clicks: Bools
    #: Index 0..items-1 of what stood there: an item, or a pair of query and item, (S, k) int64.
    shown: I64
    #: Number of attractions to learn; what is never shown is told by the prior alone.
    items: int

    def __post_init__(self) -> None:
        clicks, shown = self.clicks, self.shown
        if clicks.ndim != 2 or clicks.shape != shown.shape or clicks.size == 0:
            raise UserError(
                "click log: clicks and shown items are two tables of the same shape (pages, "
                f"positions), not empty; got {clicks.shape} and {shown.shape}"
            )
        if clicks.dtype != bool or not np.issubdtype(shown.dtype, np.integer):
            raise UserError(
                "click log: clicks are true or false and shown items are whole numbers; "
                f"got {clicks.dtype} and {shown.dtype}"
            )
        if shown.min() < 0 or shown.max() >= self.items:
            raise UserError(
                f"click log: shown items lie between 0 and {self.items - 1} (the number of items "
                f"less one); got {shown.min()} to {shown.max()}"
            )

    def part(self, pages: slice | I64 | Bools) -> ClickLog:
        """Return some of the pages, with the same items; to fit on one part and test on another."""
        return ClickLog(self.clicks[pages], self.shown[pages], self.items)


def click_log(
    frame: pd.DataFrame, by: Sequence[str] = ("item_id",)
) -> tuple[ClickLog, pd.DataFrame]:
    """Turn a feedback log (`envs.feedback`) with a column ``click`` into a `ClickLog`.

    Args:
        frame: the log, rows in any order; every slate has the same number of positions.
        by: columns that together decide the attraction, such as ``("query", "item_id")``.

    Returns:
        The click log, and what each of its item indexes stands for: a table with columns ``by``.

    Raises:
        UserError: a column is missing, or slates differ in length.
    """
    missing = [name for name in ("click", *by) if name not in frame]
    if missing:
        raise UserError(
            f"feedback log: column {missing[0]!r} is needed to fit a click model; the log has "
            f"{', '.join(map(str, frame.columns))}"
        )
    order, starts = slate_order(frame)
    lengths = np.diff(np.append(starts, len(order)))
    if len(set(lengths.tolist())) != 1:
        raise UserError(
            "feedback log: a click model is fitted to slates of one length, got lengths from "
            f"{lengths.min()} to {lengths.max()}; keep one length"
        )
    groups = frame.groupby(list(by), sort=True, dropna=False)
    shape = (len(starts), int(lengths[0]))
    codes = groups.ngroup().to_numpy(dtype=np.int64)[order].reshape(shape)
    clicks = frame["click"].to_numpy(dtype=bool)[order].reshape(shape)
    names = groups.size().reset_index()[list(by)]
    return ClickLog(clicks, codes, len(names)), names
