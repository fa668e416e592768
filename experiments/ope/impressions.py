"""Simulated pages laid out as a feedback log: DESIGN's columns, one row an impression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from envs.assemble import Visitors
from envs.sessions import SEARCH
from envs.similarity import SCENES
from envs.world import World

#: Arrays of S logged pages by name, in the order of session and step. One value a page (S,):
#: session, step, shopper, scene, anchor, day, done. One a slot (S, k): items, clicks, purchases,
#: slot_reward, and any column whose name contains ``pscore``. Optional: candidates (S, N), the
#: items that could have been shown, -1 where there is none.
Pages = Mapping[str, NDArray]

#: A page a minute, a session an hour, days where a shopper stays away so long: simulated time has
#: no other meaning. It starts on 2026-01-01 UTC.
_PAGE, _SESSION, _DAY, _EPOCH = 60, 3_600, 86_400, 1_767_225_600


@dataclass(frozen=True)
class ShopNames:
    """What a log calls the rows of a world's arrays."""

    items: pa.Array
    shoppers: pa.Array
    #: Texts of the queries; empty where they are not at hand, and no row has a query then.
    queries: pa.Array

    @classmethod
    def of(cls, visitors: Visitors) -> ShopNames:
        """Return the names of a catalogue and its shoppers."""
        catalogue = visitors.catalogue
        return cls.from_lists(
            catalogue.items["item_id"].tolist(),
            visitors.profiles.shopper_ids,
            catalogue.queries["query"].tolist(),
        )

    @classmethod
    def from_lists(cls, items: list[str], shoppers: list[str], queries: list[str]) -> ShopNames:
        """Return names given in the order of the world's arrays."""
        return cls(*(pa.array(names, pa.string()) for names in (items, shoppers, queries)))


def impressions_table(
    world: World, pages: Pages, names: ShopNames, logging_policy: str, first_slate: int = 0
) -> pa.Table:
    """Lay S pages of k slots out as S * k rows, slates numbered from ``first_slate`` on.

    ``query`` is missing off the search scene, ``reason_id`` (item/segment) where no reason is
    shown; ``candidates`` stands on each slate's first row.
    """
    slates, slots = pages["items"].shape
    each = {name: np.repeat(values, slots) for name, values in pages.items() if values.ndim == 1}
    items, segment = pages["items"].ravel(), world.segment[each["shopper"]]
    item_id = names.items.take(pa.array(items))
    reason_id = pc.binary_join_element_wise(item_id, pc.cast(pa.array(segment), pa.string()), "/")
    silent = (world.reasons.words[items, segment] == 0) | (world.config.reasons == "none")
    return pa.table(
        {
            "session_id": each["session"],
            "step": each["step"],
            "slate_id": first_slate + np.repeat(np.arange(slates), slots),
            "timestamp": _EPOCH
            + each["session"] * _SESSION
            + each["day"] * _DAY
            + each["step"] * _PAGE,
            "shopper_id": names.shoppers.take(pa.array(each["shopper"])),
            "segment": segment,
            "scene": pa.array(SCENES).take(pa.array(each["scene"])),
            "query": _queries(world, each, names),
            "position": np.tile(np.arange(slots), slates),
            "item_id": item_id,
            "reason_id": pc.if_else(pa.array(silent), pa.scalar(None, pa.string()), reason_id),
            "click": pages["clicks"].ravel().astype(np.int64),
            "purchase": pages["purchases"].ravel().astype(np.int64),
            "reward": pages["slot_reward"].ravel().astype(np.float64),
            **{name: values.ravel() for name, values in pages.items() if "pscore" in name},
            "logging_policy": pa.array([logging_policy]).take(
                pa.array(np.zeros(slates * slots, dtype=np.int64))
            ),
            "done": each["done"],
            **({"candidates": _candidates(pages, names)} if "candidates" in pages else {}),
        }
    )  # fmt: skip


def _candidates(pages: Pages, names: ShopNames) -> pa.Array:
    """Lists of item ids on the first row of each slate, null on its other rows."""
    offered, slots = pages["candidates"], pages["items"].shape[1]
    counts = np.zeros((len(offered), slots), dtype=np.int32)
    counts[:, 0] = (offered >= 0).sum(axis=1)
    ends = np.cumsum(counts.ravel(), dtype=np.int32)
    return pa.ListArray.from_arrays(
        pa.array(np.append(np.int32(0), ends)),
        names.items.take(pa.array(offered[offered >= 0])),
        mask=pa.array(np.tile(np.arange(slots) > 0, len(offered))),
    )


def _queries(world: World, each: Pages, names: ShopNames) -> pa.Array:
    """Text of the query that a row answers, null where none."""
    row = each["anchor"] - world.pools.first_row(SEARCH)
    none = (each["scene"] != SEARCH) | (len(names.queries) == 0)
    return names.queries.take(pa.array(row, mask=none))
