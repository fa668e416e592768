"""`score`: files in, figures beside floors out, one line for each mistake."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from envs.assemble import synthetic_visitors
from envs.catalogue import save_catalogue
from envs.errors import UserError
from envs.store import save_visitors
from envs.synthetic import SyntheticConfig
from experiments.benchmarks import metrics as benchmark
from experiments.console import plain
from experiments.score import print_scores, score_file
from policies.reasoner.book import save_book, write_book
from rewards.claims import ClaimChecker
from sft.metrics.meter import FAMILIES
from tests.data_at_hand import shared_data
from tests.shop_at_hand import hand_made, small_shop

ROWS: list[dict[str, Any]] = [
    {"text": "It has a 30-hour battery.", "reference": "You get a 30-hour battery.",
     "item_id": "watch", "shopper_id": 1, "likes": ["battery"], "feature": "battery",
     "prompt": "likes battery"},
    {"text": "Pick it for its weight of 40 g.", "reference": "A weight of 40 g suits you.",
     "item_id": "watch", "shopper_id": 2, "likes": ["weight"], "feature": "weight",
     "prompt": "likes weight"},
    {"text": "You get warm light here.", "reference": "Warm light is what you like.",
     "item_id": "lamp", "shopper_id": 1, "likes": ["battery"], "feature": "light",
     "prompt": "likes battery"},
]  # fmt: skip
Write = Callable[..., Path]


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    save_catalogue(
        hand_made(
            [("watch", "Norvik Watch", "w", "Norvik"), ("lamp", "Lumiq Lamp", "l", "Lumiq")],
            [
                ("watch", "battery", ["30-hour battery"]),
                ("watch", "weight", ["weight of 40 g"]),
                ("lamp", "light", ["warm light"]),
            ],
        ),
        tmp_path / "shop",
    )
    return tmp_path / "shop"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write rows, each with ``changes``, as JSONL; without the columns ``drop``."""

    def write(drop: tuple[str, ...] = (), rows: list[Any] = ROWS, **changes: Any) -> Path:
        path = tmp_path / "texts.jsonl"
        kept = [{k: v for k, v in (row | changes).items() if k not in drop} for row in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        return path

    return write


# --- figures -------------------------------------------------------------------------------------


def test_everything_that_a_full_file_allows(write: Write, catalogue: Path) -> None:
    result = score_file(write(), catalogue=catalogue)
    metrics = result["metrics"]
    assert result["texts"] == 3
    assert result["locale"] == "en"
    assert metrics["claim_precision"]["value"] == 1
    assert metrics["claim_recall"]["value"] == 1
    assert metrics["fmr"]["value"] == 1
    assert metrics["profile_match"]["value"] == 1
    assert metrics["shopper_swap"]["value"] == 1
    assert metrics["item_swap"]["value"] == 1
    assert set(metrics["claim_precision"]["floors"]) == {"fixed", "shuffled", "fallback"}
    assert metrics["claim_precision"]["floors"]["fallback"] == 1
    assert any("in 67% of the rows" in note for note in result["notes"])
    # The same file and seed give the same figures, and the result is JSON.
    assert score_file(write(), catalogue=catalogue) == result
    assert json.loads(json.dumps(plain(result), allow_nan=False)) == plain(result)


def test_parquet_gives_what_jsonl_gives(write: Write, catalogue: Path, tmp_path: Path) -> None:
    pd.DataFrame(ROWS).to_parquet(tmp_path / "texts.parquet")
    assert score_file(tmp_path / "texts.parquet", catalogue=catalogue) == score_file(
        write(), catalogue=catalogue
    )


def test_columns_of_another_name(write: Write) -> None:
    rows = [{"said": row["text"], "wanted": row["reference"]} for row in ROWS]
    mapped = score_file(write(rows=rows), columns={"text": "said", "reference": "wanted"})
    others = ("item_id", "shopper_id", "likes", "feature", "prompt")
    assert mapped == score_file(write(drop=others))


def test_only_the_metrics_asked_for(write: Write) -> None:
    result = score_file(write(), families=["form"])
    assert set(result["metrics"]) == {"length", "readability"}


def test_texts_alone_are_scored_and_the_language_seen(write: Write) -> None:
    result = score_file(write(rows=[{"text": "电池很耐用。"}, {"text": "屏幕很亮。"}]))
    assert result["locale"] == "zh"
    assert result["metrics"]["usr"]["value"] == 1
    assert score_file(write(), locale="zh")["locale"] == "zh"


def test_a_book_is_scored_by_the_segments_of_its_run(tmp_path: Path) -> None:
    """The fallback's own book in the run's folder: true, fitting, and level with its floor."""
    visitors = small_shop().visitors
    save_visitors(visitors, tmp_path / "run" / "catalogue")
    checker, rng = ClaimChecker(visitors.catalogue), np.random.default_rng(0)
    items = np.arange(40)
    book, _ = write_book(visitors.catalogue, visitors.profiles, checker, None, items, rng)
    save_book(book, tmp_path / "book.parquet")
    result = score_file(tmp_path / "book.parquet", catalogue=tmp_path / "run")
    metrics = result["metrics"]
    assert metrics["claim_precision"]["value"] == 1
    assert metrics["profile_match"]["value"] > 0.95
    assert metrics["profile_match_lift"]["low"] > 0
    assert metrics["shopper_swap"]["low"] > 0
    assert metrics["shopper_swap"]["floors"]["fixed"] == 0
    # The stage folder and the catalogue in it are the same shop.
    stage = tmp_path / "run" / "catalogue"
    for folder in (stage, stage / "catalogue"):
        assert score_file(tmp_path / "book.parquet", catalogue=folder) == result


def test_shoppers_are_known_by_their_history(tmp_path: Path, write: Write) -> None:
    visitors = small_shop().visitors
    save_catalogue(visitors.catalogue, tmp_path / "shop")
    items, ids = visitors.catalogue.items["item_id"], visitors.profiles.shopper_ids
    rows = [
        {"text": "A good choice.", "item_id": items[n % 5], "shopper_id": ids[n]} for n in range(40)
    ]
    rows[0]["shopper_id"] = "a stranger"
    result = score_file(write(rows=rows), catalogue=tmp_path / "shop")
    assert result["metrics"]["profile_match"]["value"] == 0
    assert result["metrics"]["shopper_swap"]["value"] == 0
    assert result["metrics"]["profile_match"]["floors"]["fallback"] > 0.9
    assert any(re.search(r"without a history.*: 1$", note) for note in result["notes"])


def test_unknown_likes_are_said(write: Write, catalogue: Path) -> None:
    result = score_file(write(drop=("likes",)), catalogue=catalogue)
    assert "item_swap" in result["metrics"]
    assert "profile_match" not in result["metrics"]
    assert result["notes"][0].startswith("what the shoppers like is not known")


def test_real_explanations_print_beside_their_floors(capsys: pytest.CaptureFixture[str]) -> None:
    path = shared_data("xrec_books") / "explanations.jsonl"
    columns = {"text": "xrec_output", "reference": "explanation", "item_id": "item"}
    result = score_file(path, columns=columns)
    print_scores(result, "xrec")
    shown = capsys.readouterr().out
    assert "2,408 texts (en)" in shown
    assert "note: rougeL does not beat the floor 'fixed'" in shown
    for name in result["metrics"]:
        assert name[:8] in shown


def test_real_chinese_reviews() -> None:
    path = shared_data("zh_reviews_asap") / "dev.jsonl"
    result = score_file(path, columns={"reference": "text"})
    assert result["locale"] == "zh"
    assert result["metrics"]["rougeL"]["value"] == pytest.approx(100)
    assert result["metrics"]["rougeL"]["floors"]["shuffled"] < 30


# --- mistakes ------------------------------------------------------------------------------------


def fails(message: str, path: Path, **options: Any) -> None:
    with pytest.raises(UserError) as raised:
        score_file(path, **options)
    assert "\n" not in str(raised.value)
    assert re.search(message, str(raised.value)), raised.value


def test_mistakes_in_the_file(write: Write, tmp_path: Path) -> None:
    fails(r"none.jsonl: no such file; give the path", tmp_path / "none.jsonl")
    fails(r"texts.jsonl: column 'text' is missing; there are reference, .* --map text=NAME",
          write(drop=("text",)))  # fmt: skip
    fails(r"texts.jsonl: holds no rows; there is nothing to read", write(rows=[]))
    fails(r"row 1: text must be a string, but is None", write(text=None))
    fails(r"row 2: reference must be a string, but is nan; mend or drop",
          write(rows=[ROWS[0], {"text": "a"}]))  # fmt: skip
    fails(r"row 1: item_id must be a string or a whole number, but is 1\.5", write(item_id=1.5))
    fails(r"row 1: segment must be a whole number, but is True", write(segment=True))
    fails(r"row 1: likes must be a list of aspects, but is 3", write(likes=3))

    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"text": "a"}\n\n{"text": \n')
    fails(r"broken.jsonl, line 3: is not valid JSON", broken)
    broken.write_text('"text"\n')
    fails(r"broken.jsonl, line 1: must be a JSON object, but is str", broken)
    broken.write_bytes(b'{"text": "\xff"}\n')
    fails(r"broken.jsonl: must be UTF-8", broken)
    (tmp_path / "texts.parquet").write_text("none")
    fails(r"texts.parquet: cannot be read as Parquet", tmp_path / "texts.parquet")
    (tmp_path / "texts.csv").write_text("text\na\n")
    fails(r"texts.csv: must be a .jsonl or .parquet file, but its name ends in '.csv'",
          tmp_path / "texts.csv")  # fmt: skip


def test_mistakes_in_the_options(write: Write, catalogue: Path, tmp_path: Path) -> None:
    fails(r"--metrics overlop: must be one of overlap, .* Did you mean 'overlap'", write(),
          families=["overlop"])  # fmt: skip
    fails(r"texts.jsonl: --metrics overlap needs column 'reference', which is not given",
          write(drop=("reference",)), families=["overlap"])  # fmt: skip
    fails(r"--metrics claims needs a catalogue and column 'item_id'", write(), families=["claims"])
    fails(r"--bertscore needs column 'reference'", write(drop=("reference",)), bertscore="x")
    fails(r"--locale de: must be en or zh", write(), locale="de")
    fails(r"--map texts=said: the left side must be one of text, .* Did you mean 'text'", write(),
          columns={"texts": "said"})  # fmt: skip
    fails(r"--map text=txt names a column that is missing; .* Did you mean 'text'", write(),
          columns={"text": "txt"})  # fmt: skip
    fails(r"nowhere: no such folder", write(), catalogue=tmp_path / "nowhere")


def test_mistakes_against_the_catalogue(write: Write, catalogue: Path, tmp_path: Path) -> None:
    fails(r"row 1: item_id 'wach' is not in catalogue hand; .* Did you mean 'watch'",
          write(item_id="wach"), catalogue=catalogue)  # fmt: skip
    fails(r"row 1: likes names 'batery', which is no aspect .* Did you mean 'battery'",
          write(likes="weight|batery"), catalogue=catalogue)  # fmt: skip
    save_visitors(small_shop().visitors, tmp_path / "run")
    item = small_shop().visitors.catalogue.items["item_id"][0]
    fails(r"row 1: segment must be one of 0\.\.7, but is 8; give the catalogue of the run",
          write(drop=("likes",), item_id=item, segment=8), catalogue=tmp_path / "run")  # fmt: skip


# --- speed ---------------------------------------------------------------------------------------


def test_benchmark_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def visitors(config: SyntheticConfig, *others: Any) -> Any:
        return synthetic_visitors(config.model_copy(update={"items": 60}), *others)

    monkeypatch.setattr(benchmark, "_TEXTS", 200)
    monkeypatch.setattr(benchmark, "synthetic_visitors", visitors)
    rows = benchmark.measure(1)
    assert [row["name"] for row in rows] == ["all", "overlap", "variety", "features", "claims",
                                             "personal", "form"]  # fmt: skip
    assert all(0 < row["min"] <= row["value"] <= row["max"] for row in rows)
    # Without a feature column the features are the catalogue's aspects.
    assert [row["name"] for row in rows[1:]] == list(FAMILIES)
