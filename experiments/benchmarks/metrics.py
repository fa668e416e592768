"""Speed of the text metrics, floors included; `score` of 100 thousand texts is the yardstick."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.assemble import synthetic_visitors
from envs.catalogue import Catalogue
from envs.shoppers import ShopperConfig
from envs.synthetic import SyntheticConfig
from experiments.benchmarks.timing import rate
from policies.reasoner.fallback import fallback_reason
from sft.corpus import CorpusConfig, build_corpus
from sft.metrics.meter import Rows, possible_families
from sft.metrics.score import score_texts
from sft.tasks import LIKES, item_briefs, segment_likes

_TEXTS = 10_000


def measure(repeats: int) -> list[dict[str, Any]]:
    """The corpus of the default shop: each family alone, and all of them."""
    rows, fallback, catalogue = made_up_rows(_TEXTS)
    able = possible_families(rows, catalogue)

    def row(name: str, families: list[str]) -> dict[str, Any]:
        def work() -> int:
            score_texts(rows, families, np.random.default_rng(0), catalogue, {"fallback": fallback})
            return len(rows.texts)

        words = np.mean([len(text.split()) for text in rows.texts])
        what = f"{len(rows.texts):,} texts of {words:.0f} words, three floors, one core"
        return rate(name, "texts_per_cpu_second", "texts/s", what, work, repeats, time.process_time)

    return [row("all", able), *(row(family, [family]) for family in able)]


def made_up_rows(count: int) -> tuple[Rows, list[str], Catalogue]:
    """Return about ``count`` corpus texts with references, their fallbacks, and the catalogue."""
    rng = np.random.default_rng(0)
    visitors = synthetic_visitors(SyntheticConfig(), ShopperConfig(), rng)
    catalogue, profiles = visitors.catalogue, visitors.profiles
    config = CorpusConfig(pairs=count, made_up=0)
    pairs = build_corpus(catalogue, profiles, config, rng).train
    briefs, liked = item_briefs(catalogue), segment_likes(catalogue, profiles)
    references, fallback = (
        [fallback_reason(briefs[p.item], liked[p.segment], rng) for p in pairs] for _ in range(2)
    )
    segments = np.array([p.segment for p in pairs], dtype=np.int64)
    table: NDArray[np.bool_] = np.zeros(profiles.segment_aspects.shape, dtype=bool)
    for segment in range(profiles.n_segments):
        table[segment, profiles.liked(segment, LIKES)] = True
    rows = Rows(
        texts=[p.completion for p in pairs],
        locale=catalogue.locale,
        references=references,
        items=np.array([p.item for p in pairs], dtype=np.int64),
        readers=segments,
        likes=table[segments],
    )
    return rows, fallback, catalogue
