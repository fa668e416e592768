"""The book inside a bundle says of its texts what the claim checker finds in them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from envs.errors import UserError
from policies.bundle import Bundle
from policies.bundle_book import (
    SCHEMA,
    book_table,
    check_book,
    load_book_table,
    save_book_table,
    table_arrays,
)
from policies.bundle_files import BOOK
from policies.reasoner.book import ReasonBook
from rewards.claims import ClaimChecker
from tests.policies.bundle_at_hand import Made


def segments(made: Made) -> int:
    return made.shop.visitors.profiles.n_segments


def test_what_the_ranker_sees_is_what_the_book_had(made: Made) -> None:
    catalogue = made.shop.visitors.catalogue
    table = load_book_table(made.path / BOOK, catalogue, segments(made))
    found = table_arrays(table, catalogue, segments(made))
    for name, wanted in vars(made.book.arrays).items():
        np.testing.assert_array_equal(getattr(found, name), wanted)
    assert table["text"].to_pylist() == made.book.table["text"].tolist()
    assert table["claims"].to_pylist() == [list(claims) for claims in made.book.table["claims"]]


def test_lies_and_denials_count_as_in_the_shop(made: Made, tmp_path: Path) -> None:
    """A text with an unsupported claim: its aspect persuades, and no fact stands behind it."""
    catalogue, checker = made.shop.visitors.catalogue, ClaimChecker(made.shop.visitors.catalogue)
    other = catalogue.facts[catalogue.facts["item_id"] != catalogue.items["item_id"][0]]
    lie = f"You get {other['phrases'].iloc[0][0]} and magic."
    one = made.book.table.iloc[:1].assign(item_id=catalogue.items["item_id"][0], text=lie)
    table = book_table(ReasonBook(one, made.book.arrays), catalogue, checker)
    found = checker.check(0, lie)
    row = table.to_pylist()[0]
    assert row["unsupported"] == found.unsupported >= 1
    assert set(row["aspects"]) == set(found.aspects)
    assert len(row["facts"]) == len(row["claims"]) < len(found.claims)
    save_book_table(table, tmp_path / "book.parquet")
    assert check_book(tmp_path / "book.parquet", catalogue, segments(made), checker) == 1


def test_a_book_that_says_too_much_of_itself_is_found(
    made: Made, bundle: Bundle, tmp_path: Path
) -> None:
    catalogue, checker = bundle.catalogue, ClaimChecker(bundle.catalogue)
    path = Path(shutil.copy(made.path / BOOK, tmp_path))
    assert check_book(path, catalogue, segments(made), checker) == len(made.book.table)
    rows = pq.read_table(path).to_pylist()
    rows[7]["text"] += " It also makes tea."
    save_book_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    item, segment = rows[7]["item_id"], rows[7]["segment"]
    message = f"the reason of item '{item}' for segment {segment}: words is"
    with pytest.raises(UserError, match=message):
        check_book(path, catalogue, segments(made), checker)


def test_a_book_of_another_shop_is_refused(made: Made, tmp_path: Path) -> None:
    catalogue = made.shop.visitors.catalogue
    rows = pq.read_table(made.path / BOOK).to_pylist()[:2]
    path = tmp_path / "book.parquet"
    for change, message in (
        ({"item_id": "strange"}, "item 'strange' is not in catalogue"),
        ({"segment": 99}, r"a segment is not one of 0\.\."),
    ):
        save_book_table(pa.Table.from_pylist([rows[0] | change, rows[1]], schema=SCHEMA), path)
        with pytest.raises(UserError, match=message):
            load_book_table(path, catalogue, segments(made))
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(UserError, match="cannot be read as a bundle's reasons"):
        load_book_table(path, catalogue, segments(made))
