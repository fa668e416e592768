"""The user's own file: columns by name, one line for every mistake, and no leak."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from envs.errors import UserError
from sft.corpus import CorpusConfig, build_corpus
from sft.corpus_split import check_split
from sft.own_data import OwnDataConfig, TaskCorpus, own_corpus
from sft.tasks.text import length
from tests.data_at_hand import shared_data
from tests.shop_at_hand import small_shop

ROWS = [
    {"name": f"Lamp {n}", "about": f"It glows {n} hours.", "copy": f"Glow for {n}.", "who": n % 4}
    for n in range(40)
]


def written(folder: Path, rows: list[dict[str, Any]] = ROWS, name: str = "own.jsonl") -> Path:
    path = folder / name
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        path.write_text(text, encoding="utf-8")
    return path


def config(path: Path, **settings: Any) -> OwnDataConfig:
    return OwnDataConfig.model_validate(
        {"path": path, "prompt": ["name", "about"], "target": "copy", **settings}
    )


def corpus(path: Path, **settings: Any) -> TaskCorpus:
    return own_corpus(config(path, **settings), 0.1, np.random.default_rng(0))


@pytest.mark.parametrize("name", ["own.jsonl", "own.parquet"])
def test_rows_become_pairs(tmp_path: Path, name: str) -> None:
    made = corpus(written(tmp_path, name=name), task="copy")
    assert (len(made.train), len(made.held), made.dropped) == (36, 4, {})
    by_prompt = {pair.prompt: pair.completion for pair in [*made.train, *made.held]}
    assert by_prompt["name: Lamp 7 | about: It glows 7 hours. | copy ->"] == "Glow for 7."


def test_rows_without_a_text_are_counted(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        *ROWS,
        {"name": "x", "copy": None},
        {"name": "x", "copy": " "},
        {"copy": "only"},
    ]
    assert corpus(written(tmp_path, rows)).dropped == {"no target": 2, "no prompt": 1}


def test_lists_and_objects_are_told_as_text(tmp_path: Path) -> None:
    rows = [{**row, "about": {"light": ["warm", "dim"], "n": 2}} for row in ROWS]
    made = corpus(written(tmp_path, rows))
    assert all("about: light warm, dim, n 2 |" in pair.prompt for pair in made.train)


def test_shoppers_and_items_are_not_on_both_sides(tmp_path: Path) -> None:
    made = corpus(written(tmp_path), shopper="who")
    check_split(made.train, made.held, "own")
    assert {s for p in made.train for s in p.shoppers} | {s for p in made.held for s in p.shoppers}
    assert len(made.train) == 30  # one of the four shoppers is held out


def test_a_held_out_file_that_leaks_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, ROWS[:30])
    good = written(tmp_path, ROWS[30:], "held.jsonl")
    assert len(corpus(path, held=good).held) == 10
    leaky = written(tmp_path, ROWS[29:], "leaky.jsonl")
    with pytest.raises(UserError, match=r"own\.jsonl and .*leaky\.jsonl: item 'name: Lamp 29"):
        corpus(path, held=leaky)


@pytest.mark.parametrize(
    ("changed", "columns", "message"),
    [
        # Another item by the same shopper; the same words about what is said to be another item.
        ({"sku": "new", "name": "Lamp 99"}, {"shopper": "who"}, "shopper '1' is in both"),
        ({"sku": "new", "who": 9}, {"shopper": "who"}, "prompt 'name: Lamp 5"),
        ({"name": "Lamp 99", "who": 9}, {}, "item 'sku 5' is in both"),
    ],
)
def test_every_kind_of_leak_is_an_error(
    tmp_path: Path, changed: dict[str, Any], columns: dict[str, str], message: str
) -> None:
    rows = [{**row, "sku": f"sku {n}"} for n, row in enumerate(ROWS[:30])]
    path = written(tmp_path, rows)
    held = written(tmp_path, [{**rows[5], **changed}], "held.jsonl")
    with pytest.raises(UserError, match=message) as caught:
        corpus(path, held=held, item="sku", **columns)
    assert "\n" not in str(caught.value)


def test_own_rows_about_items_held_out_in_the_catalogue_do_not_train(tmp_path: Path) -> None:
    shop = small_shop().visitors
    ids = shop.catalogue.items["item_id"].tolist()
    rows = [{"sku": item, "name": f"Item {item}", "copy": f"It is {item}."} for item in ids]
    own = OwnDataConfig(path=written(tmp_path, rows), prompt=("name",), target="copy", item="sku")
    config = CorpusConfig(pairs=20, made_up=0, own=own)
    made = build_corpus(shop.catalogue, shop.profiles, config, np.random.default_rng(0))
    held = {ids[item] for item in made.held_items}
    about = {item for pair in made.more.train for item in pair.items}
    assert about
    assert not about & held
    lost = made.more.dropped["item held out in the catalogue"]
    assert len(made.more.train) + len(made.more.held) + lost == len(ids)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "cpoy"}, r"own\.jsonl: target names column 'cpoy', which is missing; there "
                             r"are name, about, copy, who\. Did you mean 'copy'\?"),
        ({"prompt": ["nam"]}, r"names column 'nam', which is missing.*Did you mean 'name'\?"),
        ({"item": "sku"}, "item names column 'sku'"),
        ({"shopper": "woh"}, r"shopper names column 'woh'.*Did you mean 'who'\?"),
    ],
)  # fmt: skip
def test_missing_columns(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        corpus(written(tmp_path), **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("own.jsonl", None, "no such file"),
        ("own.jsonl", b"", "holds no rows"),
        ("own.jsonl", b"{}\n{oh", "line 2: is not valid JSON"),
        ("own.jsonl", b"[1]", "line 1: must be a JSON object, but is list"),
        ("own.jsonl", b"\xff\xfe", "must be UTF-8"),
        ("own.jsonl", b'{"name": "a", "about": "b", "copy": ""}', "none of its 1 rows has both"),
        ("own.jsonl", b'{"name": "a", "about": "b", "copy": "c"}', "cannot be split"),
        ("own.parquet", b"PAR1 but not really", "cannot be read as Parquet"),
        ("own.csv", b"name,copy", "its name ends in '.csv'"),
    ],
)
def test_files_that_are_none(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        corpus(path)
    assert "\n" not in str(caught.value)


REAL = {
    "xrec_books/explanations.jsonl": {
        "prompt": ["title", "item_summary", "user_summary"], "target": "explanation",
        "item": "item", "shopper": "user",
    },
    "product_copy/copy.jsonl": {"prompt": ["title", "category"], "target": "copy", "item": "item"},
    "reasoningrec/beauty_items.jsonl": {
        "prompt": ["title", "brand"], "target": "description", "item": "item",
    },
    "beauty_reviews/reviews.jsonl": {
        "prompt": ["rating", "headline"], "target": "text", "item": "item", "shopper": "user",
    },
    "zh_reviews_asap/train.jsonl": {"prompt": ["star", "aspects"], "target": "text"},
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str) -> None:
    path = shared_data(name)
    made = corpus(path, **REAL[name])
    rows = sum(1 for line in path.read_text(encoding="utf-8").split("\n") if line.strip())
    assert len(made.train) + len(made.held) + sum(made.dropped.values()) == rows
    # What a split by item and shopper costs of these files is less than a fifth.
    assert len(made.train) > 0.7 * rows
    assert len(made.held) >= 0.09 * rows
    check_split(made.train, made.held, name)
    for pair in made.train:
        assert pair.completion
        assert length(pair.completion) <= 60
        # The task and its arrow; the fields keep to the budget.
        assert length(pair.prompt) <= 80
