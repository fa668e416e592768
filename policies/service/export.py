"""The store as a feedback log (`envs.feedback`): a row for each item that was shown.

A click or a purchase of an item counts once for a slate, however many events tell of it. Who bought
has clicked, as in the simulated shop, whether or not the click was told; purchases of one item add
their values. ``reward = w_click * click + w_buy * value``, in median margins of the catalogue.

``step`` numbers the slates of a session by the time at which they were shown, because a client may
ask twice for the same step; ``done`` stands on the last one. Columns beyond the log's own:
``candidates`` on the first row of each slate (what ``shelftalk ope --target BUNDLE`` asks for),
``beside`` (the item of a `similar` shelf), ``pages`` (what the shopper had seen, as JSON, on the
first row) and ``bundle``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from envs.errors import UserError
from envs.feedback_store import FeedbackWriter
from envs.files import atomic_folder
from envs.progress import Progress, silent
from policies.service.schema import EVENTS, SLATES, open_engine, reason, require_store, shown_url

#: Slates that are held in memory at once, about: a session is never cut in two.
_CHUNK = 2_000

_PROPENSITIES = ("pscore", "pscore_cascade", "pscore_item_position")
_SCHEMA = pa.schema(
    {
        "session_id": pa.string(),
        "step": pa.int64(),
        "slate_id": pa.string(),
        "timestamp": pa.int64(),
        "shopper_id": pa.string(),
        "segment": pa.int64(),
        "scene": pa.string(),
        "query": pa.string(),
        "position": pa.int64(),
        "item_id": pa.string(),
        "reason_id": pa.string(),
        "click": pa.int64(),
        "purchase": pa.int64(),
        "reward": pa.float64(),
        **{name: pa.float64() for name in _PROPENSITIES},
        "logging_policy": pa.string(),
        "done": pa.bool_(),
        "candidates": pa.list_(pa.string()),
        "beside": pa.string(),
        "pages": pa.string(),
        "bundle": pa.string(),
    }
)


@dataclass(frozen=True)
class ExportOptions:
    """What of the store becomes a log, and what its feedback is worth."""

    #: Unix seconds; slates shown from here on, and before there. None leaves that side open.
    since: float | None = None
    until: float | None = None
    #: Reward of a click, and of a median margin earned by a purchase.
    w_click: float = 0.2
    w_buy: float = 1.0
    #: Shoppers are named by their HMAC-SHA256 under this key; None leaves their ids.
    hash_key: bytes | None = None


def export_log(
    store: str, out: Path, options: ExportOptions, progress: Progress = silent
) -> dict[str, Any]:
    """Write the log of a store to the new folder ``out``; a service may go on writing meanwhile.

    Returns:
        ``sessions, slates, impressions, clicks, purchases, reward, empty_slates``.

    Raises:
        UserError: there is no store, nothing was shown in that time, or ``out`` is there already.
    """
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise UserError(f"feedback export: {out} exists already; give a new folder")
    engine = open_engine(store, reading=True)
    require_store(engine)
    counts: dict[str, Any] = dict.fromkeys(
        ("sessions", "slates", "impressions", "clicks", "purchases", "empty_slates"), 0
    )
    counts["reward"] = 0.0
    try:
        with engine.connect() as connection, connection.begin(), atomic_folder(out) as folder:
            total = connection.scalar(_slates(options, sa.func.count())) or 0
            with FeedbackWriter(folder, description={"source": "shelftalk serve"}) as writer:
                for slates in _sessions(connection, options):
                    table = _table(slates, _events(connection, slates), options, counts)
                    if len(table):
                        writer.append(table)
                    progress(counts["slates"], total, {"clicks": counts["clicks"]})
            if not counts["impressions"]:
                raise UserError(
                    f"{shown_url(engine)}: no item was shown in that time; widen --since and "
                    "--until, or serve first"
                )
    except sa.exc.SQLAlchemyError as error:
        raise UserError(f"{shown_url(engine)}: cannot be read ({reason(error)})") from error
    finally:
        engine.dispose()
    return counts


def _slates(options: ExportOptions, *columns: Any) -> sa.Select[Any]:
    query = sa.select(*columns).select_from(SLATES)
    if options.since is not None:
        query = query.where(SLATES.c.shown_at >= options.since)
    if options.until is not None:
        query = query.where(SLATES.c.shown_at < options.until)
    return query


def _sessions(
    connection: sa.Connection, options: ExportOptions
) -> Iterator[list[list[sa.Row[Any]]]]:
    """Yield whole sessions, so many that they hold about `_CHUNK` slates."""
    query = _slates(options, *SLATES.c).order_by(
        SLATES.c.session_id, SLATES.c.shown_at, SLATES.c.slate_id
    )
    found = connection.execution_options(yield_per=_CHUNK).execute(query)
    held: list[list[sa.Row[Any]]] = []
    slates = 0
    for _, rows in groupby(found, key=lambda row: row.session_id):
        held.append(list(rows))
        slates += len(held[-1])
        if slates >= _CHUNK:
            yield held
            held, slates = [], 0
    if held:
        yield held


@dataclass
class _Told:
    """What events tell of one item of a slate."""

    clicked: bool = False
    bought: bool = False
    value: float = 0.0


def _events(
    connection: sa.Connection, sessions: Sequence[Sequence[sa.Row[Any]]]
) -> dict[tuple[str, str], _Told]:
    """What was told of each (slate_id, item_id)."""
    told: dict[tuple[str, str], _Told] = defaultdict(_Told)
    ids = [slate.slate_id for session in sessions for slate in session]
    for first in range(0, len(ids), _CHUNK):
        some = ids[first : first + _CHUNK]
        query = sa.select(EVENTS.c.slate_id, EVENTS.c.item_id, EVENTS.c.type, EVENTS.c.value)
        for event in connection.execute(query.where(EVENTS.c.slate_id.in_(some))):
            one = told[event.slate_id, event.item_id]
            one.clicked = True
            if event.type == "purchase":
                one.bought = True
                one.value += event.value
    return told


def _table(
    sessions: Sequence[Sequence[sa.Row[Any]]],
    told: dict[tuple[str, str], _Told],
    options: ExportOptions,
    counts: dict[str, Any],
) -> pa.Table:
    """The rows of whole sessions; what they hold is added to ``counts``."""
    rows: list[dict[str, Any]] = []
    for session in sessions:
        shown = [slate for slate in session if slate.shown != "[]"]
        counts["sessions"] += bool(shown)
        counts["slates"] += len(shown)
        counts["empty_slates"] += len(session) - len(shown)
        for step, slate in enumerate(shown):
            rows += _rows(slate, step, step == len(shown) - 1, told, options)
    counts["impressions"] += len(rows)
    counts["clicks"] += sum(row["click"] for row in rows)
    counts["purchases"] += sum(row["purchase"] for row in rows)
    counts["reward"] += sum(row["reward"] for row in rows)
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def _rows(
    slate: sa.Row[Any], step: int, last: bool, told: dict[tuple[str, str], _Told],
    options: ExportOptions,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    same = {
        "session_id": slate.session_id,
        "step": step,
        "slate_id": slate.slate_id,
        "timestamp": int(slate.shown_at),
        "shopper_id": _named(slate.shopper_id, options.hash_key),
        "segment": slate.segment,
        "scene": slate.scene,
        "query": slate.query,
        "logging_policy": slate.policy,
        "done": last,
        "beside": slate.beside,
        "bundle": slate.bundle_id,
    }
    for position, (item, reason_id, _, *chances) in enumerate(json.loads(slate.shown)):
        one = told.get((slate.slate_id, item)) or _Told()
        yield {
            **same,
            "position": position,
            "item_id": item,
            "reason_id": reason_id,
            "click": int(one.clicked),
            "purchase": int(one.bought),
            "reward": options.w_click * one.clicked + options.w_buy * one.value,
            **dict(zip(_PROPENSITIES, chances, strict=True)),
            "candidates": None if position else json.loads(slate.candidates),
            "pages": None if position else slate.pages,
        }


def _named(shopper: str | None, key: bytes | None) -> str | None:
    if shopper is None or key is None:
        return shopper
    return hmac.new(key, shopper.encode(), hashlib.sha256).hexdigest()[:32]
