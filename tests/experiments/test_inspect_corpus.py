"""Looking at a corpus before training."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.store import load_visitors
from experiments.config import Config
from experiments.inspect_corpus import SHOWN, inspect_corpus, inspection_lines
from experiments.stages import StageContext, stage_seed
from experiments.steps_reasons import make_corpus
from experiments.steps_shop import run_catalogue

CONFIG = {
    "name": "look",
    "seed": 5,
    "catalogue": {"kind": "synthetic", "items": 60},
    "shoppers": {"shoppers": 60, "segments": 3, "types": 3},
    "corpus": {"pairs": 200, "tags": 0.2, "review": 0.2},
    "sft": {"base": {"vocab_size": 600}, "max_length": 120},
}


def look(**over: Any) -> dict[str, Any]:
    return inspect_corpus(Config.model_validate({**CONFIG, **over}))


def test_ten_pairs_of_every_task_and_their_lengths(tmp_path: Any) -> None:
    result = look()
    assert set(result["tasks"]) == {"reason", "tags", "review", "made-up reason"}
    assert result["tasks"]["reason"]["train"] == 200
    assert result["tasks"]["tags"]["train"] == 40
    shown = result["examples"]
    assert len(shown) == SHOWN
    assert {pair["task"] for pair in shown} == set(result["tasks"])
    for figures in result["tasks"].values():
        for lengths in (figures["prompt"], figures["target"]):
            assert 0 < lengths["median"] <= lengths["p99"] <= lengths["max"]
    tokens = result["tokens"]
    assert tokens["max_length"] == 120
    assert (tokens["max"] > 120) == (tokens["too_long"] > 0)
    lines = inspection_lines(result)
    assert sum(line.startswith(f"{SHOWN}. ") for line in lines) == 1
    assert any("sft.max_length 120" in line for line in lines)
    # What is shown is what a run would train on.
    config = Config.model_validate(CONFIG)
    context = StageContext(
        config=config, out=tmp_path, work=tmp_path, inputs={}, metrics_of=lambda name: {},
        seed=stage_seed(config.seed, "catalogue"), progress=lambda *_: None, say=print, warn=print,
    )  # fmt: skip
    run_catalogue(context)
    visitors = load_visitors(tmp_path)
    corpus = make_corpus(config, visitors.catalogue, visitors.profiles)
    known = {pair.prompt for pair in [*corpus.train, *corpus.held, *corpus.made_up]}
    known |= {pair.prompt for pair in [*corpus.more.train, *corpus.more.held]}
    assert {pair["prompt"] for pair in shown} <= known
    assert look() == result


def test_a_model_by_path_is_not_loaded_for_a_look() -> None:
    result = look(sft={"base": {"model": "nobody/nothing"}})
    assert result["tokens"] is None
    assert any("known once" in line for line in inspection_lines(result))
    assert np.isfinite(result["tasks"]["reason"]["prompt"]["max"])
