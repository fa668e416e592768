"""`write`: a book from a catalogue or a run, that a kill does not lose and nothing slips into."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from envs.catalogue import load_catalogue, save_catalogue
from envs.errors import UserError
from envs.files import read_json, write_json
from envs.store import load_profiles
from experiments.cli import cli
from experiments.config import Config
from experiments.config_io import load_config
from experiments.console import Console, run_cli
from experiments.pipeline import STAGES
from experiments.stages import run_stages
from experiments.write import WriteOptions, write_file
from policies.reasoner.book import COLUMNS, load_book
from rewards.claims import ClaimChecker
from sft.base_model import make_local_model
from sft.train_config import BaseModelConfig
from tests.shop_at_hand import hand_made, small_shop

ITEMS = 12
SEGMENTS = small_shop().visitors.profiles.n_segments


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    save_catalogue(small_shop().visitors.catalogue, tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture(scope="module")
def reasoner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reasoner folder whose model has learned nothing."""
    folder = tmp_path_factory.mktemp("reasoner")
    model, tokenizer = make_local_model(["watch ->"], BaseModelConfig(vocab_size=300), seed=0)
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has got as far as its similarity stage."""
    folder = tmp_path_factory.mktemp("run") / "mini"
    config = load_config(Config, Path("experiments/configs/mini.yaml"), [])
    run_stages(STAGES, config, folder, until="similarity", console=Console(quiet=True))
    return folder


class Scripted:
    """A writer of true, false and empty texts, by the row; it dies when it is told to."""

    def __init__(self, dies_after: int | None = None) -> None:
        self.rows: list[int] = []
        self._left = dies_after

    def __call__(
        self, prompts: Sequence[str], rows: Sequence[int], copies: int = 1
    ) -> list[list[str]]:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left = None if self._left is None else self._left - 1
        self.rows += rows
        return [
            [self._text(p, row + copy) for copy in range(copies)] for p, row in zip(prompts, rows)
        ]

    def _text(self, prompt: str, number: int) -> str:
        fact = prompt.split(" | ")[1].split(": ", 1)[1].removesuffix(" ->")
        return ["It has magic powers.", f"Pick it for its {fact}.", "", f"It offers {fact}."][
            number % 4
        ]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a scripted writer in the place of the next models that are opened."""

    def put(writer: Scripted) -> Scripted:
        monkeypatch.setattr("experiments.write.open_writer", lambda *_: writer)
        return writer

    return put


def options(reasoner: Path, **others: Any) -> WriteOptions:
    return WriteOptions(**{"model": str(reasoner), "items": ITEMS, "batch_size": 8, **others})


def test_true_texts_are_shown_and_the_others_replaced_and_counted(
    shop: Path, reasoner: Path, script: Any, tmp_path: Path
) -> None:
    script(Scripted())
    out = tmp_path / "new" / "book.parquet"
    found = write_file(shop, out, options(reasoner))
    texts = ITEMS * SEGMENTS
    assert found == {
        "texts": texts,
        "by_model": texts // 2,
        "by_fallback": texts // 2,
        "vetoes": {"unsupported claim": texts // 4, "empty": texts // 4},
        "items": ITEMS,
        "segments": SEGMENTS,
        "model": str(reasoner),
        "backend": "transformers",
        "seed": 0,
    }
    table = pd.read_parquet(out)
    assert tuple(table.columns) == COLUMNS
    assert table["source"].tolist() == ["fallback", "model"] * (texts // 2)
    assert (table["unsupported"] == 0).all()
    assert table["text"].str.len().min() > 0
    assert list(out.parent.iterdir()) == [out]
    catalogue = load_catalogue(shop)
    load_book(out, catalogue, SEGMENTS, ClaimChecker(catalogue))


def test_a_killed_writing_goes_on_and_ends_in_the_same_book(
    shop: Path, reasoner: Path, script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, out = tmp_path / "whole.parquet", tmp_path / "book.parquet"
    script(Scripted())
    write_file(shop, whole, options(reasoner))
    first = script(Scripted(dies_after=2))
    with pytest.raises(KeyboardInterrupt):
        write_file(shop, out, options(reasoner))
    assert not out.exists()
    second = script(Scripted())
    write_file(shop, out, options(reasoner), Console())
    assert "going on after 64 of 96 texts" in capsys.readouterr().err
    assert first.rows == list(range(64))
    assert second.rows == list(range(64, ITEMS * SEGMENTS))
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("change", [{"seed": 1}, {"top_p": 0.9}, {"items": 11}, {"best_of": 2}])
def test_what_was_written_under_other_options_is_not_used(
    shop: Path, reasoner: Path, script: Any, tmp_path: Path, change: dict[str, Any]
) -> None:
    script(Scripted(dies_after=1))
    with pytest.raises(KeyboardInterrupt):
        write_file(shop, tmp_path / "book.parquet", options(reasoner))
    again = script(Scripted())
    write_file(shop, tmp_path / "book.parquet", options(reasoner, **change))
    assert again.rows[0] == 0


def test_best_of_finds_the_true_text_and_says_what_it_won(
    shop: Path, reasoner: Path, script: Any, tmp_path: Path
) -> None:
    script(Scripted())
    found = write_file(shop, tmp_path / "book.parquet", options(reasoner, best_of=4))
    assert found["vetoes"] == {}
    best = found["best_of"]
    assert best["n"] == 4
    assert best["chosen"] == best["by_count"][-1]
    assert best["first"] == best["by_count"][0]
    # Half of the first texts are vetoed, at -1 each; of four texts two are true.
    assert best["first"] < 0 <= best["chosen"]
    assert best["by_count"] == sorted(best["by_count"])


def test_rules_write_without_a_model(shop: Path, tmp_path: Path) -> None:
    books = []
    for name in ("a", "b"):
        found = write_file(shop, tmp_path / f"{name}.parquet", WriteOptions(model="rules"))
        books.append((tmp_path / f"{name}.parquet").read_bytes())
    assert books[0] == books[1]
    assert found["by_model"] == 0
    assert found["by_fallback"] == found["texts"] == 80 * SEGMENTS
    assert found["vetoes"] == {}
    assert "backend" not in found


def test_a_catalogue_without_a_history_gets_simulated_shoppers(tmp_path: Path) -> None:
    rows = [(f"i{n}", f"Lamp {n}", "lamp", "B") for n in range(30)]
    facts = [(row[0], aspect, [f"{aspect} {n}"]) for n, row in enumerate(rows)
             for aspect in ("light", "weight", "size")]  # fmt: skip
    save_catalogue(hand_made(rows, facts), tmp_path / "shop")
    found = write_file(tmp_path / "shop", tmp_path / "b.parquet", WriteOptions(model="rules"))
    assert found["segments"] == 8
    assert found["texts"] == 30 * 8


def test_a_run_brings_its_segments_and_its_reward(
    run: Path, reasoner: Path, script: Any, tmp_path: Path
) -> None:
    script(Scripted())
    found = write_file(run, tmp_path / "book.parquet", options(reasoner, best_of=4))
    assert found["segments"] == load_profiles(run / "catalogue").n_segments == 3
    assert found["best_of"]["reward"] == "the run's PPO reward"
    assert np.isfinite(found["best_of"]["by_count"]).all()
    assert found["by_model"] == found["texts"]


def test_a_run_without_a_trained_writer_says_so(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither ppo nor sft is finished.*--model"):
        write_file(run, tmp_path / "book.parquet")


def test_a_run_writes_with_the_best_that_it_trained(
    run: Path, reasoner: Path, tmp_path: Path
) -> None:
    """A stage of a real model, put into the run as the engine would have left it."""
    trained = tmp_path / "run"
    shutil.copytree(run, trained)
    record = read_json(run / "catalogue" / "stage.json") | {"stage": "sft", "files": {}}
    shutil.copytree(reasoner, trained / "sft")
    write_json(trained / "sft" / "stage.json", record)
    found = write_file(trained, tmp_path / "book.parquet", WriteOptions(items=2, max_new_tokens=3))
    assert found["model"] == str(trained / "sft")
    assert found["by_model"] + found["by_fallback"] == found["texts"] == 6
    assert (
        write_file(
            trained,
            tmp_path / "again.parquet",
            WriteOptions(items=2, max_new_tokens=3, batch_size=1),
        )
        == found
    )
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "book.parquet").read_bytes()


def fails(message: str, source: Path, out: Path, **given: Any) -> None:
    with pytest.raises(UserError, match=message) as raised:
        write_file(source, out, WriteOptions(**given))
    assert "\n" not in str(raised.value)
    assert not out.is_file()
    assert not out.with_name(f".{out.name}.work").exists()


def test_mistakes_are_told_before_anything_is_written(
    shop: Path, reasoner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)  # as where it is not installed
    out = tmp_path / "book.parquet"
    fails("a book is a Parquet file; give a file name that ends", shop, tmp_path / "book.csv")
    fails("is a catalogue, which brings no writer; name a reasoner", shop, out)
    fails("nowhere: no such folder", tmp_path / "nowhere", out, model="rules")
    fails("holds neither a reasoner .* nor a run", shop, out, model=str(tmp_path))
    fails(r"--model ./nowhere: no such folder", shop, out, model="./nowhere")
    fails(r"--best-of 2: greedy writing has one", shop, out, model="x", greedy=True, best_of=2)
    fails(r"--greedy: takes the likeliest", shop, out, model="x", greedy=True, top_p=0.5)
    fails(r"--best-of 2: the rules write one", shop, out, model="rules", best_of=2)
    fails(r"need \d+ tokens, but the model reads at most 512", shop, out,
          model=str(reasoner), max_new_tokens=510)  # fmt: skip
    fails("vLLM is not installed; install it", shop, out, model=str(reasoner), backend="vllm")


def test_the_command(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "book.parquet"
    arguments = ["write", str(shop), str(out), "--model", "rules", "--items", "3", "--quiet"]
    with pytest.raises(SystemExit) as left:
        run_cli(cli, arguments)
    assert left.value.code == 0
    shown = capsys.readouterr()
    assert f"book: {out}" in shown.out
    assert f"texts: {3 * SEGMENTS} (3 items, {SEGMENTS} segments), all by the rules" in shown.out
    with pytest.raises(SystemExit):
        run_cli(cli, [*arguments, "--json", "-"])
    assert json.loads(capsys.readouterr().out)["texts"] == 3 * SEGMENTS
    with pytest.raises(SystemExit) as left:
        run_cli(cli, [*arguments[:3]])
    assert left.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
