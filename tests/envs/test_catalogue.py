"""Catalogue folders: what is written is read again, and each broken rule is one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from envs.catalogue import (
    SCHEMA_VERSION,
    TABLES,
    Catalogue,
    check_catalogue,
    load_catalogue,
    save_catalogue,
    typed_table,
    with_history,
)
from envs.errors import UserError

ITEMS = """item_id,title,class,brand,price,margin,quality,description
A,Quiet Kettle,kettles,Norvik,40,9,0.8,A kettle.
B,"Big, Red Tent",tents,Pacelli,200,20,0.4,A tent.
"""
FACTS = """item_id,aspect,key,value,phrases,strength
A,noise,noise_level,58 dB,58 dB noise level | quiet boil,1.0
A,noise,lid,soft,soft lid,0.5
B,weight,weight,2 kg,2 kg weight,0.25
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A catalogue made by hand: two CSV files, nothing else."""
    (tmp_path / "items.csv").write_text(ITEMS)
    (tmp_path / "facts.csv").write_text(FACTS)
    return tmp_path


def full(folder: Path) -> Catalogue:
    """The catalogue by hand with a row in every other table."""
    rows: dict[str, dict[str, object]] = {
        "features": {"item_id": "A", "key": "colour", "value": "red"},
        "reviews": {"item_id": "A", "shopper_id": "S", "rating": 5, "text": "Good."},
        "history": {"shopper_id": "S", "item_id": "A", "event": "click", "timestamp": 1},
        "queries": {"query_id": "Q", "query": "kettle"},
        "judgements": {"query_id": "Q", "item_id": "A", "rating": 3},
    }
    tables = {name: typed_table(pd.DataFrame([row]), name, "test") for name, row in rows.items()}
    return replace(load_catalogue(folder), notes=["by hand"], currency="USD", **tables)  # type: ignore[arg-type]


def test_csv_by_hand(folder: Path) -> None:
    shop = load_catalogue(folder)
    assert shop.items["title"].tolist() == ["Quiet Kettle", "Big, Red Tent"]
    assert shop.items["price"].tolist() == [40.0, 200.0]
    assert shop.facts["phrases"].tolist()[0] == ["58 dB noise level", "quiet boil"]
    assert (shop.aspects, shop.classes) == (["noise", "weight"], ["kettles", "tents"])
    assert (shop.locale, shop.currency, len(shop.history)) == ("en", "EUR", 0)


def test_arrays_by_hand(folder: Path) -> None:
    shop = load_catalogue(folder)
    # The strongest fact of an item at an aspect counts; no fact is 0.
    np.testing.assert_array_equal(shop.aspect_matrix, np.array([[1, 0], [0, 0.25]], np.float32))
    assert shop.class_index.tolist() == [0, 1]
    assert shop.item_position == {"A": 0, "B": 1}
    assert shop.summary()["facts"] == 3


def test_positions_of_a_whole_column(folder: Path) -> None:
    shop = load_catalogue(folder)
    found = shop.positions(pd.Series(["B", "nobody", "A", "B", ""]))
    assert found.dtype == np.int64
    assert found.tolist() == [1, -1, 0, 1, -1]
    assert shop.positions(pd.Series([], dtype="str")).tolist() == []


def test_round_trip_through_parquet(folder: Path, tmp_path: Path) -> None:
    shop = full(folder)
    save_catalogue(shop, tmp_path / "saved")
    loaded = load_catalogue(tmp_path / "saved")
    for table in TABLES:
        pd.testing.assert_frame_equal(getattr(loaded, table), getattr(shop, table))
    for name in ("name", "locale", "currency", "aspects", "notes"):
        assert getattr(loaded, name) == getattr(shop, name)


def test_with_history_adds_its_note(folder: Path) -> None:
    shop = full(folder)
    changed = with_history(shop, shop.history.iloc[:0], "shoppers are simulated")
    assert (len(changed.history), changed.notes) == (0, ["by hand", "shoppers are simulated"])


@pytest.mark.parametrize(
    ("table", "column", "value", "expected"),
    [
        ("items", "item_id", "B", "table items, row 2: item_id must be unique, but met 'B'"),
        ("items", "item_id", " ", "table items, row 1: item_id must not be empty"),
        ("items", "title", "", "table items, row 1: title must not be empty"),
        ("items", "class", "", "table items, row 1: class must not be empty"),
        ("items", "price", -3.0, "table items, row 1: price must be a number above 0"),
        ("items", "price", np.nan, "table items, row 1: price must be a number above 0"),
        ("items", "price", np.inf, "table items, row 1: price must be a number above 0"),
        ("items", "margin", 41.0, "row 1: margin must lie between 0 and the price, but met"),
        ("items", "margin", -1.0, "row 1: margin must lie between 0 and the price, but met"),
        ("items", "quality", 1.5, "row 1: quality must lie in [0, 1], but met"),
        ("facts", "item_id", "Z", "table facts, row 1: item_id must name an item"),
        ("facts", "aspect", "taste", "row 1: aspect must be one of the aspects"),
        ("facts", "strength", 0.0, "row 1: strength must lie in (0, 1], but met"),
        ("facts", "strength", 1.1, "row 1: strength must lie in (0, 1], but met"),
        ("facts", "phrases", [], "row 1: phrases must hold at least one phrase"),
        ("facts", "phrases", ["good", " "], "row 1: phrases must hold at least one phrase"),
        ("features", "item_id", "Z", "table features, row 1: item_id must name an item"),
        ("history", "event", "stare", "table history, row 1: event must be one of"),
        ("history", "item_id", "Z", "table history, row 1: item_id must name an item"),
        ("reviews", "rating", 6.0, "table reviews, row 1: rating must lie between 1 and 5"),
        ("reviews", "item_id", "Z", "table reviews, row 1: item_id must name an item"),
        ("judgements", "item_id", "Z", "table judgements, row 1: item_id must name an item"),
        ("judgements", "query_id", "Z", "row 1: query_id must name a query of table queries"),
    ],
)
def test_a_broken_rule_is_one_line(
    folder: Path, table: str, column: str, value: object, expected: str
) -> None:
    shop = full(folder)
    assert check_catalogue(shop, "shop") is shop
    frame: pd.DataFrame = getattr(shop, table).copy()
    cells = list(frame[column])
    frame[column] = [value, *cells[1:]]
    with pytest.raises(UserError) as caught:
        check_catalogue(replace(shop, **{table: frame}), "shop")  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.startswith("shop, table ")
    assert expected in message
    assert repr(value) in message
    assert "\n" not in message


def test_numbers_are_shown_as_people_write_them(folder: Path) -> None:
    shop = full(folder)
    with pytest.raises(UserError, match=r"but met -3\.0;"):
        check_catalogue(replace(shop, items=shop.items.assign(price=-3.0)), "shop")


def test_queries_must_be_unique(folder: Path) -> None:
    shop = full(folder)
    twice = pd.concat([shop.queries, shop.queries], ignore_index=True)
    with pytest.raises(UserError, match="table queries, row 2: query_id must be unique"):
        check_catalogue(replace(shop, queries=twice), "shop")


def test_locale_and_items_are_needed(folder: Path) -> None:
    shop = full(folder)
    with pytest.raises(UserError, match=r"locale must be one of .* but met 'fr'"):
        check_catalogue(replace(shop, locale="fr"), "shop")
    with pytest.raises(UserError, match="table items: it has no rows"):
        check_catalogue(replace(shop, items=shop.items.iloc[:0]), "shop")


def overwrite(name: str, text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text(text)

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            overwrite("items.csv", ITEMS.replace("price", "prize")),
            "table items: column 'price' is missing; it has .* Did you mean 'prize'?",
        ),
        (
            overwrite("items.csv", ITEMS.replace(",40,", ",cheap,")),
            "table items, row 1: price must be a number, but met 'cheap'",
        ),
        (
            overwrite("items.csv", ITEMS.replace(",40,", ",,")),
            "table items, row 1: price must be a number, but met ''",
        ),
        (
            overwrite("items.csv", ITEMS.replace("B,", "A,")),
            "table items, row 2: item_id must be unique, but met 'A'",
        ),
        (overwrite("items.parquet", "no parquet"), "items.parquet: cannot be read as parquet"),
        (overwrite("items.csv", ""), "items.csv: cannot be read as csv"),
        (lambda folder: (folder / "facts.csv").unlink(), "holds neither facts.parquet nor"),
        (overwrite("catalogue.json", "{"), "catalogue.json: is not valid JSON"),
        (
            overwrite("catalogue.json", json.dumps({"schema_version": SCHEMA_VERSION + 1})),
            f"schema_version {SCHEMA_VERSION + 1} is newer than {SCHEMA_VERSION}",
        ),
    ],
)
def test_a_folder_that_cannot_be_read_is_one_line(
    folder: Path, change: Callable[[Path], None], expected: str
) -> None:
    change(folder)
    with pytest.raises(UserError, match=expected) as caught:
        load_catalogue(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        load_catalogue(tmp_path / "none")


def test_nothing_is_written_when_a_rule_is_broken(folder: Path, tmp_path: Path) -> None:
    shop = full(folder)
    broken = replace(shop, items=shop.items.assign(price=-1.0))
    with pytest.raises(UserError, match="price"):
        save_catalogue(broken, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
