"""Measuring the tasks beside the reason: structure, floors, and what a perfect writer scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from experiments import measure_tasks as module
from experiments.measure_tasks import SHOWN, measure_tasks
from sft.base_model import make_local_model
from sft.corpus import Corpus, CorpusConfig, build_corpus
from sft.corpus_split import TaskPair
from sft.own_data import TaskCorpus
from sft.tasks.review import MARK
from sft.train_config import BaseModelConfig
from tests.shop_at_hand import small_shop

OWN = [
    TaskPair("text", f"title: lamp {n} | text ->", f"A lamp that glows {n} hours.")
    for n in range(9)
]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    shop = small_shop().visitors
    config = CorpusConfig(pairs=200, tags=0.2, description=0.2, review=0.2, review_summary=0.2)
    made = build_corpus(shop.catalogue, shop.profiles, config, np.random.default_rng(0))
    more = TaskCorpus(made.more.train, [*made.more.held, *OWN], {}, made.more.finder)
    return replace(made, more=more)


@pytest.fixture(scope="module")
def untrained() -> tuple[Any, Any]:
    return make_local_model(["some words"], BaseModelConfig(vocab_size=300), seed=0)


def measured(corpus: Corpus, untrained: tuple[Any, Any], **settings: Any) -> dict[str, Any]:
    return measure_tasks(*untrained, corpus, small_shop().visitors.catalogue, **settings)


def test_a_writer_that_knows_the_references_is_right_and_above_every_floor(
    corpus: Corpus, untrained: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {pair.prompt: pair.completion for pair in corpus.more.held}
    asked: list[str] = []

    def recite(_: Any, __: Any, prompts: Sequence[str], **settings: Any) -> list[str]:
        asked.extend(prompts)
        return [known[prompt] for prompt in prompts]

    monkeypatch.setattr(module, "generate", recite)
    seen: list[tuple[int, int]] = []
    result = measured(corpus, untrained, progress=lambda done, total, _: seen.append((done, total)))
    samples = result.pop("samples")
    assert result.keys() == {"tags", "description", "review", "review_summary", "text"}
    assert len(set(asked)) == len(asked)  # each prompt once
    assert seen[-1] == (len(asked), len(asked))
    for task, figures in result.items():
        for name, figure in figures.items():
            assert figure["floors"].keys() == {"fixed", "shuffled", "rules"}
            assert figure["about"]
            assert figure.get("low", 0) <= figure["value"] <= figure.get("high", 100.001)
            if "reference" in figure:
                assert figure["value"] == figure["reference"], (task, name)
        assert figures["rougeL"]["value"] == pytest.approx(100)
        for floor in ("fixed", "shuffled"):
            assert figures["rougeL"]["floors"][floor] < 100
        rows = [(sample["prompt"], sample["reference"]) for sample in samples[task]]
        assert 0 < len(rows) <= SHOWN
        assert all(known[prompt] == reference for prompt, reference in rows)
    assert result["review_summary"]["exact"]["value"] == 1.0
    assert result["review_summary"]["exact"]["floors"]["rules"] == 1.0
    assert result["review_summary"]["exact"]["floors"]["shuffled"] < 0.5
    assert result["tags"]["tag_recall"]["value"] == 1.0


def test_an_untrained_writer_is_wrong_and_its_reviews_are_marked_all_the_same(
    corpus: Corpus, untrained: tuple[Any, Any]
) -> None:
    result = measured(corpus, untrained, prompts=4, max_new_tokens=8)
    assert result["review_summary"]["exact"]["value"] == 0
    assert result["review"]["marked"]["value"] == 0
    for sample in result["samples"]["review"]:
        assert sample["text"].startswith(MARK["en"])
    again = measured(corpus, untrained, prompts=4, max_new_tokens=8)
    assert again == result


def test_a_corpus_of_reasons_alone_has_nothing_to_measure(
    corpus: Corpus, untrained: tuple[Any, Any]
) -> None:
    assert measured(replace(corpus, more=TaskCorpus()), untrained) == {}
