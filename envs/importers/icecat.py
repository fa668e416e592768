"""Import a folder of Icecat product data as a catalogue.

The folder holds tab-separated UTF-8 files without quoting: ``product.tsv`` and, if there are any,
``query.tsv`` and ``label.tsv`` (search queries and human relevance ratings). A damaged file is an
error that names file and line; a row that is merely poor is kept or dropped with a counted reason.
What becomes a fact is decided in ``icecat_aspects``; how strong it is, in ``icecat_facts``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from envs.catalogue import Catalogue, check_catalogue
from envs.errors import UserError
from envs.importers.icecat_aspects import ASPECTS
from envs.importers.icecat_facts import count_from_features, facts_table, proxy_quality
from envs.importers.icecat_files import (
    read_labels,
    read_products,
    read_queries,
    split_features,
    tidy_text,
    tidy_title,
    unique_titles,
)
from envs.margins import default_margin

QUALITY_NOTE = (
    "Quality is a stand-in: this source has no ratings, so it is made of the strength and number "
    "of an item's facts and of how new the item is within its class."
)
CURRENCY_NOTE = "The source names no currency: prices (price_cents / 100) are taken as euros."
MARGIN_NOTE = (
    "Margins are assumed from the price (thin on dear goods): replace them by your own margins."
)
STRENGTH_NOTE = (
    "Strength of a fact: how good its number is within its class, or how rare it is there."
)


@dataclass(frozen=True)
class ImportResult:
    """A catalogue and an account of what was left out."""

    catalogue: Catalogue
    #: Reason -> number of rows, feature pairs or facts that were dropped.
    dropped: dict[str, int]
    #: What was kept but is poor: reason -> number of items.
    poor: dict[str, int]
    #: Facts read from the data sheet; the others come from titles and descriptions.
    facts_from_features: int

    def summary_lines(self) -> list[str]:
        """Return the account as lines for a person."""
        catalogue = self.catalogue
        facts_of = catalogue.facts["item_id"].value_counts()
        rich = int((facts_of >= 3).sum()) / catalogue.n_items
        return [
            f"{catalogue.n_items:,} items in {len(catalogue.classes)} classes; {rich:.0%} of them "
            "have 3 facts or more",
            f"{len(catalogue.facts):,} facts of {len(catalogue.aspects)} aspects: "
            f"{self.facts_from_features:,} from {len(catalogue.features):,} features, the others "
            "from titles and descriptions",
            *(f"dropped {count:,}: {reason}" for reason, count in self.dropped.items()),
            *(f"kept {count:,}: {reason}" for reason, count in self.poor.items()),
        ]


def sample_evenly(rows: list[Any], limit: int | None, dropped: Counter[str]) -> list[Any]:
    """Return ``limit`` rows spread over the whole list: files are sorted by age and brand.

    Raises:
        UserError: for a limit below 1.
    """
    if limit is None or limit >= len(rows):
        return rows
    if limit < 1:
        raise UserError(f"limit: must be at least 1, but met {limit}; leave it out to keep all")
    dropped["products beyond the limit"] += len(rows) - limit
    return [rows[i * len(rows) // limit] for i in range(limit)]


def items_table(products: list[dict[str, str]], poor: Counter[str]) -> pd.DataFrame:
    """Return the items without quality and margin, with their release date."""
    for product in products:
        product["product_class"] = product["product_class"].strip() or "other"
        product["brand"] = tidy_text(product["brand"]) or "unbranded"
        product["product_description"] = tidy_text(product["product_description"])
        if not product["product_description"]:
            poor["items without a description"] += 1
    ids = [product["product_id"] for product in products]
    text: dict[str, list[str]] = {
        "item_id": ids,
        "title": unique_titles([tidy_title(p["product_name"]) for p in products], ids),
        "class": [p["product_class"] for p in products],
        "brand": [p["brand"] for p in products],
        "description": [p["product_description"] for p in products],
        "date_released": [p["date_released"].strip() for p in products],
    }
    items = pd.DataFrame({name: pd.Series(cells, dtype="str") for name, cells in text.items()})
    items["price"] = np.array([float(p["price_cents"]) for p in products]) / 100
    return items


def import_icecat(folder: Path, *, limit: int | None = None) -> ImportResult:
    """Read an Icecat folder into a checked catalogue.

    Args:
        folder: Holds product.tsv and perhaps query.tsv and label.tsv.
        limit: Keep at most this many products, spread evenly over the file.

    Raises:
        UserError: for a missing folder or file, or a damaged row; the message names file and line.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the path of a folder with product.tsv")
    dropped: Counter[str] = Counter()
    poor: Counter[str] = Counter()
    products = read_products(folder / "product.tsv", dropped)
    products = sample_evenly(products, limit, dropped)
    items = items_table(products, poor)
    features = [split_features(p["product_features"], dropped) for p in products]
    facts = facts_table(products, features, dropped)
    facts_of = facts["item_id"].nunique()
    poor["items without features"] = sum(not known for known in features)
    poor["items without a fact"] = len(items) - facts_of

    items["quality"] = proxy_quality(items, facts)
    items["margin"] = default_margin(items["price"].to_numpy())
    queries = read_queries(folder / "query.tsv")
    judgements = read_labels(
        folder / "label.tsv", set(queries["query_id"]), set(items["item_id"]), dropped
    )
    flat = [
        (product["product_id"], key, " ".join(value.split()))
        for product, known in zip(products, features, strict=True)
        for key, value in known.items()
    ]
    used = set(facts["aspect"])
    catalogue = Catalogue(
        name=folder.resolve().name,
        locale="en",
        currency="EUR",
        aspects=[aspect for aspect in ASPECTS if aspect in used],
        items=items[
            ["item_id", "title", "class", "brand", "price", "margin", "quality", "description"]
        ],
        facts=facts,
        features=pd.DataFrame(flat, columns=["item_id", "key", "value"], dtype="str"),
        queries=queries,
        judgements=judgements,
        notes=[QUALITY_NOTE, CURRENCY_NOTE, MARGIN_NOTE, STRENGTH_NOTE],
    )
    return ImportResult(
        catalogue=check_catalogue(catalogue, str(folder)),
        dropped={reason: count for reason, count in dropped.items() if count},
        poor={reason: count for reason, count in poor.items() if count},
        facts_from_features=count_from_features(facts, catalogue.features),
    )
