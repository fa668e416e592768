"""The reason book inside a bundle: beside each text, what it claims and the facts behind that.

Finding claims takes a fraction of a millisecond a text and seconds for a shop, so that it is done
at the export, and again by `check_book`; a bundle at work reads what was found, which the digests
keep.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from envs.catalogue import Catalogue
from envs.errors import UserError
from envs.files import atomic_path
from envs.reasons import ReasonTable, no_reasons
from policies.reasoner.book import ReasonBook
from rewards.claims import ClaimChecker
from rewards.evidence import Evidence

I64 = NDArray[np.int64]

_FACT = pa.struct(
    [
        ("phrase", pa.string()), ("start", pa.int32()), ("end", pa.int32()),
        ("aspect", pa.string()), ("key", pa.string()), ("value", pa.string()),
    ]
)  # fmt: skip
#: One row an (item, segment). ``claims`` are the supported phrases as matched, ``aspects`` those
#: that the text claims anything about, ``facts`` what stands behind each supported claim.
SCHEMA = pa.schema(
    [
        ("item_id", pa.string()), ("segment", pa.int32()), ("text", pa.string()),
        ("source", pa.string()), ("claims", pa.list_(pa.string())),
        ("unsupported", pa.int32()), ("words", pa.int32()),
        ("aspects", pa.list_(pa.int32())), ("facts", pa.list_(_FACT)),
    ]
)  # fmt: skip


def book_table(book: ReasonBook, catalogue: Catalogue, checker: ClaimChecker) -> pa.Table:
    """Return the rows of a book with what its texts claim, as `SCHEMA` has them."""
    evidence = Evidence(catalogue)
    rows: list[dict[str, Any]] = []
    for item_id, segment, text, source in zip(
        *(book.table[name] for name in ("item_id", "segment", "text", "source"))
    ):
        item = catalogue.item_position[item_id]
        found = checker.check(item, text)
        rows.append(
            {
                "item_id": item_id, "segment": segment, "text": text, "source": source,
                "claims": [claim.text for claim in found.claims if claim.supported],
                "unsupported": found.unsupported, "words": found.words,
                "aspects": sorted(found.aspects),
                "facts": [asdict(fact) for fact in evidence.behind(item, text, found)],
            }
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def save_book_table(table: pa.Table, path: Path) -> None:
    """Write `book_table` as Parquet, atomically."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def load_book_table(path: Path, catalogue: Catalogue, n_segments: int) -> pa.Table:
    """Read what `save_book_table` wrote.

    Raises:
        UserError: for a file that is no such table, or is of another catalogue.
    """
    try:
        table = pq.read_table(path, schema=SCHEMA)
    except (OSError, pa.ArrowException) as error:
        why = str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be read as a bundle's reasons ({why})") from error
    unknown = table.filter(pc.is_null(_items(table, catalogue)))["item_id"]
    if len(unknown):
        raise UserError(f"{path}: item {unknown[0].as_py()!r} is not in catalogue {catalogue.name}")
    segments = _numbers(table, "segment")
    if len(segments) and not 0 <= segments.min() <= segments.max() < n_segments:
        raise UserError(f"{path}: a segment is not one of 0..{n_segments - 1}, those of this shop")
    return table


def table_arrays(table: pa.Table, catalogue: Catalogue, n_segments: int) -> ReasonTable:
    """Return what the shop and the ranker see of the reasons."""
    items, segments = _items(table, catalogue).to_numpy(), _numbers(table, "segment")
    arrays = no_reasons(catalogue.n_items, n_segments, len(catalogue.aspects))
    arrays.unsupported[items, segments] = _numbers(table, "unsupported")
    arrays.words[items, segments] = _numbers(table, "words")
    count = pc.list_value_length(table["aspects"]).to_numpy()
    aspects = pc.list_flatten(table["aspects"]).to_numpy()
    arrays.claims[np.repeat(items, count), np.repeat(segments, count), aspects] = 1
    return arrays


def check_book(path: Path, catalogue: Catalogue, n_segments: int, checker: ClaimChecker) -> int:
    """Find the claims of every reason again; return how many reasons there are.

    Raises:
        UserError: where the file says something else of a text than is found now.
    """
    table = load_book_table(path, catalogue, n_segments)
    again = book_table(ReasonBook(table.to_pandas(), no_reasons(0, 0, 0)), catalogue, checker)
    if not table.equals(again):
        said, found = table.to_pylist(), again.to_pylist()
        row = next(at for at, (a, b) in enumerate(zip(said, found)) if a != b)
        name = next(column for column in SCHEMA.names if said[row][column] != found[row][column])
        raise UserError(
            f"{path}: the reason of item {said[row]['item_id']!r} for segment "
            f"{said[row]['segment']}: {name} is {said[row][name]!r} in the file, but "
            f"{found[row][name]!r} is found in its text now; export the bundle again"
        )
    return len(table)


def _items(table: pa.Table, catalogue: Catalogue) -> pa.Array:
    """Item index of each row, null where the catalogue does not know it."""
    known = pa.array(catalogue.items["item_id"], type=pa.string())
    return pc.index_in(table["item_id"], value_set=known).combine_chunks()


def _numbers(table: pa.Table, column: str) -> I64:
    numbers: I64 = table[column].to_numpy().astype(np.int64)
    return numbers
