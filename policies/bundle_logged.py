"""Pages of a feedback log as a bundle would have met them: what it would have been told of each.

A log of a real shop must say what could have been shown: a column ``candidates``, the list of item
ids that were ranked (on any row of a slate; the slate's items are among them), beside
``shopper_id`` and, on search pages, ``query``. Features are not logged: the bundle computes them
from its own catalogue and profiles, as it would have done when asked.

Two more columns are those of a log of the service: ``beside``, the item that a page showed others
beside, and ``pages``, what the shopper had seen in the visit, as JSON. Without them a page is the
first of its session, and one without a query is a home page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs.errors import UserError
from policies.bundle_answer import Bundle
from policies.bundle_session import Past, Session, SessionPage
from policies.bundle_visit import Visit

CANDIDATES = "candidates"
#: Bytes of visits' similarity scores that are kept for the shopper's next page.
_KEPT = 2**28

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
#: Row of a shopper, the query and the item beside, if any -> what the bundle would have been asked.
FindVisit = Callable[[int, str | None, str | None], Visit]


class CannotRebuildError(UserError):
    """A logged page that a bundle cannot be asked for again; ``kind`` says why, for counting."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class LoggedPage:
    """One logged slate as the bundle sees it."""

    #: The log's rows of the slate, by position, (k,).
    rows: I64
    #: As `Bundle.observation_for` makes it, for one page.
    observation: dict[str, F32]
    #: The candidates, (N,).
    items: I64
    #: Places of the shown items among the candidates, (k,).
    slate: I64


@dataclass(frozen=True)
class LogColumns:
    """The columns that are asked for, as arrays of Python values, (R,)."""

    slate_id: NDArray[np.object_]
    item_id: NDArray[np.object_]
    candidates: NDArray[np.object_]
    shopper_id: NDArray[np.object_]
    query: NDArray[np.object_]
    beside: NDArray[np.object_]
    pages: NDArray[np.object_]

    @classmethod
    def of(cls, frame: pd.DataFrame, use: str) -> LogColumns:
        """Take the columns of a log.

        Raises:
            UserError: the log has no candidates, which ``use`` needs.
        """
        if CANDIDATES not in frame:
            raise UserError(
                f"{use} needs column {CANDIDATES!r} in the log: the ids of all items that could "
                "have been shown on the page, as a list."
            )
        nothing = np.full(len(frame), None, dtype=object)
        return cls(
            *(
                frame[name].to_numpy(dtype=object) if name in frame else nothing
                for name in cls.__dataclass_fields__
            )
        )


def cached_visits(bundle: Bundle) -> FindVisit:
    """Return what finds a shopper's visit, and remembers the latest ones.

    A query that nothing matches is a home page, as in `Bundle.recommend`.
    """

    def visit(row: int, query: str | None, beside: str | None = None) -> Visit:
        if beside is not None and beside in bundle.catalogue.item_position:
            return bundle.beside(row, bundle.catalogue.item_position[beside])
        if query:
            found = bundle.search(row, query)
            if len(bundle.candidates(found)):
                return found
        return bundle.home(row)

    a_visit = 4 * 6 * max(len(bundle.catalogue.item_position), 1)
    return lru_cache(maxsize=max(_KEPT // a_visit, 1))(visit)


def logged_page(log: LogColumns, rows: I64, bundle: Bundle, visit: FindVisit) -> LoggedPage:
    """Return the page of one slate.

    Args:
        log: the log.
        rows: its rows of the slate, by position, (k,).
        bundle: who is asked; a shopper that it does not know is the average one.
        visit: from `cached_visits`.

    Raises:
        CannotRebuildError: the log does not say what the bundle must be told.
    """
    slate_id, first = log.slate_id[rows[0]], rows[0]
    listed = [v for v in log.candidates[rows] if isinstance(v, list | tuple | np.ndarray)]
    if not listed:
        raise CannotRebuildError(
            "no candidates", f"column {CANDIDATES!r}: slate {slate_id!r} has no list of item ids."
        )
    items = known_items(list(dict.fromkeys(map(str, listed[0]))), bundle, f"slate {slate_id!r}")
    place = {item: n for n, item in enumerate(items.tolist())}
    shown = known_items([str(item) for item in log.item_id[rows]], bundle, f"slate {slate_id!r}")
    if not set(shown.tolist()) <= set(place):
        raise CannotRebuildError(
            "shown but no candidate",
            f"column {CANDIDATES!r}: slate {slate_id!r} shows an item that is not among them.",
        )
    shopper, query, beside = log.shopper_id[first], log.query[first], log.beside[first]
    unknown = len(bundle.rows)  # the average shopper
    row = bundle.rows.get(shopper, unknown) if isinstance(shopper, str) else unknown
    observation = bundle.observation_for(
        visit(row, _text(query), _text(beside)), items, _past(log.pages[rows], bundle, slate_id)
    )
    return LoggedPage(rows, observation, items, np.array([place[item] for item in shown.tolist()]))


def known_items(ids: list[str], bundle: Bundle, where: str) -> I64:
    """Return the indexes of items, (n,).

    Raises:
        CannotRebuildError: the bundle does not know one of them.
    """
    known = bundle.catalogue.item_position
    for item in ids:
        if item not in known:
            raise CannotRebuildError(
                "unknown item", f"{where}: item {item!r} is not in the bundle's catalogue."
            )
    return np.array([known[item] for item in ids], dtype=np.int64)


def side_by_side(pages: Sequence[LoggedPage], width: int) -> dict[str, F32]:
    """Return the observations of B pages as one, each padded to ``width`` masked candidates."""
    return {
        name: np.concatenate([_padded(one.observation[name], name, width) for one in pages])
        for name in pages[0].observation
    }


def _padded(values: F32, name: str, width: int) -> F32:
    """Zeros after the last candidate, which the mask of zeros says are none."""
    if name == "context":
        return values
    after = [(0, 0), (0, width - values.shape[1]), *[(0, 0)] * (values.ndim - 2)]
    return np.pad(values, after)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _past(pages: NDArray[np.object_], bundle: Bundle, slate_id: Any) -> Past | None:
    """What the shopper had seen, from the JSON on any row of a slate."""
    told = next((value for value in pages if isinstance(value, str)), None)
    if told is None:
        return None
    try:
        return bundle.past(Session([SessionPage(**page) for page in json.loads(told)]))
    except (ValueError, TypeError) as error:
        raise CannotRebuildError(
            "unreadable visit",
            f"column 'pages': slate {slate_id!r} does not say what the visit had shown, as a JSON "
            "list of objects with shown, clicked and bought.",
        ) from error
