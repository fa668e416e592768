"""Stages that open the shop: catalogue and similarity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from envs.assemble import find_visitors, open_shop, synthetic_visitors
from envs.catalogue import Catalogue, load_catalogue
from envs.importers.icecat import import_icecat
from envs.similarity import SCORES
from envs.store import load_visitors, save_similarity, save_visitors
from experiments.config import Config, FolderCatalogue, IcecatCatalogue, SyntheticCatalogue
from experiments.stages import StageContext


def catalogue_files(config: Config) -> Sequence[Path]:
    """Return the outside files that the catalogue is read from."""
    section = config.catalogue
    return [] if isinstance(section, SyntheticCatalogue) else [section.path]


def corpus_files(config: Config) -> Sequence[Path]:
    """Return the outside files that the corpus is read from."""
    own, reviews = config.corpus.own, config.corpus.reviews
    return [
        *([] if own is None else [path for path in (own.path, own.held) if path is not None]),
        *([] if reviews is None else [reviews.path]),
    ]


def read_catalogue(
    section: FolderCatalogue | IcecatCatalogue, say: Callable[[str], None]
) -> tuple[Catalogue, dict[str, int]]:
    """Read and check a catalogue from outside; return it with what was dropped by reason."""
    if isinstance(section, FolderCatalogue):
        return load_catalogue(section.path), {}
    result = import_icecat(section.path, limit=section.limit)
    for line in result.summary_lines():
        say(line)
    return result.catalogue, result.dropped


def run_catalogue(context: StageContext) -> dict[str, Any]:
    """Read or make the catalogue and find its shoppers."""
    config: Config = context.config
    rng = np.random.default_rng(context.seed)
    dropped: dict[str, int] = {}
    if isinstance(config.catalogue, SyntheticCatalogue):
        visitors = synthetic_visitors(config.catalogue, config.shoppers, rng)
    else:
        catalogue, dropped = read_catalogue(config.catalogue, context.say)
        visitors = find_visitors(catalogue, config.shoppers, rng)
    save_visitors(visitors, context.out)
    summary = visitors.catalogue.summary()
    context.say(", ".join(f"{count:,} {name}" for name, count in summary.items() if count))
    return {
        "name": visitors.catalogue.name,
        **summary,
        "segments": visitors.profiles.n_segments,
        "notes": visitors.catalogue.notes,
        "dropped": dropped,
    }


def run_similarity(context: StageContext) -> dict[str, Any]:
    """Compute the six scores and the candidate pools."""
    visitors = load_visitors(context.inputs["catalogue"])
    rng = np.random.default_rng(context.seed)
    shop = open_shop(visitors, context.config.similarity, rng, context.progress)
    save_similarity(shop, context.out)
    means = shop.pools.scores.mean(axis=(0, 1))
    return {
        "anchors": len(shop.pools.items),
        "pool": shop.pools.items.shape[1],
        "mean_score": dict(zip(SCORES, means.tolist())),
    }
