"""A transformer that encodes texts is kept beside the item index and reads the same again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from envs.item_index import SimilarityConfig, build_index, item_texts
from envs.store import load_index, save_index
from sft.encoder import make_local_encoder
from tests.shop_at_hand import small_shop


def test_an_index_keeps_its_transformer(tmp_path: Path) -> None:
    visitors = small_shop().visitors
    catalogue = visitors.catalogue
    encoder = make_local_encoder(item_texts(catalogue), 0)
    rng = np.random.default_rng(0)
    index = build_index(catalogue, visitors.profiles, SimilarityConfig(), rng, encoder=encoder)
    save_index(index, tmp_path)
    kept = load_index(tmp_path)
    np.testing.assert_array_equal(kept.embedding, index.embedding)
    np.testing.assert_array_equal(
        kept.encoder.encode(["wireless headphones"]), encoder.encode(["wireless headphones"])
    )
