"""The reason book: what is shown, and that nobody can vouch for a lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from envs.assemble import synthetic_visitors
from envs.catalogue import Catalogue
from envs.errors import UserError
from envs.shoppers import Profiles, ShopperConfig
from envs.synthetic import SyntheticConfig
from policies.reasoner.book import (
    COLUMNS,
    ReasonBook,
    every_pair,
    load_book,
    prompts_for,
    save_book,
    write_book,
)
from rewards.claims import ClaimChecker
from rewards.guards import veto
from sft.tasks import item_briefs, reason_prompt, segment_likes
from tests.shop_at_hand import hand_made, small_shop

SHOP = small_shop().visitors
CHECKER = ClaimChecker(SHOP.catalogue)
S = SHOP.profiles.n_segments
ITEMS = np.array([3, 7, 20])
LIE = "It has magic powers."


def _facts(prompts: list[str]) -> list[str]:
    """The first fact of each prompt."""
    return [prompt.split(" | ")[1].split(": ", 1)[1] for prompt in prompts]


def honest(prompts: list[str]) -> list[str]:
    return [f"  Pick it for its {fact}. " for fact in _facts(prompts)]


def every_other_lies(prompts: list[str]) -> list[str]:
    return [LIE if n % 2 else text for n, text in enumerate(honest(prompts))]


def book(write: Any = honest, catalogue: Catalogue = SHOP.catalogue) -> tuple[ReasonBook, dict]:
    return write_book(
        catalogue, SHOP.profiles, ClaimChecker(catalogue), write, ITEMS, np.random.default_rng(0)
    )


def test_every_item_with_every_segment_once() -> None:
    items, segments = every_pair(ITEMS, S)
    pairs = list(zip(items.tolist(), segments.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs) == len(ITEMS) * S
    assert set(items.tolist()) == set(ITEMS.tolist())


def test_an_honest_model_is_shown_as_it_wrote() -> None:
    made, counts = book()
    table = made.table
    assert counts == {"texts": len(ITEMS) * S, "fallbacks": 0, "vetoes": {}}
    assert set(table["source"]) == {"model"}
    items, segments = every_pair(ITEMS, S)
    asked = prompts_for(SHOP.catalogue, SHOP.profiles, items, segments)
    assert table["text"].tolist() == [text.strip() for text in honest(asked)]
    assert table["item_id"].tolist() == SHOP.catalogue.items["item_id"].iloc[items].tolist()
    for claims, fact in zip(table["claims"], _facts(asked), strict=True):
        assert claims == [fact.lower()]


def test_vetoed_texts_give_way_to_the_fallback_and_are_counted() -> None:
    made, counts = book(every_other_lies)
    half = len(ITEMS) * S // 2
    assert counts["fallbacks"] == half
    assert counts["vetoes"] == {"unsupported claim": half}
    assert made.table["source"].tolist() == ["model", "fallback"] * half
    assert LIE not in set(made.table["text"])
    assert (made.table["unsupported"] == 0).all()
    assert (made.arrays.unsupported == 0).all()


def test_without_a_model_every_text_is_a_fallback() -> None:
    made, counts = book(None)
    assert counts["vetoes"] == {"no model": len(made.table)}
    assert set(made.table["source"]) == {"fallback"}
    assert (made.table["claims"].str.len() > 0).all()


@pytest.mark.parametrize("phrase", ["perfect picture", "hotline 0800 123 4567"])
def test_a_fallback_is_guarded_too(phrase: str) -> None:
    """A catalogue's own phrase may be one that must not be shown."""
    catalogue = hand_made([(f"i{n}", f"Lamp {n}", "x", "B") for n in range(30)],
                          [(f"i{n}", "light", [phrase]) for n in range(30)])  # fmt: skip
    profiles = Profiles(**{**vars(SHOP.profiles), "segment_aspects": np.ones((2, 1), np.float32)})
    checker = ClaimChecker(catalogue)
    made, _ = write_book(catalogue, profiles, checker, None, ITEMS, np.random.default_rng(0))
    for record in made.table.to_dict("records"):
        item = catalogue.item_position[record["item_id"]]
        assert veto(record["text"], checker.check(item, record["text"])) is None


def test_a_phrase_that_must_not_be_shown_spares_the_others() -> None:
    items = [(f"i{n}", f"Lamp {n}", "x", "B") for n in range(30)]
    facts = [("light", ["hotline 0800 123 4567"]), ("size", ["slim foot"])]
    catalogue = hand_made(items, [(row[0], *fact) for row in items for fact in facts])
    profiles = Profiles(**{**vars(SHOP.profiles), "segment_aspects": np.ones((2, 2), np.float32)})
    checker = ClaimChecker(catalogue)
    made, _ = write_book(catalogue, profiles, checker, None, ITEMS, np.random.default_rng(0))
    assert {tuple(claims) for claims in made.table["claims"]} == {("slim foot",)}
    assert not made.table["text"].str.contains("0800").any()


def test_fallbacks_of_a_chinese_shop_are_true_and_varied() -> None:
    shop = synthetic_visitors(
        SyntheticConfig(items=60, locale="zh"), ShopperConfig(shoppers=60), np.random.default_rng(7)
    )
    checker = ClaimChecker(shop.catalogue)
    items = np.arange(60)
    made, _ = write_book(
        shop.catalogue, shop.profiles, checker, None, items, np.random.default_rng(0)
    )
    table = made.table
    assert (table["unsupported"] == 0).all()
    assert table["text"].str.endswith("。").all()
    assert (table["claims"].str.len() >= 1).all()
    assert table["text"].nunique() > 0.7 * len(table)


def test_arrays_agree_with_the_table() -> None:
    made, _ = book(every_other_lies)
    claims = np.zeros_like(made.arrays.claims)
    words = np.zeros_like(made.arrays.words)
    for (item_id, segment), record in made.lookup().items():
        item = SHOP.catalogue.item_position[item_id]
        checked = CHECKER.check(item, record["text"])
        claims[item, segment, list(checked.aspects)] = 1
        words[item, segment] = checked.words
        assert record["words"] == checked.words
        assert record["claims"] == [claim.text for claim in checked.claims if claim.supported]
    np.testing.assert_array_equal(made.arrays.claims, claims)
    # Items that nobody wrote for show no reason.
    np.testing.assert_array_equal(made.arrays.words, words)
    assert len(made.lookup()) == len(made.table)


def _load(path: Path, segments: int = S) -> ReasonBook:
    return load_book(path, SHOP.catalogue, segments, CHECKER)


def test_round_trip(tmp_path: Path) -> None:
    made, _ = book(every_other_lies)
    save_book(made, tmp_path / "book.parquet")
    again = _load(tmp_path / "book.parquet")
    for name in ("claims", "unsupported", "words"):
        np.testing.assert_array_equal(getattr(again.arrays, name), getattr(made.arrays, name))
    pd.testing.assert_frame_equal(again.table, made.table, check_dtype=False)
    assert tuple(again.table.columns) == COLUMNS


def _edited(tmp_path: Path, column: str, value: Any, row: int = 2) -> Path:
    table = book()[0].table.astype({column: object})
    table.at[row, column] = value
    path = tmp_path / "book.parquet"
    table.to_parquet(path)
    return path


def test_a_file_cannot_vouch_for_its_own_truth(tmp_path: Path) -> None:
    path = _edited(tmp_path, "text", LIE)
    assert pd.read_parquet(path)["unsupported"].tolist()[2] == 0
    again = _load(path)
    assert again.table["unsupported"].tolist()[2] == 2  # "magic" and "powers"
    assert again.arrays.unsupported[ITEMS[0], 2] == 2
    assert again.table["claims"].tolist()[2] == []


def test_unknown_item(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"item 'nobody' is not in catalogue"):
        _load(_edited(tmp_path, "item_id", "nobody"))


@pytest.mark.parametrize("segment", [S, -1])
def test_unknown_segment(tmp_path: Path, segment: int) -> None:
    table = book()[0].table
    table.loc[2, "segment"] = segment
    table.to_parquet(tmp_path / "book.parquet")
    with pytest.raises(UserError, match=rf"segment must be one of 0\.\.{S - 1}.*is {segment};"):
        _load(tmp_path / "book.parquet")


def test_missing_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="every text must be a string"):
        _load(_edited(tmp_path, "text", None))


@pytest.mark.parametrize("column", COLUMNS)
def test_missing_column(tmp_path: Path, column: str) -> None:
    book()[0].table.drop(columns=column).to_parquet(tmp_path / "book.parquet")
    with pytest.raises(UserError, match=f"column '{column}' is missing"):
        _load(tmp_path / "book.parquet")


@pytest.mark.parametrize("content", [None, b"", b"PAR1 but not really"])
def test_unreadable_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "book.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"book\.parquet: cannot be read") as caught:
        _load(path)
    assert "\n" not in str(caught.value)


def test_prompts_are_the_ones_that_training_saw() -> None:
    briefs = item_briefs(SHOP.catalogue)
    likes = segment_likes(SHOP.catalogue, SHOP.profiles)
    found = prompts_for(SHOP.catalogue, SHOP.profiles, np.array([7, 0]), np.array([1, 4]))
    assert found == [reason_prompt(briefs[7], likes[1]), reason_prompt(briefs[0], likes[4])]
