"""A small bundle and all that it was made from: for tests of bundles, and of what serves them."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from envs.assemble import Shop, Visitors, open_shop, synthetic_visitors
from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES
from envs.shoppers import ShopperConfig
from envs.similarity import SCORES, SimilarityConfig
from envs.synthetic import SyntheticConfig
from policies.bundle import BundleSettings
from policies.bundle_export import export_bundle, seal
from policies.bundle_files import BOOK, read_manifest
from policies.ranker.config import ScorerConfig
from policies.ranker.scorer import SlateScorer
from policies.reasoner.book import ReasonBook, write_book
from rewards.claims import ClaimChecker

SETTINGS = BundleSettings(slots=4, pool=30, words_free=15)
METRICS: dict[str, Any] = {
    "ppo": {"reward_before": 0.5, "gain": {"mean": 0.25, "low": 0.125, "high": 0.375}},
    "simulate": {
        "policies": {"ranker": {"return": {"mean": 3.5, "low": 3.25, "high": 3.75}, "ctr": 0.125}},
        "paired": [
            {"a": "ranker", "b": "similarity", "metric": "return", "diff": 1, "low": 0, "high": 2}
        ],
    },
    "ope": {
        "truth": 2.5,
        "estimates": [{"estimator": "DR", "value": 2.25, "low": 2, "high": 3, "ess": 812.0}],
    },
}


@dataclass(frozen=True)
class Made:
    """A bundle and all that it was made from."""

    path: Path
    shop: Shop
    #: The reasons, and those from before.
    book: ReasonBook
    before: ReasonBook
    scorer: SlateScorer
    returned: dict[str, Any]


def make_reasoner(folder: Path) -> Path:
    """Write a tiny language model that was never trained, and so writes nonsense."""
    from sft.base_model import make_local_model
    from sft.train_config import BaseModelConfig
    from sft.trainer_tools import save_reasoner

    config = BaseModelConfig(vocab_size=300)
    save_reasoner(*make_local_model(["a light lamp", "a large mug"], config, 0), folder)
    return folder


def make_scorer() -> SlateScorer:
    """Return a ranker away from the plain start, as after training."""
    generator = torch.Generator().manual_seed(3)
    config = ScorerConfig(baseline_features=SCORES)
    scorer = SlateScorer(config, ITEM_FEATURES, CONTEXT_FEATURES, generator)
    with torch.no_grad():
        for weight in scorer.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return scorer.eval()


def make_bundle(path: Path, reasoner: Path | None, visitors: Visitors | None = None) -> Made:
    """Export a bundle of 80 items and 60 shoppers, or of the 80 items of other visitors."""
    rng = np.random.default_rng(5)
    if visitors is None:
        visitors = synthetic_visitors(SyntheticConfig(items=80), ShopperConfig(shoppers=60), rng)
    shop = open_shop(visitors, SimilarityConfig(pool=40), rng)
    checker = ClaimChecker(visitors.catalogue)
    # Item 0 has no reason, as where a book was written for some items only.
    book, before = (
        write_book(visitors.catalogue, visitors.profiles, checker, None, np.arange(1, 80), rng)[0]
        for _ in range(2)
    )
    scorer = make_scorer()
    with warnings.catch_warnings():
        # torch.export calls functions that torch itself has deprecated (seen with torch 2.13).
        warnings.simplefilter("ignore", DeprecationWarning)
        returned = export_bundle(
            path, shop=shop, book=book, scorer=scorer, reasoner=reasoner, settings=SETTINGS,
            metrics=METRICS, name="small | shop", before=before,
        )  # fmt: skip
    return Made(path, shop, book, before, scorer, returned)


def without_reasons(source: Path, out: Path, missing: set[str]) -> Path:
    """Write a bundle whose book lacks some items, sealed as it then is; its self-test is not."""
    shutil.copytree(source, out)
    before = read_manifest(out)
    book = pq.read_table(out / BOOK)
    keep = pc.invert(pc.is_in(book["item_id"], pa.array(sorted(missing))))
    pq.write_table(book.filter(keep), out / BOOK)
    found = ("schema_version", "created", "files")
    seal(out, {n: getattr(before, n) for n in type(before).model_fields if n not in found})
    return out
