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

from envs.files import sha256
from envs.world import relative_margin
from policies.bundle import Bundle, Filters, Shelf, load_bundle
from policies.bundle_files import MANIFEST
from policies.logging_policies import LoggingPolicy
from policies.service.messages import ShelfRequest
from policies.service.store import SlateRow

#: Scenes that a request can ask for.
SCENES = ("home", "similar", "search")
REASONS = ("tuned", "before", "none")
#: What the storefront page offers to choose from.
_SHOPPERS, _ITEMS, _QUERIES = 50, 36, 12


@dataclass(frozen=True)
class Served:
    """A loaded bundle and all that is computed once of it."""

    bundle: Bundle
    path: Path
    #: The first 16 hex digits of its manifest's SHA-256.
    id: str
    #: Margin of each item in median margins, by id.
    margins: dict[str, float]

    @property
    def name(self) -> dict[str, str]:
        """As answers name it."""
        return {"name": self.bundle.manifest.name, "id": self.id}


def serve_bundle(path: Path, live: bool = False) -> Served:
    """Check and load a bundle.

    Raises:
        UserError: it is none, is damaged, or is of a newer schema.
    """
    bundle = load_bundle(path, backend="onnx", live=live)
    short = sha256(path / MANIFEST)[:16]
    margins = map(float, relative_margin(bundle.catalogue))
    ids = bundle.catalogue.items["item_id"]
    # The first shelf of each kind compiles what it needs: seconds that no request should wait for.
    bundle.recommend(None)
    bundle.recommend(None, query=str(bundle.catalogue.items["title"].iloc[0]))
    return Served(bundle, path, short, dict(zip(ids, margins, strict=True)))


def new_slate_id(now: float) -> str:
    """Return 32 hex digits: milliseconds, then 80 random bits.

    Ids of one time lie together, so that the store's index grows at its end.
    """
    return f"{int(now * 1000) & 0xFFFFFFFFFFFF:012x}{os.urandom(10).hex()}"


def slate_key(slate_id: str) -> int:
    """Return the key of a slate's coins, 64 bits: whoever knows the id can sample it again."""
    return int.from_bytes(hashlib.sha256(slate_id.encode()).digest()[:8])


def make_shelf(
    served: Served, request: ShelfRequest, explore: LoggingPolicy | None
) -> tuple[dict[str, Any], SlateRow]:
    """Return the answer to a request, and what is to be stored before it goes out.

    Raises:
        UserError: the request names an item that the bundle does not know, or the like.
    """
    now = time.time()
    slate_id = new_slate_id(now)
    shelf = served.bundle.recommend(
        request.shopper, query=request.query, candidates=request.candidates, k=request.k,
        filters=Filters(request.min_price, request.max_price, request.out_of_stock),
        explained=request.explain,
    )  # fmt: skip
    visit = request.session
    session_id = visit.session_id if visit and visit.session_id else f"v{new_slate_id(now)}"
    step = len(visit.pages) if visit else 0
    policy = "top_k over tuned"
    answer = {
        "slate_id": slate_id,
        "session_id": session_id,
        "step": step,
        "shown_at": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
        "bundle": served.name,
        "scene": shelf.scene,
        "shopper": shelf.shopper,
        "segment": shelf.segment,
        "likes": shelf.likes,
        "notes": shelf.notes,
        "policy": policy,
        "items": _items(served, shelf),
    }
    shown = [
        [item.item_id, item.item_id, served.margins[item.item_id], 1.0, 1.0, 1.0]
        for item in shelf.items
    ]
    slate = {
        "slate_id": slate_id,
        "session_id": session_id,
        "step": step,
        "shown_at": now,
        "bundle_id": served.id,
        "shopper_id": request.shopper,
        "segment": shelf.segment,
        "scene": shelf.scene,
        "query": request.query if shelf.scene == "search" else None,
        "beside": request.item,
        "policy": policy,
        "candidates": _compact([item.item_id for item in shelf.items]),
        "shown": _compact(shown),
        "pages": _compact([page.model_dump() for page in visit.pages]) if step and visit else None,
    }
    return answer, SlateRow(slate)


def shop(served: Served, keys_needed: bool) -> dict[str, Any]:
    """Return what the storefront page offers to choose from."""
    from sft.tasks import segment_likes

    bundle = served.bundle
    catalogue, profiles = bundle.catalogue, bundle.profiles
    likes = segment_likes(catalogue, profiles)
    shoppers = list(bundle.rows.items())[:_SHOPPERS]
    table = catalogue.items
    stride = max(len(table) // _ITEMS, 1)
    items = table.iloc[::stride].head(_ITEMS)
    return {
        "name": catalogue.name,
        "locale": catalogue.locale,
        "currency": catalogue.currency,
        "bundle": served.name | {"slots": bundle.manifest.settings.slots},
        "shoppers": [
            {"shopper": shopper, "likes": likes[int(profiles.segment[row])]}
            for shopper, row in shoppers
        ],
        "queries": list(map(str, catalogue.classes))[:_QUERIES],
        "items": [
            {"item_id": item, "title": title}
            for item, title in zip(items["item_id"], items["title"])
        ],
        "scenes": list(SCENES),
        "reasons": list(REASONS),
        "keys_needed": keys_needed,
    }


def _items(served: Served, shelf: Shelf) -> list[dict[str, Any]]:
    currency = served.bundle.catalogue.currency
    return [
        {
            "position": position,
            "item_id": item.item_id,
            "title": item.title,
            "brand": item.brand,
            "price": item.price,
            "currency": currency,
            "score": item.score,
            "reason": item.reason,
            "reason_id": f"{item.item_id}/{shelf.segment}",
            "reason_source": item.reason_source,
            "facts": [
                {
                    "phrase": claim,
                    "start": item.reason.lower().find(claim.lower()),
                    "end": item.reason.lower().find(claim.lower()) + len(claim),
                    "aspect": "", "key": "", "value": claim,
                }
                for claim in item.claims
                if claim.lower() in item.reason.lower()
            ],
            "similarity": item.similarity,
            "contributions": item.contributions,
        }
        for position, item in enumerate(shelf.items)
    ]  # fmt: skip


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
