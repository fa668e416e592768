"""The stage `similarity`: as ever by default, behind a tuned encoder when the config asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.assemble import open_shop
from envs.encoder_config import TextConfig, TuneConfig
from envs.errors import UserError
from envs.item_index import item_texts
from envs.progress import silent
from envs.similarity import SimilarityConfig
from envs.store import load_shop, save_visitors
from experiments.config import Config
from experiments.stages import StageContext
from experiments.steps_shop import run_similarity, similarity_files
from tests.shop_at_hand import small_shop


def _run(folder: Path, **similarity: Any) -> tuple[dict[str, Any], Path]:
    visitors, out = folder / "catalogue", folder / "similarity"
    save_visitors(small_shop().visitors, visitors)
    out.mkdir()
    section = SimilarityConfig.model_validate({"dimensions": 8, "pool": 40, **similarity})
    context = StageContext(
        config=Config(name="test", similarity=section), out=out, work=folder,
        inputs={"catalogue": visitors}, metrics_of=lambda name: {}, seed=5, progress=silent,
        say=lambda line: None, warn=lambda line: None,
    )  # fmt: skip
    return run_similarity(context), out


def test_by_default_the_stage_is_open_shop(tmp_path: Path) -> None:
    _, out = _run(tmp_path)
    config = SimilarityConfig(dimensions=8, pool=40)
    shop = open_shop(small_shop().visitors, config, np.random.default_rng(5))
    kept = load_shop(tmp_path / "catalogue", out)
    np.testing.assert_array_equal(kept.pools.items, shop.pools.items)
    np.testing.assert_array_equal(kept.index.embedding, shop.index.embedding)


def test_a_tuned_encoder_is_what_items_and_queries_are_read_by(tmp_path: Path) -> None:
    metrics, out = _run(tmp_path, text={"tune": {"steps": 4, "held_out": 0.2}})
    assert set(metrics["text"]) >= {"encoder", "recall_before", "recall_after", "seconds"}
    kept = load_shop(tmp_path / "catalogue", out)
    texts = item_texts(small_shop().visitors.catalogue)
    np.testing.assert_allclose(kept.index.encoder.encode(texts), kept.index.embedding, atol=1e-6)
    plain = open_shop(
        small_shop().visitors, SimilarityConfig(dimensions=8), np.random.default_rng(5)
    )
    assert not np.allclose(kept.index.embedding, plain.index.embedding, atol=1e-3)


def test_a_tuned_encoder_is_no_matter_for_a_config_alone() -> None:
    text = TextConfig(tune=TuneConfig(steps=3))
    with pytest.raises(UserError, match=r"similarity\.text: .*trained by the stage `similarity`"):
        open_shop(small_shop().visitors, SimilarityConfig(text=text), np.random.default_rng(0))


def test_the_stage_depends_on_the_files_that_it_reads(tmp_path: Path) -> None:
    def files(**text: Any) -> list[Path]:
        section = SimilarityConfig(text=TextConfig.model_validate(text))
        return list(similarity_files(Config(name="test", similarity=section)))

    log = tmp_path / "log.parquet"
    assert files() == files(encoder="local") == files(encoder="owner/model") == []
    assert files(tune={"steps": 1, "clicks": log}) == [log]
    assert files(tune={"clicks": log}) == [], "nothing is tuned"
    assert files(encoder=str(tmp_path)) == [tmp_path]
