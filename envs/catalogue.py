"""The catalogue: what a shop sells and what is known about it, as validated tables.

A catalogue folder holds ``catalogue.json`` (name, locale, currency, aspects, notes) and one Parquet
file a table. CSV files of the same names are read too, so that a catalogue can be made by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from envs.errors import UserError, nearest
from envs.files import atomic_folder, read_json, write_json

SCHEMA_VERSION = 1
LOCALES = ("en", "zh")
EVENTS = ("view", "click", "purchase")

#: Column name -> kind ("text", "number" or "texts": a list of strings) of each table.
TABLES: dict[str, dict[str, str]] = {
    "items": {
        "item_id": "text",
        "title": "text",
        "class": "text",
        "brand": "text",
        "price": "number",
        "margin": "number",
        "quality": "number",
        "description": "text",
    },
    "features": {"item_id": "text", "key": "text", "value": "text"},
    "facts": {
        "item_id": "text",
        "aspect": "text",
        "key": "text",
        "value": "text",
        "phrases": "texts",
        "strength": "number",
    },
    "reviews": {"item_id": "text", "shopper_id": "text", "rating": "number", "text": "text"},
    "history": {
        "shopper_id": "text",
        "item_id": "text",
        "event": "text",
        "timestamp": "number",
    },
    "queries": {"query_id": "text", "query": "text"},
    "judgements": {"query_id": "text", "item_id": "text", "rating": "number"},
}
#: A catalogue without these tables is still a catalogue.
OPTIONAL_TABLES = ("features", "reviews", "history", "queries", "judgements")

#: What separates the phrases of one fact in a CSV cell.
PHRASE_SEPARATOR = "|"


def empty_table(name: str) -> pd.DataFrame:
    """Return the table ``name`` without rows."""
    kinds = {"text": "str", "number": "float64", "texts": "object"}
    return pd.DataFrame(
        {column: pd.Series(dtype=kinds[kind]) for column, kind in TABLES[name].items()}
    )


@dataclass(frozen=True)
class Catalogue:
    """The tables of a shop; rows of ``items`` fix the item index 0..I-1 used by every array."""

    name: str
    locale: str
    currency: str
    #: Names of the aspects, in the order of every array's A axis.
    aspects: list[str]
    #: item_id, title, class, brand, price and margin (currency), quality [0, 1], description.
    items: pd.DataFrame
    #: item_id, aspect, key, value, phrases (list; the first is canonical), strength (0, 1].
    facts: pd.DataFrame
    #: item_id, key, value: everything known, also what no fact states.
    features: pd.DataFrame = field(default_factory=lambda: empty_table("features"))
    #: item_id, shopper_id, rating 1..5, text.
    reviews: pd.DataFrame = field(default_factory=lambda: empty_table("reviews"))
    #: shopper_id, item_id, event (view, click, purchase), timestamp (seconds).
    history: pd.DataFrame = field(default_factory=lambda: empty_table("history"))
    #: query_id, query.
    queries: pd.DataFrame = field(default_factory=lambda: empty_table("queries"))
    #: query_id, item_id, rating 0..3: relevance judged by people.
    judgements: pd.DataFrame = field(default_factory=lambda: empty_table("judgements"))
    #: What a report must repeat in plain words ("shoppers are simulated").
    notes: list[str] = field(default_factory=list)

    @property
    def n_items(self) -> int:
        """Number of items I."""
        return len(self.items)

    @cached_property
    def classes(self) -> list[str]:
        """Class names in sorted order: the C axis of every array."""
        return sorted(self.items["class"].unique())

    @cached_property
    def class_index(self) -> NDArray[np.int64]:
        """Class of each item, (I,) int64."""
        return pd.Categorical(self.items["class"], categories=self.classes).codes.astype(np.int64)

    @cached_property
    def item_position(self) -> dict[str, int]:
        """Item index by item_id."""
        return {item: index for index, item in enumerate(self.items["item_id"])}

    def positions(self, item_ids: pd.Series) -> NDArray[np.int64]:
        """Item index of each id, (n,) int64, -1 for an unknown id: for whole columns at once."""
        return _lookup(item_ids, self.items["item_id"])

    @cached_property
    def shopper_ids(self) -> list[str]:
        """Shoppers that have a history, sorted."""
        return sorted(self.history["shopper_id"].unique())

    @cached_property
    def aspect_matrix(self) -> NDArray[np.float32]:
        """x: strength of the strongest fact of item i at aspect a, (I, A) float32 in [0, 1]."""
        matrix = np.zeros((self.n_items, len(self.aspects)), dtype=np.float32)
        rows = self.positions(self.facts["item_id"])
        columns = pd.Categorical(self.facts["aspect"], categories=self.aspects).codes
        np.maximum.at(matrix, (rows, columns), self.facts["strength"].to_numpy(dtype=np.float32))
        return matrix

    def summary(self) -> dict[str, int]:
        """Row counts, for reports and ``--json``."""
        return {
            "items": self.n_items,
            "classes": len(self.classes),
            "aspects": len(self.aspects),
            "facts": len(self.facts),
            "features": len(self.features),
            "reviews": len(self.reviews),
            "shoppers": len(self.shopper_ids),
            "history": len(self.history),
            "queries": len(self.queries),
            "judgements": len(self.judgements),
        }


def _lookup(cells: pd.Series, known: pd.Series) -> NDArray[np.int64]:
    """Place of each cell in ``known``, (n,) int64, -1 where it is not there.

    Arrow hashes text columns some fifteen times faster than a dictionary or ``isin`` does.
    """
    found = pc.index_in(
        pa.array(cells, type=pa.large_string()), pa.array(known, type=pa.large_string())
    )
    return found.fill_null(-1).to_numpy().astype(np.int64)


def _without_phrases(phrases: pd.Series) -> NDArray[np.bool_]:
    """True for facts that have no phrase, or an empty one, (n,) bool."""
    count = np.fromiter(map(len, phrases), dtype=np.int64, count=len(phrases))
    texts = pd.Series(list(chain.from_iterable(phrases)), dtype="str")
    bad: NDArray[np.bool_] = count == 0
    bad[np.repeat(np.arange(len(phrases)), count)[texts.fillna("").str.strip() == ""]] = True
    return bad


def _fail(source: str, table: str, row: Any, rule: str, value: Any, mend: str) -> UserError:
    where = f"{source}, table {table}" + ("" if row is None else f", row {row}")
    return UserError(f"{where}: {rule}, but met {value!r}; {mend}")


def _first(
    frame: pd.DataFrame, bad: pd.Series | NDArray[np.bool_], column: str
) -> tuple[int, Any] | None:
    """Return the 1-based row number and value of the first bad cell, if any."""
    hits = np.flatnonzero(np.asarray(bad, dtype=bool))
    if not len(hits):
        return None
    row = int(hits[0])
    value = frame[column].iloc[row]
    return row + 1, value.item() if isinstance(value, np.generic) else value


def check_catalogue(catalogue: Catalogue, source: str) -> Catalogue:
    """Return ``catalogue`` if every table keeps its rules.

    ``source`` names the folder or file in messages. Rows are counted from 1, without the header.

    Raises:
        UserError: for the first rule that is broken.
    """
    if catalogue.locale not in LOCALES:
        raise _fail(source, "catalogue.json", None, f"locale must be one of {LOCALES}",
                    catalogue.locale, "change it")  # fmt: skip
    if len(set(catalogue.aspects)) < len(catalogue.aspects):
        raise UserError(
            f"{source}, catalogue.json: aspects must be distinct; remove the repeated one"
        )
    items, facts = catalogue.items, catalogue.facts
    if not len(items):
        raise UserError(f"{source}, table items: it has no rows; a shop needs at least one item")

    def require(
        table: str, frame: pd.DataFrame, column: str, bad: Any, rule: str, mend: str
    ) -> None:
        hit = _first(frame, bad, column)
        if hit is not None:
            raise _fail(source, table, hit[0], f"{column} {rule}", hit[1], mend)

    require("items", items, "item_id", items["item_id"].str.strip() == "", "must not be empty",
            "give every item an id")  # fmt: skip
    require("items", items, "item_id", items["item_id"].duplicated(), "must be unique",
            "remove or rename the second one")  # fmt: skip
    require("items", items, "title", items["title"].str.strip() == "", "must not be empty",
            "give every item a title")  # fmt: skip
    require("items", items, "class", items["class"].str.strip() == "", "must not be empty",
            "write 'other' where nothing is known")  # fmt: skip
    finite = np.isfinite(items[["price", "margin", "quality"]].to_numpy(dtype=float))
    require("items", items, "price", ~finite[:, 0] | ~(items["price"] > 0),
            "must be a number above 0", "mend or drop the item")  # fmt: skip
    require("items", items, "margin",
            ~finite[:, 1] | (items["margin"] > items["price"]) | (items["margin"] < 0),
            "must lie between 0 and the price", "mend the item")  # fmt: skip
    require("items", items, "quality", ~finite[:, 2] | ~items["quality"].between(0, 1),
            "must lie in [0, 1]", "rescale it")  # fmt: skip
    for table in ("features", "facts", "reviews", "history", "judgements"):
        frame: pd.DataFrame = getattr(catalogue, table)
        require(table, frame, "item_id", catalogue.positions(frame["item_id"]) < 0,
                "must name an item of table items", "drop the row or add the item")  # fmt: skip
    require("facts", facts, "aspect", ~facts["aspect"].isin(catalogue.aspects),
            "must be one of the aspects in catalogue.json", "add the aspect there")  # fmt: skip
    require("facts", facts, "strength", ~((facts["strength"] > 0) & (facts["strength"] <= 1)),
            "must lie in (0, 1]", "rescale it")  # fmt: skip
    require("facts", facts, "phrases", _without_phrases(facts["phrases"]),
            "must hold at least one phrase, none empty", "write how a person says it")  # fmt: skip
    history, reviews = catalogue.history, catalogue.reviews
    require("history", history, "event", ~history["event"].isin(EVENTS),
            f"must be one of {EVENTS}", "map your event names to these")  # fmt: skip
    require("reviews", reviews, "rating", ~reviews["rating"].between(1, 5),
            "must lie between 1 and 5", "rescale it")  # fmt: skip
    queries = catalogue.queries
    require("queries", queries, "query_id", queries["query_id"].duplicated(), "must be unique",
            "remove or rename the second one")  # fmt: skip
    judgements = catalogue.judgements
    require("judgements", judgements, "query_id",
            _lookup(judgements["query_id"], queries["query_id"]) < 0,
            "must name a query of table queries", "drop the row or add the query")  # fmt: skip
    require("judgements", judgements, "rating", ~judgements["rating"].between(0, 3),
            "must lie between 0 (irrelevant) and 3 (exact)", "rescale it")  # fmt: skip
    return catalogue


def _texts(cell: Any) -> list[str]:
    """Return a cell of texts as a list: an array from Parquet, a list, or a line of a CSV file."""
    if isinstance(cell, np.ndarray):
        return cell.tolist() if cell.ndim == 1 else []
    if isinstance(cell, str):
        return [text.strip() for text in cell.split(PHRASE_SEPARATOR)]
    return [] if cell is None or np.ndim(cell) != 1 else list(cell)


def typed_table(frame: pd.DataFrame, name: str, source: str) -> pd.DataFrame:
    """Return the columns of table ``name`` with their types; extra columns are left out.

    Raises:
        UserError: for a missing column or a cell that is no number.
    """
    out: dict[str, Any] = {}
    for column, kind in TABLES[name].items():
        if column not in frame:
            raise UserError(
                f"{source}, table {name}: column {column!r} is missing; it has "
                f"{', '.join(map(str, frame.columns))}.{nearest(column, map(str, frame.columns))}"
            )
        cells = frame[column]
        if kind == "number":
            numbers = pd.to_numeric(cells, errors="coerce")
            hit = _first(frame, numbers.isna(), column)
            if hit is not None:
                raise _fail(source, name, hit[0], f"{column} must be a number", hit[1], "mend it")
            out[column] = numbers.astype("float64")
        elif kind == "texts":
            out[column] = [_texts(cell) for cell in cells]
        else:
            out[column] = cells.fillna("").astype("str")
    return pd.DataFrame(out).reset_index(drop=True)


def save_catalogue(catalogue: Catalogue, folder: Path) -> None:
    """Write a checked catalogue as a folder, atomically (an existing one is replaced)."""
    check_catalogue(catalogue, str(folder))
    with atomic_folder(folder) as temporary:
        for table in TABLES:
            getattr(catalogue, table).to_parquet(temporary / f"{table}.parquet", index=False)
        write_json(
            temporary / "catalogue.json",
            {
                "schema_version": SCHEMA_VERSION,
                "name": catalogue.name,
                "locale": catalogue.locale,
                "currency": catalogue.currency,
                "aspects": catalogue.aspects,
                "notes": catalogue.notes,
            },
        )


def _read_table(folder: Path, name: str) -> pd.DataFrame:
    readers: tuple[tuple[str, Callable[[Path], pd.DataFrame]], ...] = (
        ("parquet", pd.read_parquet),
        ("csv", lambda path: pd.read_csv(path, dtype=str, keep_default_na=False)),
    )
    for suffix, read in readers:
        path = folder / f"{name}.{suffix}"
        if path.exists():
            try:
                frame = read(path)
            except Exception as error:  # the readers raise many kinds, all meaning "not readable"
                raise UserError(f"{path}: cannot be read as {suffix}: {error}") from error
            return typed_table(frame, name, str(folder))
    if name in OPTIONAL_TABLES:
        return empty_table(name)
    raise UserError(f"{folder}: holds neither {name}.parquet nor {name}.csv; a catalogue needs it")


def load_catalogue(folder: Path) -> Catalogue:
    """Read and check a catalogue folder.

    Raises:
        UserError: for a missing folder or table, or a broken rule.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the path of a catalogue folder")
    about_path = folder / "catalogue.json"
    about: Mapping[str, Any] = {}
    if about_path.exists():
        try:
            about = read_json(about_path)
        except ValueError as error:
            raise UserError(f"{about_path}: is not valid JSON: {error}") from error
    if not isinstance(about, dict):
        raise UserError(f"{about_path}: must hold a JSON object, but holds {type(about).__name__}")
    version = about.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int) or version < 1:
        raise UserError(f"{about_path}: schema_version must be a whole number, but is {version!r}")
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{about_path}: schema_version {version} is newer than "
            f"{SCHEMA_VERSION}, the newest known here; update shelftalk"
        )
    tables = {name: _read_table(folder, name) for name in TABLES}
    catalogue = Catalogue(
        name=str(about.get("name", folder.name)),
        locale=str(about.get("locale", "en")),
        currency=str(about.get("currency", "EUR")),
        aspects=list(about.get("aspects") or sorted(tables["facts"]["aspect"].unique())),
        notes=list(about.get("notes", [])),
        **tables,
    )
    return check_catalogue(catalogue, str(folder))


def with_history(catalogue: Catalogue, history: pd.DataFrame, note: str) -> Catalogue:
    """Return the catalogue with ``history`` in place of its own and one more note."""
    return replace(catalogue, history=history, notes=[*catalogue.notes, note])
