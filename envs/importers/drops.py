"""Rows of a foreign log that break a rule: found, counted by reason, left out with their slates.

A slate is one event: without one of its rows its other rows say something else, so they go too.
Rules about a whole log (probabilities that do not multiply, an absent column) stay errors, because
leaving rows out would hide a mistake in every row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs.feedback import PROPENSITIES, TARGETS, slate_order

Bools = NDArray[np.bool_]

#: The reason given for the rows that go with a row of their slate.
WITH_SLATE = "in a slate with a row that was left out"

_WHOLE: tuple[tuple[str, ...], str, Callable[[NDArray[np.float64]], Bools]] = (
    ("position",), "is no whole number from 0 on", lambda x: (x >= 0) & (x == np.floor(x)),
)  # fmt: skip
#: Columns of numbers, what is wrong with a value, and whether it is right; NaN must not be.
_NUMBERS = (
    _WHOLE,
    (("reward",), "is no finite number", np.isfinite),
    (("click", "purchase", "done"), "is neither 0 nor 1", lambda x: np.isin(x, (0.0, 1.0))),
    (PROPENSITIES, "is no probability in (0, 1]", lambda x: (x > 0) & (x <= 1)),
    (TARGETS, "is no probability in [0, 1]", lambda x: (x >= 0) & (x <= 1)),
)
_IDENTIFIERS = ("slate_id", "item_id", "session_id")


def without_bad_rows(frame: pd.DataFrame) -> tuple[pd.DataFrame, Counter[str]]:
    """Return the log without rows that break a rule by themselves, and rows left out by reason.

    Columns of numbers that held anything else become numbers.
    """
    reason = pd.Series("", index=frame.index, dtype=object)
    for column in _IDENTIFIERS:
        if column in frame:
            _blame(reason, frame[column].isna().to_numpy(), f"{column} is missing")
    for columns, wrong, right in _NUMBERS:
        for column in columns:
            if column in frame:
                values = pd.to_numeric(frame[column], errors="coerce")
                frame = frame.assign(**{column: values})
                good = right(values.to_numpy(dtype=float, na_value=np.nan))
                _blame(reason, ~good, f"{column} {wrong}")
    return _without(frame, reason)


def without_broken_slates(frame: pd.DataFrame) -> tuple[pd.DataFrame, Counter[str]]:
    """Return the log without slates whose positions do not run 0, 1, ... or that repeat an item."""
    order, starts = slate_order(frame)
    lengths = np.diff(starts, append=len(order))
    expected = np.arange(len(order)) - np.repeat(starts, lengths)
    gap = np.zeros(len(frame), dtype=bool)
    gap[order] = frame["position"].to_numpy(dtype=float)[order] != expected
    slate = frame["slate_id"]
    reason = pd.Series("", index=frame.index, dtype=object)
    _blame(reason, slate.isin(slate[gap]).to_numpy(), "in a slate that lacks or repeats a position")
    twice = frame.duplicated(["slate_id", "item_id"]).to_numpy()
    _blame(reason, slate.isin(slate[twice]).to_numpy(), "in a slate that shows an item twice")
    return _without(frame, reason)


def _blame(reason: pd.Series, bad: Bools, why: str) -> None:
    """Give rows their first reason, in place."""
    reason.loc[bad & (reason == "").to_numpy()] = why


def _without(frame: pd.DataFrame, reason: pd.Series) -> tuple[pd.DataFrame, Counter[str]]:
    if "slate_id" in frame:
        gone = frame.loc[reason != "", "slate_id"].dropna()
        _blame(reason, frame["slate_id"].isin(gone).to_numpy(), WITH_SLATE)
    left = reason[reason != ""]
    return frame[reason == ""].reset_index(drop=True), Counter(left)
