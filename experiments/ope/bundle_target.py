"""A bundle as the target policy of a log: the probability of each logged slate under its ranker.

A log of a real shop must say what could have been shown: one more column, ``candidates``, the list
of item ids that were ranked (on any row of a slate; the slate's items are among them), beside
``shopper_id`` and, on search pages, ``query``. Features are not logged: the bundle computes them
from its own catalogue and profiles, as it would have done when asked.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs.errors import UserError
from envs.feedback import PROPENSITIES, slate_order
from envs.progress import Progress, silent
from policies.bundle import Bundle, Visit
from policies.logging_policies import LoggingPolicy

CANDIDATES = "candidates"


def bundle_target(
    frame: pd.DataFrame, bundle: Bundle, rule: LoggingPolicy, *, progress: Progress = silent
) -> pd.DataFrame:
    """Return the log with ``eval_pscore, eval_pscore_cascade, eval_pscore_item_position``.

    Args:
        frame: a feedback log with ``candidates``.
        bundle: an exported shelf; each page is taken for the first of its session, as it does.
        rule: how its logits become slates: `PlackettLuce(1.0)` samples as the ranker was trained,
            `TopK()` shows what ``recommend`` shows, which few logged slates will match.
        progress: called with slates done and slates in all.

    Raises:
        UserError: the log has no candidates, or the bundle does not know an item.
    """
    if CANDIDATES not in frame:
        raise UserError(
            f"a bundle as the target needs column {CANDIDATES!r} in the log: the ids of all items "
            "that could have been shown on the page, as a list."
        )
    order, starts = slate_order(frame)
    ends = np.append(starts[1:], len(order))
    columns = {f"eval_{name}": np.empty(len(frame)) for name in PROPENSITIES}
    for done, (start, end) in enumerate(zip(starts, ends), start=1):
        rows = order[start:end]
        found = _slate(frame.iloc[rows], bundle, rule)
        for name in PROPENSITIES:
            columns[f"eval_{name}"][rows] = found[name]
        if done % 1_000 == 0 or done == len(starts):
            progress(done, len(starts), {})
    return frame.assign(**columns)


def _slate(
    rows: pd.DataFrame, bundle: Bundle, rule: LoggingPolicy
) -> dict[str, NDArray[np.float64]]:
    """The three propensities of one slate, (k,) each."""
    slate_id = rows["slate_id"].tolist()[0]
    listed = [value for value in rows[CANDIDATES] if isinstance(value, list | tuple | np.ndarray)]
    if not listed:
        raise UserError(f"column {CANDIDATES!r}: slate {slate_id!r} has no list of item ids.")
    items = _items(list(dict.fromkeys(map(str, listed[0]))), bundle, slate_id)
    place = {item: n for n, item in enumerate(items.tolist())}
    shown = _items([str(item) for item in rows["item_id"]], bundle, slate_id)
    if not set(shown.tolist()) <= set(place):
        raise UserError(
            f"column {CANDIDATES!r}: slate {slate_id!r} shows an item that is not among them."
        )
    observation = bundle.observation_for(_visit(rows, bundle), items)
    slate = np.array([[place[item] for item in shown.tolist()]])
    chances = rule.propensities(bundle.logits(observation), observation["mask"], slate)
    return {name: values[0] for name, values in chances.items()}


def _items(ids: list[str], bundle: Bundle, slate_id: object) -> NDArray[np.int64]:
    known = bundle.catalogue.item_position
    for item in ids:
        if item not in known:
            raise UserError(f"slate {slate_id!r}: item {item!r} is not in the bundle's catalogue.")
    return np.array([known[item] for item in ids], dtype=np.int64)


def _visit(rows: pd.DataFrame, bundle: Bundle) -> Visit:
    """What the bundle would have been asked: a query that nothing matches is a home page."""
    shopper = rows["shopper_id"].iloc[0] if "shopper_id" in rows else None
    row = bundle.rows.get(shopper, len(bundle.rows)) if isinstance(shopper, str) else None
    row = len(bundle.rows) if row is None else row
    query = rows["query"].iloc[0] if "query" in rows else None
    if isinstance(query, str) and query:
        visit = bundle.search(row, query)
        if len(bundle.candidates(visit)):
            return visit
    return bundle.home(row)
