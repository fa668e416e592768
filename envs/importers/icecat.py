"""Import a folder of Icecat product data as a catalogue.

The folder holds tab-separated UTF-8 files without quoting: ``product.tsv`` and, if there are any,
``query.tsv`` and ``label.tsv`` (search queries and human relevance ratings). A damaged file is an
error that names file and line; a row that is merely poor is kept or dropped with a counted reason.
What becomes a fact is decided in ``icecat_aspects``; how strong it is, here.
"""

from __future__ import annotations

import html
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs.catalogue import Catalogue, check_catalogue, empty_table
from envs.errors import UserError, nearest
from envs.importers.icecat_aspects import (
    ABSENT,
    ASPECTS,
    EVERYDAY,
    MOST_WORDS,
    Product,
    Reading,
    Rule,
    is_logistics,
    plain_number,
    readings,
    title_features,
)
from envs.margins import default_margin

PRODUCT_COLUMNS = [
    *("product_id", "product_name", "product_class", "brand", "price_cents", "date_released"),
    *("product_description", "product_features"),
]
QUERY_COLUMNS = ["query_id", "query"]
LABEL_COLUMNS = ["query_id", "product_id", "rating"]

MOST_FACTS = 7
#: Strength of a numeric fact when its class has too few values to compare it with.
LONE_STRENGTH = 0.6
FEWEST_TO_COMPARE = 5
#: A number this many times above or below the median of its class is of another unit.
FAR = 200.0
FEWEST_FOR_FAR = 10

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


# --- Reading the files ------------------------------------------------------------------------


def read_rows(path: Path, columns: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, row) of a tab-separated file whose header has ``columns``.

    Lines are counted from 1, the header included. Further columns are allowed.

    Raises:
        UserError: for a missing file or column, a row of another width, or bytes beyond UTF-8.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; an Icecat folder needs {path.name}")
    try:
        # Not splitlines(): it would also cut at exotic separators inside a value.
        lines = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: must be UTF-8, but byte {error.start} is not; save it again as UTF-8"
        ) from error
    header = lines[0].split("\t")
    for column in columns:
        if column not in header:
            raise UserError(
                f"{path}, line 1: column {column!r} is missing; the header has "
                f"{', '.join(header)}.{nearest(column, header)}"
            )
    if lines[-1] == "":
        lines.pop()
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        if len(cells) != len(header):
            raise UserError(
                f"{path}, line {number}: a row must have {len(header)} columns, but this one has "
                f"{len(cells)}; the row may be cut short or hold a stray tab or line break"
            )
        yield number, dict(zip(header, cells, strict=True))


def read_products(path: Path, dropped: Counter[str]) -> list[dict[str, str]]:
    """Read and check the products; rows without a name or price are dropped and counted.

    Raises:
        UserError: for a price that is no number or negative, or an id that is empty or repeated.
    """
    products: list[dict[str, str]] = []
    line_of: dict[str, int] = {}
    for number, row in read_rows(path, PRODUCT_COLUMNS):
        item = row["product_id"] = row["product_id"].strip()
        if not item:
            raise UserError(f"{path}, line {number}: product_id must not be empty; give it an id")
        if item in line_of:
            raise UserError(
                f"{path}, line {number}: product_id must be unique, but {item!r} is already on "
                f"line {line_of[item]}; remove or rename one of them"
            )
        line_of[item] = number
        cents = row["price_cents"].strip()
        price = plain_number(cents) if cents else 0.0
        if price is None or price < 0:
            raise UserError(
                f"{path}, line {number}: price_cents must be a number of at least 0, but met "
                f"{cents!r}; mend the price (an empty one drops the product)"
            )
        if price == 0:
            dropped["products without a price"] += 1
        elif not tidy_text(row["product_name"]):
            dropped["products without a name"] += 1
        else:
            products.append(row)
    if not products:
        raise UserError(f"{path}: it has no product with a name and a price; a shop needs one")
    return products


def read_queries(path: Path) -> pd.DataFrame:
    """Read the queries: query_id, query.

    Raises:
        UserError: for a repeated query_id.
    """
    if not path.exists():
        return empty_table("queries")
    texts: dict[str, str] = {}
    for number, row in read_rows(path, QUERY_COLUMNS):
        if row["query_id"] in texts:
            raise UserError(
                f"{path}, line {number}: query_id must be unique, but {row['query_id']!r} occurs "
                "twice; remove or rename the second one"
            )
        texts[row["query_id"]] = tidy_text(row["query"])
    return pd.DataFrame({"query_id": list(texts), "query": list(texts.values())}, dtype="str")


def read_labels(
    path: Path, queries: set[str], items: set[str], dropped: Counter[str]
) -> pd.DataFrame:
    """Read the relevance ratings: query_id, item_id, rating 0..3.

    Ratings of products that are not in the catalogue are dropped and counted; of several ratings
    of one pair the last counts.

    Raises:
        UserError: for an unknown query or a rating outside 0..3.
    """
    if not path.exists():
        return empty_table("judgements")
    ratings: dict[tuple[str, str], float] = {}
    for number, row in read_rows(path, LABEL_COLUMNS):
        query, item = row["query_id"], row["product_id"].strip()
        if query not in queries:
            raise UserError(
                f"{path}, line {number}: query_id must name a query of query.tsv, but met "
                f"{query!r}; add the query or remove the label"
            )
        rating = plain_number(row["rating"])
        if rating is None or not 0 <= rating <= 3:
            raise UserError(
                f"{path}, line {number}: rating must be a number from 0 (irrelevant) to 3 "
                f"(exact), but met {row['rating']!r}; mend it"
            )
        if item not in items:
            dropped["ratings of products that are not in the catalogue"] += 1
            continue
        if (query, item) in ratings:
            dropped["earlier ratings of the same query and product"] += 1
        ratings[query, item] = rating
    if not ratings:
        return empty_table("judgements")
    pairs = list(ratings)
    return pd.DataFrame(
        {
            "query_id": pd.Series([query for query, _ in pairs], dtype="str"),
            "item_id": pd.Series([item for _, item in pairs], dtype="str"),
            "rating": list(ratings.values()),
        }
    )


# --- Cleaning ---------------------------------------------------------------------------------


def tidy_text(raw: str) -> str:
    """Return text without markup, entities, written-out line breaks and doubled spaces."""
    text = html.unescape(re.sub(r"<[^<>]*>", " ", raw))
    return re.sub(r"\s+", " ", re.sub(r"\\+[nrt]", " ", text)).strip()


def tidy_title(raw: str) -> str:
    """Return a product name without the trailing piece count that says nothing, "1 pc(s)"."""
    title = tidy_text(raw)
    return re.sub(r"\s+1 pc\(s\)$", "", title) or title


def split_features(cell: str, dropped: Counter[str]) -> dict[str, str]:
    """Split ``key:value|key:value`` at each first colon; what is left out is counted.

    Written-out line breaks in a value become real ones, so that its first line can be told apart.
    """
    features: dict[str, str] = {}
    for pair in cell.split("|") if cell.strip() else ():
        key, colon, raw = pair.partition(":")
        key = key.strip()
        value = re.sub(r"[ \t]+", " ", re.sub(r"(\\+[nrt])+", "\n", html.unescape(raw))).strip()
        if not key or not colon:
            dropped["feature pairs without a key"] += 1
        elif not value or value.lower() in ABSENT - {"false", "n", "no"}:
            dropped["feature values that say nothing (empty, N/A)"] += 1
        elif is_logistics(key):
            dropped["features of boxes, pallets and article numbers"] += 1
        elif key in features:
            dropped["repeated feature keys"] += 1
        else:
            features[key] = value
    return features


def with_body_size(features: Mapping[str, str]) -> dict[str, str]:
    """Add ``body_size`` (width x depth x height, mm): Icecat gives it in one key or in three."""
    width, depth, height = (features.get(key, "") for key in ("width", "depth", "height"))
    whole = features.get("dimensions__wxdxh_", "")
    if width and height and (depth or not whole):
        whole = " x ".join(side for side in (width, depth, height) if side)
    return {**features, "body_size": whole} if whole else dict(features)


def unique_titles(titles: list[str], items: list[str]) -> list[str]:
    """Append the id to every title that occurs more than once."""
    often = Counter(titles)
    return [
        f"{title} ({item})" if often[title] > 1 else title
        for title, item in zip(titles, items, strict=True)
    ]


# --- Facts ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """A reading of one item before its strength is known."""

    row: int
    kind: str
    rule: Rule
    key: str
    value: str
    reading: Reading


def percentiles(amounts: NDArray[np.float64], good: int) -> NDArray[np.float64]:
    """Return the share of the values (n,) that each one is at least as good as, in (0, 1]."""
    signed = amounts * good
    return np.searchsorted(np.sort(signed), signed, side="right") / len(signed)


def far_off(amounts: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark values (n,) so far from the median that they must be of another unit."""
    if len(amounts) < FEWEST_FOR_FAR:
        return np.zeros(len(amounts), dtype=bool)
    ratio = np.maximum(amounts, 1e-9) / max(float(np.median(amounts)), 1e-9)
    return (ratio > FAR) | (ratio < 1 / FAR)


def strengths(candidates: list[Candidate], class_size: Mapping[str, int]) -> NDArray[np.float64]:
    """Return the strength of each candidate, (n,) in (0, 1]; NaN where it is far off.

    A number is as strong as its percentile among the same key within the class, in the direction
    that is good (lighter, longer, quieter), at least 0.2; 0.6 where fewer than five values can be
    compared. A fact without a number is stronger the rarer it is: 0.9 - 0.6 * its share of the
    class.
    """
    out = np.empty(len(candidates))
    numeric: dict[tuple[str, str], list[int]] = defaultdict(list)
    phrases = Counter((c.kind, c.reading.phrases[0]) for c in candidates)
    for index, candidate in enumerate(candidates):
        if candidate.reading.amount is None:
            share = phrases[candidate.kind, candidate.reading.phrases[0]]
            out[index] = 0.9 - 0.6 * share / class_size[candidate.kind]
        else:
            numeric[candidate.kind, candidate.key].append(index)
    for rows in numeric.values():
        amounts = np.array([candidates[i].reading.amount for i in rows], dtype=np.float64)
        if len(rows) < FEWEST_TO_COMPARE:
            out[rows] = LONE_STRENGTH
        else:
            out[rows] = np.maximum(0.2, percentiles(amounts, candidates[rows[0]].rule.good))
        out[np.array(rows)[far_off(amounts)]] = np.nan
    return out


def sayable(phrases: tuple[str, ...]) -> bool:
    """Whether phrases read as words: short enough and without a raw key's underscores."""
    return all(len(p.split()) <= MOST_WORDS and "_" not in p and p == p.strip() for p in phrases)


def choose(
    candidates: list[Candidate], strength: NDArray[np.float64], dropped: Counter[str]
) -> list[int]:
    """Return the indices of the candidates that become facts, at most seven an item.

    Facts that say something of the product come before everyday ones, then the stronger first.
    """
    aspect_of: dict[str, str] = {}
    by_row: dict[int, list[int]] = defaultdict(list)
    for index, candidate in enumerate(candidates):
        said = candidate.reading.phrases
        if math.isnan(strength[index]):
            dropped["numbers far from the rest of their class"] += 1
        elif not sayable(said):
            dropped["facts whose phrase would not read well"] += 1
        # A phrase must name one aspect, or a text's claims could not be told apart.
        elif any(aspect_of.setdefault(p, candidate.rule.aspect) != candidate.rule.aspect
                 for p in said):  # fmt: skip
            dropped["facts whose phrase another aspect uses"] += 1
        else:
            by_row[candidate.row].append(index)
    chosen: list[int] = []
    for indices in by_row.values():
        indices.sort(key=lambda i: (candidates[i].rule.aspect in EVERYDAY, -strength[i]))
        dropped[f"facts beyond the first {MOST_FACTS} of an item"] += len(indices[MOST_FACTS:])
        chosen += indices[:MOST_FACTS]
    return chosen


def facts_table(
    products: list[dict[str, str]], features: list[dict[str, str]], dropped: Counter[str]
) -> pd.DataFrame:
    """Return the facts of all products as the catalogue's table."""
    candidates: list[Candidate] = []
    for row, (product, known) in enumerate(zip(products, features, strict=True)):
        kind = product["product_class"]
        text = f"{product['product_name']} {product['product_description']}".lower()
        stated = title_features(
            product["product_name"], product["product_description"], kind, product["brand"]
        )
        # What the data sheet says goes before what the title says.
        seen = Product(kind, text, with_body_size({**stated, **known}))
        candidates += [
            Candidate(row, kind, rule, key, seen.features[key], reading)
            for rule, key, reading in readings(seen)
        ]
    strength = strengths(candidates, Counter(p["product_class"] for p in products))
    chosen = choose(candidates, strength, dropped)
    return pd.DataFrame(
        {
            "item_id": pd.Series(
                [products[candidates[i].row]["product_id"] for i in chosen], dtype="str"
            ),
            "aspect": pd.Series([candidates[i].rule.aspect for i in chosen], dtype="str"),
            "key": pd.Series([candidates[i].key for i in chosen], dtype="str"),
            "value": pd.Series([candidates[i].value for i in chosen], dtype="str"),
            "phrases": pd.Series(
                [list(candidates[i].reading.phrases) for i in chosen], dtype=object
            ),
            "strength": strength[chosen],
        }
    )


def count_from_features(facts: pd.DataFrame, features: pd.DataFrame) -> int:
    """Return how many facts state a feature of the data sheet."""
    known = set(zip(features["item_id"], features["key"], strict=True))
    return sum(
        key == "body_size" or (item, key) in known
        for item, key in zip(facts["item_id"], facts["key"], strict=True)
    )


def proxy_quality(items: pd.DataFrame, facts: pd.DataFrame) -> NDArray[np.float64]:
    """Return a stand-in for ratings, (I,) in [0, 1].

    0.4 * mean fact strength + 0.3 * facts / 7 + 0.3 * how new the item is within its class.
    """
    grouped = facts.groupby("item_id")["strength"]
    mean = items["item_id"].map(grouped.mean()).fillna(0.0)
    count = items["item_id"].map(grouped.size()).fillna(0.0)
    age = items.groupby("class")["date_released"].rank(pct=True)
    return (0.4 * mean + 0.3 * count / MOST_FACTS + 0.3 * age).clip(0, 1).to_numpy(dtype=float)


# --- The import -------------------------------------------------------------------------------


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
