"""The encoder that a config asks for: what it may learn from, and what it says of itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from envs.catalogue import typed_table
from envs.encoder_config import TextConfig, TuneConfig
from envs.errors import UserError
from envs.feedback import write_feedback
from envs.item_index import SimilarityConfig, item_texts
from envs.text_encoder import TextEncoder
from envs.transformer_encoder import TransformerEncoder
from sft.encoder import make_encoder, make_local_encoder
from tests.shop_at_hand import small_shop

VISITORS = small_shop().visitors


def _config(encoder: str = "tfidf", **tune: Any) -> SimilarityConfig:
    text = TextConfig(encoder=encoder, tune=TuneConfig.model_validate(tune))
    return SimilarityConfig(dimensions=16, text=text)


def _make(config: SimilarityConfig, catalogue: Any = VISITORS.catalogue) -> Any:
    return make_encoder(catalogue, VISITORS.profiles, config, np.random.default_rng(0))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """One clicked item for each of the first three queries."""
    catalogue = VISITORS.catalogue
    frame = pd.DataFrame(
        {
            "slate_id": [0, 1, 2],
            "position": 0,
            "item_id": catalogue.items["item_id"].to_numpy()[[0, 40, 79]],
            "query": catalogue.queries["query"].to_numpy()[:3],
            "click": 1,
            "reward": 1.0,
            "pscore": 0.5,
            "pscore_cascade": 0.5,
            "pscore_item_position": 0.5,
        }
    )
    write_feedback(frame, tmp_path / "log.parquet")
    return tmp_path / "log.parquet"


def test_a_tuned_encoder_is_measured_on_items_it_never_saw() -> None:
    encoder, figures = _make(_config(steps=5, held_out=0.25))
    assert isinstance(encoder, TextEncoder)
    met = {u: set(VISITORS.profiles.history_items[VISITORS.profiles.history_rows == u])
           for u in range(80)}  # fmt: skip
    pairs = {(a, b) for items in met.values() for a in items for b in items if a != b}
    # A quarter of the items is out, so that some 9/16 of the pairs are left.
    assert 0.4 * len(pairs) < figures["co_click_pairs"] < 0.7 * len(pairs)
    assert figures["query_click_pairs"] == 0
    assert 0 <= figures["recall_before"] <= 1
    assert 0 <= figures["recall_after"] <= 1
    again, _ = _make(_config(steps=5, held_out=0.25))
    np.testing.assert_array_equal(encoder.components, again.components)


def test_without_steps_nothing_is_tuned() -> None:
    encoder, figures = _make(_config("local"))
    assert figures == {"encoder": "local"}
    assert isinstance(encoder, TransformerEncoder)


def test_queries_that_people_judged_never_train(log: Path) -> None:
    _, figures = _make(_config(steps=1, clicks=log, held_out=0.01))
    assert figures["query_click_pairs"] == 3
    catalogue = VISITORS.catalogue
    rows = [(catalogue.queries["query_id"][1], catalogue.items["item_id"][5], 3.0)]
    table = pd.DataFrame(rows, columns=["query_id", "item_id", "rating"])
    judged = replace(catalogue, judgements=typed_table(table, "judgements", "test"))
    _, figures = _make(_config(steps=1, clicks=log, held_out=0.01), judged)
    assert figures["query_click_pairs"] == 2


def test_a_log_without_queries_is_one_clear_line(log: Path) -> None:
    pd.read_parquet(log).drop(columns="query").to_parquet(log)
    with pytest.raises(UserError, match=r"needs the column 'query'.*tune\.clicks"):
        _make(_config(steps=1, clicks=log))


def test_a_local_encoder_follows_from_its_seed_alone() -> None:
    texts = item_texts(VISITORS.catalogue)
    state = torch.random.get_rng_state()
    one, same, other = (make_local_encoder(texts, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    rows = one.encode(texts[:5])
    np.testing.assert_array_equal(rows, same.encode(texts[:5]))
    assert not np.allclose(rows, other.encode(texts[:5]))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
