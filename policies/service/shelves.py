"""A bundle that answers requests: what is shown, and what is stored of it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from envs.errors import UserError
from envs.world import relative_margin
from policies.bundle import Bundle, Explore, Filters, Session, SessionPage, Shelf, load_bundle
from policies.bundle_live import DEADLINE, OUTCOMES
from policies.logging_policies import LoggingPolicy
from policies.service import metrics
from policies.service.messages import ShelfRequest, Visit
from policies.service.store import SlateRow

#: Scenes that a request can ask for.
SCENES = ("home", "similar", "search")
#: What the storefront page offers to choose from.
_SHOPPERS, _ITEMS, _QUERIES = 50, 36, 12
#: Shelves that take longer (seconds, median) are made in a thread, so that others can be answered.
_QUICK = 0.01
_WARM = 9

#: The least positive float64: what a probability is called that is too small for one.
_TINY = 5e-324


@dataclass(frozen=True)
class Served:
    """A loaded bundle and all that is computed once of it."""

    bundle: Bundle
    path: Path
    #: Margin of each item in median margins, by id.
    margins: dict[str, float]
    #: Whether a shelf without explanation is made in a few milliseconds.
    quick: bool

    @property
    def name(self) -> dict[str, str]:
        """As answers name it."""
        return {"name": self.bundle.manifest.name, "id": self.bundle.id}


@dataclass(frozen=True)
class Made:
    """A shelf that was made: the answer, and what is stored before it goes out."""

    answer: dict[str, Any]
    row: SlateRow
    #: Why the shelf does not explore although it should; None where it is as it should be.
    refused: str | None


def serve_bundle(
    path: Path,
    live: bool = False,
    explore: LoggingPolicy | None = None,
    deadline: float = DEADLINE,
) -> Served:
    """Check, load and warm up a bundle.

    Raises:
        UserError: it is none, is damaged, is of a newer schema, or cannot be explored like that.
    """
    bundle = load_bundle(path, live=live, deadline=deadline)
    if bundle.live is not None:
        bundle.live.tell = lambda outcome: metrics.LIVE.labels(outcome).inc()
        for outcome in OUTCOMES:
            metrics.LIVE.labels(outcome)  # who looks finds a 0 before the first one
    ids, margins = bundle.labels.ids, map(float, relative_margin(bundle.catalogue))
    took = _warmed(bundle, explore)
    # A shelf that may wait for the language model must not keep others waiting.
    quick = took < _QUICK and bundle.live is None
    return Served(bundle, path, dict(zip(ids, margins, strict=True)), quick)


def _warmed(bundle: Bundle, explore: LoggingPolicy | None) -> float:
    """Ask for shelves of each kind; return the median seconds of one at home.

    The first ones compile what they need, which takes seconds that no request should wait for.
    """
    rule = None if explore is None else Explore(explore, 0)
    bundle.recommend(None, query=bundle.labels.titles[0], explore=rule)
    bundle.recommend(None, item=bundle.labels.ids[0], explore=rule)
    took = []
    for shopper in [None, *list(bundle.rows)[: _WARM - 1]]:
        began = time.perf_counter()
        bundle.recommend(shopper, explore=rule)
        took.append(time.perf_counter() - began)
    return sorted(took)[len(took) // 2]


def new_slate_id(now: float) -> str:
    """Return 32 hex digits: milliseconds, then 80 random bits.

    Ids of one time lie together, so that the store's index grows at its end.
    """
    return f"{int(now * 1000) & 0xFFFFFFFFFFFF:012x}{os.urandom(10).hex()}"


def slate_key(slate_id: str) -> int:
    """Return the key of a slate's coins, 64 bits: whoever knows the id can sample it again."""
    return int.from_bytes(hashlib.sha256(slate_id.encode()).digest()[:8])


def make_shelf(served: Served, asked: ShelfRequest, explore: LoggingPolicy | None) -> Made:
    """Return the shelf of a request.

    Raises:
        UserError: the request cannot be carried out, such as for candidates that nobody knows.
    """
    now = time.time()
    slate_id = new_slate_id(now)
    visit = asked.session or Visit()
    session_id = visit.session_id or f"v{new_slate_id(now)}"
    refused = None
    rule = None if explore is None else Explore(explore, slate_key(slate_id))
    try:
        shelf = _recommend(served.bundle, asked, rule)
    except UserError as error:
        if rule is None:
            raise
        # Either the request is at fault, and this raises again; or the scores of this page lie too
        # far apart for the rule, whatever the coins: then showing the best shelf is the policy.
        shelf, refused = _recommend(served.bundle, asked, None), str(error)
    answer = {
        "slate_id": slate_id,
        "session_id": session_id,
        "step": len(visit.pages),
        "shown_at": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
        "bundle": served.name,
        "scene": shelf.scene,
        "shopper": shelf.shopper,
        "segment": shelf.segment,
        "likes": shelf.likes,
        "notes": shelf.notes,
        "policy": shelf.policy,
        "items": _items(shelf, served.bundle.catalogue.currency),
    }
    shown = [
        [
            item.item_id, item.reason_id or None, served.margins[item.item_id],
            *(max(p, _TINY) for p in (item.pscore, item.pscore_cascade, item.pscore_item_position)),
        ]
        for item in shelf.items
    ]  # fmt: skip
    slate = {
        "slate_id": slate_id,
        "session_id": session_id,
        "step": len(visit.pages),
        "shown_at": now,
        "bundle_id": served.bundle.id,
        "shopper_id": asked.shopper,
        "segment": shelf.segment,
        "scene": shelf.scene,
        "query": asked.query if shelf.scene == "search" else None,
        "beside": asked.item if shelf.scene == "similar" else None,
        "policy": f"{shelf.policy} over {asked.ranker}",
        "candidates": _compact(shelf.candidates),
        "shown": _compact(shown),
        "pages": _compact([page.model_dump() for page in visit.pages]) if visit.pages else None,
    }
    return Made(answer, SlateRow(slate), refused)


def shop(served: Served, keys_needed: bool) -> dict[str, Any]:
    """Return what the storefront page offers to choose from."""
    bundle = served.bundle
    catalogue, labels = bundle.catalogue, bundle.labels
    stride = max(len(labels.ids) // _ITEMS, 1)
    items = list(zip(labels.ids, labels.titles))[::stride][:_ITEMS]
    return {
        "name": catalogue.name,
        "locale": catalogue.locale,
        "currency": catalogue.currency,
        "bundle": served.name | {"slots": bundle.manifest.settings.slots},
        "shoppers": [
            {"shopper": shopper, "likes": bundle.segment_likes[int(bundle.profiles.segment[row])]}
            for shopper, row in list(bundle.rows.items())[:_SHOPPERS]
        ],
        # The words for its kinds of items: queries that every shop can answer.
        "queries": list(map(str, catalogue.classes))[:_QUERIES],
        "items": [{"item_id": item, "title": title} for item, title in items],
        "scenes": list(SCENES),
        "reasons": list(bundle.reasons),
        "keys_needed": keys_needed,
    }


def _recommend(bundle: Bundle, asked: ShelfRequest, explore: Explore | None) -> Shelf:
    pages = asked.session.pages if asked.session else ()
    return bundle.recommend(
        asked.shopper, asked.query, asked.candidates, asked.k,
        Filters(asked.min_price, asked.max_price, asked.out_of_stock), asked.explain,
        item=asked.item, explore=explore, ranker=asked.ranker, reasons=asked.reasons,
        session=Session([SessionPage(p.shown, p.clicked, p.bought) for p in pages]),
    )  # fmt: skip


def _items(shelf: Shelf, currency: str) -> list[dict[str, Any]]:
    return [
        {
            "position": item.position,
            "item_id": item.item_id,
            "title": item.title,
            "brand": item.brand,
            "price": item.price,
            "currency": currency,
            # Digits beyond these would be read by nobody, and cost more to write than all else.
            "score": round(item.score, 5),
            "reason": item.reason,
            "reason_id": item.reason_id or None,
            "reason_source": item.reason_source,
            "facts": [
                {
                    "phrase": fact.phrase, "start": fact.start, "end": fact.end,
                    "aspect": fact.aspect, "key": fact.key, "value": fact.value,
                }
                for fact in item.facts
            ],
            "similarity": {name: round(value, 4) for name, value in item.similarity.items()},
            "contributions": {n: round(value, 5) for n, value in item.contributions.items()},
        }
        for item in shelf.items
    ]  # fmt: skip


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
