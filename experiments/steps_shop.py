"""Stages that open the shop: catalogue and similarity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from envs.assemble import Shop, Visitors, find_visitors, open_shop, synthetic_visitors
from envs.catalogue import Catalogue, load_catalogue
from envs.importers.icecat import import_icecat
from envs.pools import build_pools
from envs.similarity import SCORES, build_index
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


def similarity_files(config: Config) -> Sequence[Path]:
    """Return the outside files that the text encoder is read from or tuned on."""
    text = config.similarity.text
    folder = Path(text.encoder).expanduser()
    return [
        *([folder] if text.encoder not in ("tfidf", "local") and folder.exists() else []),
        *([] if text.tune.clicks is None or not text.tune.steps else [text.tune.clicks]),
    ]


def run_similarity(context: StageContext) -> dict[str, Any]:
    """Compute the six scores and the candidate pools; make and tune the text encoder first."""
    visitors = load_visitors(context.inputs["catalogue"])
    rng = np.random.default_rng(context.seed)
    text: dict[str, Any] = {}
    if context.config.similarity.text.fitted:
        shop = open_shop(visitors, context.config.similarity, rng, context.progress)
    else:
        shop, text = _open_with_encoder(visitors, context, rng)
    save_similarity(shop, context.out)
    means = shop.pools.scores.mean(axis=(0, 1))
    return {
        "anchors": len(shop.pools.items),
        "pool": shop.pools.items.shape[1],
        "mean_score": dict(zip(SCORES, means.tolist())),
        **text,
    }


def _open_with_encoder(
    visitors: Visitors, context: StageContext, rng: np.random.Generator
) -> tuple[Shop, dict[str, Any]]:
    """Open the shop behind an encoder that is more than fitted; return its figures too."""
    # The model libraries behind it take seconds to import, and most runs need none of them here.
    from sft.encoder import make_encoder

    config = context.config.similarity
    catalogue, profiles = visitors.catalogue, visitors.profiles
    encoder, figures = make_encoder(
        catalogue, profiles, config, rng, work=context.work, progress=context.progress
    )
    if "recall_after" in figures:
        context.say(
            f"text encoder tuned on {figures['co_click_pairs']:,} co-clicks and "
            f"{figures['query_click_pairs']:,} query clicks: recall of co-clicks on held-out items "
            f"{figures['recall_before']:.4f} -> {figures['recall_after']:.4f}"
        )
    index = build_index(catalogue, profiles, config, rng, context.progress, encoder)
    pools = build_pools(catalogue, profiles, index, config, rng, context.progress)
    return Shop(visitors, index, pools), {"text": figures}
