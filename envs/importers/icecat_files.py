"""Read the files of an Icecat folder and clean their texts, titles and feature cells.

A damaged file is an error that names file and line; a row that is merely poor is dropped with a
counted reason.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from envs.catalogue import empty_table
from envs.errors import UserError, nearest
from envs.importers.icecat_aspects import is_logistics
from envs.importers.icecat_values import ABSENT, plain_number

PRODUCT_COLUMNS = [
    *("product_id", "product_name", "product_class", "brand", "price_cents", "date_released"),
    *("product_description", "product_features"),
]
QUERY_COLUMNS = ["query_id", "query"]
LABEL_COLUMNS = ["query_id", "product_id", "rating"]


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


def unique_titles(titles: list[str], items: list[str]) -> list[str]:
    """Append the id to every title that occurs more than once."""
    often = Counter(titles)
    return [
        f"{title} ({item})" if often[title] > 1 else title
        for title, item in zip(titles, items, strict=True)
    ]
