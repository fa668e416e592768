"""A bundle as the target policy of a log: the probability of each logged slate under its ranker.

A log of a real shop must say what could have been shown: one more column, ``candidates``, the list
of item ids that were ranked (on any row of a slate; the slate's items are among them), beside
``shopper_id`` and, on search pages, ``query``. Features are not logged: the bundle computes them
from its own catalogue and profiles, as it would have done when asked. So the target is the shelf
that ``recommend`` deploys. It keeps the bundle's rules, which count in the probabilities: what they
filter has none.

Two more columns are those of a log of the service: ``beside``, the item that a page showed others
beside, and ``pages``, what the shopper had seen in the visit, as JSON. Without them a page is the
first of its session, and one without a query is a home page.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs import sessions
from envs.errors import UserError
from envs.feedback import PROPENSITIES, slate_order
from envs.progress import Progress, silent
from envs.sessions import SEARCH
from envs.world import World
from experiments.ope.impressions import ShopNames
from policies.baselines import Page, SlatePolicy
from policies.bundle import Bundle, Session, SessionPage, Visit
from policies.bundle_session import Past
from policies.constraints import with_rules
from policies.constraints_page import page_rules
from policies.logging_policies import LoggingPolicy

CANDIDATES = "candidates"
#: Slates whose logits are computed at once.
_BATCH = 512
#: Bytes of visits' similarity scores that are kept for the shopper's next page.
_KEPT = 2**28

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
#: Row of a shopper, the query and the item beside, if any -> what the bundle would have been asked.
FindVisit = Callable[[int, str | None, str | None], Visit]


@dataclass(frozen=True)
class _Asked:
    """One logged slate as the bundle sees it."""

    #: The log's rows of the slate, by position, (k,).
    rows: I64
    #: As `Bundle.observation_for` makes it, for one page.
    observation: dict[str, NDArray[np.float32]]
    #: The candidates, (N,).
    items: I64
    #: Places of the shown items among the candidates, (k,).
    slate: I64


def bundle_target(
    frame: pd.DataFrame, bundle: Bundle, rule: LoggingPolicy, *, progress: Progress = silent
) -> pd.DataFrame:
    """Return the log with ``eval_pscore, eval_pscore_cascade, eval_pscore_item_position``.

    Args:
        frame: a feedback log with ``candidates``.
        bundle: an exported shelf.
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
    slates = np.split(order, starts[1:])
    log = _Log.of(frame)
    visit = cached_visits(bundle)
    columns = {f"eval_{name}": np.empty(len(frame)) for name in PROPENSITIES}
    for first in range(0, len(slates), _BATCH):
        asked = [_ask(log, rows, bundle, visit) for rows in slates[first : first + _BATCH]]
        for length in {len(one.slate) for one in asked}:
            alike = [one for one in asked if len(one.slate) == length]
            for name, values in _chances(alike, bundle, rule).items():
                columns[f"eval_{name}"][np.concatenate([one.rows for one in alike])] = (
                    values.ravel()
                )
        progress(min(first + _BATCH, len(slates)), len(slates), {})
    return frame.assign(**columns)


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


@dataclass(frozen=True)
class _Log:
    """The columns that are asked for, as arrays of Python values, (R,)."""

    slate_id: NDArray[np.object_]
    item_id: NDArray[np.object_]
    candidates: NDArray[np.object_]
    shopper_id: NDArray[np.object_]
    query: NDArray[np.object_]
    beside: NDArray[np.object_]
    pages: NDArray[np.object_]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> _Log:
        nothing = np.full(len(frame), None, dtype=object)
        return cls(
            *(
                frame[name].to_numpy(dtype=object) if name in frame else nothing
                for name in (
                    "slate_id",
                    "item_id",
                    CANDIDATES,
                    "shopper_id",
                    "query",
                    "beside",
                    "pages",
                )
            )
        )


def _ask(log: _Log, rows: I64, bundle: Bundle, visit: FindVisit) -> _Asked:
    slate_id, first = log.slate_id[rows[0]], rows[0]
    listed = [v for v in log.candidates[rows] if isinstance(v, list | tuple | np.ndarray)]
    if not listed:
        raise UserError(f"column {CANDIDATES!r}: slate {slate_id!r} has no list of item ids.")
    items = _items(list(dict.fromkeys(map(str, listed[0]))), bundle, f"slate {slate_id!r}")
    place = {item: n for n, item in enumerate(items.tolist())}
    shown = _items([str(item) for item in log.item_id[rows]], bundle, f"slate {slate_id!r}")
    if not set(shown.tolist()) <= set(place):
        raise UserError(
            f"column {CANDIDATES!r}: slate {slate_id!r} shows an item that is not among them."
        )
    shopper, query, beside = log.shopper_id[first], log.query[first], log.beside[first]
    unknown = len(bundle.rows)  # the average shopper
    row = bundle.rows.get(shopper, unknown) if isinstance(shopper, str) else unknown
    observation = bundle.observation_for(
        visit(row, _text(query), _text(beside)), items, _past(log.pages[rows], bundle)
    )
    return _Asked(rows, observation, items, np.array([place[item] for item in shown.tolist()]))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _past(pages: NDArray[np.object_], bundle: Bundle) -> Past | None:
    """What the shopper had seen, from the JSON on any row of a slate."""
    told = next((value for value in pages if isinstance(value, str)), None)
    if told is None:
        return None
    return bundle.past(Session([SessionPage(**page) for page in json.loads(told)]))


def _items(ids: list[str], bundle: Bundle, where: str) -> I64:
    known = bundle.catalogue.item_position
    for item in ids:
        if item not in known:
            raise UserError(f"{where}: item {item!r} is not in the bundle's catalogue.")
    return np.array([known[item] for item in ids], dtype=np.int64)


def _chances(asked: list[_Asked], bundle: Bundle, rule: LoggingPolicy) -> dict[str, F64]:
    """The three propensities of slates of one length, (B, k) each; candidates padded to one N."""
    widest = max(one.observation["mask"].shape[1] for one in asked)
    observation = {
        name: np.concatenate([_padded(one.observation[name], name, widest) for one in asked])
        for name in asked[0].observation
    }
    slates = np.stack([one.slate for one in asked])
    rules = None
    if bundle.rules is not None:
        items = np.stack([np.pad(one.items, (0, widest - len(one.items))) for one in asked])
        rules = page_rules(bundle.rules, items, observation["mask"], slates.shape[1])
        observation["mask"] = rules.mask
    found = rule.propensities(bundle.logits(observation), observation["mask"], slates, rules)
    return {name: found[name] for name in PROPENSITIES}


def _padded(values: NDArray[np.float32], name: str, width: int) -> NDArray[np.float32]:
    """Zeros after the last candidate, which the mask of zeros says are none."""
    if name == "context":
        return values
    after = [(0, 0), (0, width - values.shape[1]), *[(0, 0)] * (values.ndim - 2)]
    return np.pad(values, after)


def bundle_policy(bundle: Bundle, world: World, names: ShopNames) -> SlatePolicy:
    """Return the bundle as a policy of the simulated shop whose items and shoppers it knows.

    It scores a page by what `bundle_target` is told of it: shopper, query and candidates.

    Args:
        bundle: an exported shelf.
        world: the shop.
        names: what the shop's rows are called.

    Raises:
        UserError: the bundle does not know an item of the shop.
    """
    items = _items(names.items.to_pylist(), bundle, "the shop")
    known = [bundle.rows.get(name, len(bundle.rows)) for name in names.shoppers.to_pylist()]
    queries, visit = names.queries.to_pylist(), cached_visits(bundle)
    first_query = world.pools.first_row(SEARCH)

    def score(page: Page) -> NDArray[np.float32]:
        _, candidates = sessions.candidates(world, page.state)
        seen = []
        for row, shopper in enumerate(page.state.shopper):
            searching = page.state.scene[row] == SEARCH
            query = queries[page.state.anchor[row] - first_query] if searching else None
            asked = visit(known[shopper], query, None)
            seen.append(bundle.observation_for(asked, items[candidates[row]]))
        joined = {name: np.concatenate([one[name] for one in seen]) for name in seen[0]}
        # What may be shown is the page's, not what the bundle would guess.
        return bundle.logits(joined | {"mask": page.observation["mask"]})

    return SlatePolicy("bundle", score)


def bundle_world(bundle: Bundle, world: World, names: ShopNames) -> World:
    """Return the shop under the bundle's rules, instead of its own.

    Raises:
        UserError: the bundle does not know an item of the shop.
    """
    if bundle.rules is None:
        return with_rules(world, None)
    items = _items(names.items.to_pylist(), bundle, "the shop")
    return with_rules(world, bundle.rules.over(items))
