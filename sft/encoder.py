"""The text encoder of a shop that a config asks for: fitted, made on the spot or loaded, and tuned.

The figures that come with it say what tuning was worth on items that training never saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertModel

from envs.catalogue import Catalogue
from envs.errors import UserError
from envs.feedback import read_feedback
from envs.item_index import SimilarityConfig, item_texts
from envs.progress import Progress, silent
from envs.shoppers import Profiles
from envs.text_encoder import Encoder, TextEncoder, fit_text_encoder
from envs.transformer_encoder import LONGEST, TransformerEncoder, load_transformer
from sft.base_model import make_tokenizer
from sft.encoder_pairs import (
    Pairs,
    co_click_recall,
    co_clicks,
    held_out,
    judged_rows,
    query_clicks,
)
from sft.encoder_tune import tune_fitted, tune_transformer

#: Tokens of the locally made tokenizer, and width, layers and heads of the locally made model.
_VOCABULARY = 4_096
_HIDDEN, _LAYERS, _HEADS = 128, 2, 4


def make_local_encoder(texts: Sequence[str], seed: int) -> TransformerEncoder:
    """Return a small bidirectional transformer that knows nothing, with a tokenizer for ``texts``.

    The same texts and seed give the same weights; the global generators are untouched.
    """
    tokenizer = make_tokenizer(texts, _VOCABULARY)
    tokenizer.padding_side = "right"
    settings = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=_HIDDEN,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        intermediate_size=4 * _HIDDEN,
        max_position_embeddings=LONGEST,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TransformerEncoder(BertModel(settings, add_pooling_layer=False).eval(), tokenizer)


def untuned_encoder(
    texts: Sequence[str], config: SimilarityConfig, rng: np.random.Generator
) -> TextEncoder | TransformerEncoder:
    """Return the encoder that a config names, as it is before tuning."""
    if config.text.encoder == "tfidf":
        return fit_text_encoder(texts, config.dimensions, rng)
    if config.text.encoder == "local":
        return make_local_encoder(texts, int(rng.integers(2**31)))
    return load_transformer(config.text.encoder)


def make_encoder(
    catalogue: Catalogue,
    profiles: Profiles,
    config: SimilarityConfig,
    rng: np.random.Generator,
    *,
    work: Path | None = None,
    progress: Progress = silent,
) -> tuple[Encoder, dict[str, Any]]:
    """Make the encoder of a shop and tune it, if the config says so.

    Returns:
        The encoder, and figures: ``encoder``, and when tuned ``co_click_pairs``,
        ``query_click_pairs``, ``recall_before`` and ``recall_after`` (`co_click_recall` of items
        that training did not see) and ``seconds``.

    Raises:
        UserError: the encoder or the log of clicks cannot be read, or there is nothing to learn
            from. Nothing has been trained then.
    """
    texts, tune = item_texts(catalogue), config.text.tune
    together, asked, held = _training_pairs(catalogue, profiles, config, rng)
    encoder = untuned_encoder(texts, config, rng)
    if not tune.steps:
        return encoder, {"encoder": config.text.encoder}
    started = perf_counter()
    before = co_click_recall(encoder.encode(texts), together, held)
    seen = together.only(~held[together.left] & ~held[together.right])
    queries = catalogue.queries["query"].tolist()
    tuned = tuned_encoder(
        encoder, texts, queries, seen, asked, config, int(rng.integers(2**31)), work, progress
    )
    return tuned, {
        "encoder": config.text.encoder,
        "co_click_pairs": len(seen),
        "query_click_pairs": len(asked),
        "recall_before": before,
        "recall_after": co_click_recall(tuned.encode(texts), together, held),
        "seconds": perf_counter() - started,
    }


def tuned_encoder(
    encoder: TextEncoder | TransformerEncoder, texts: Sequence[str], queries: Sequence[str],
    together: Pairs, asked: Pairs, config: SimilarityConfig, seed: int,
    work: Path | None = None, progress: Progress = silent,
) -> TextEncoder | TransformerEncoder:  # fmt: skip
    """Return the encoder tuned on co-clicks ``together`` and query clicks ``asked``."""
    rest: dict[str, Any] = {"seed": seed, "work": work, "progress": progress}
    tune = config.text.tune
    if isinstance(encoder, TextEncoder):
        return tune_fitted(encoder, texts, queries, together, asked, tune, **rest)
    return tune_transformer(encoder, texts, queries, together, asked, tune, **rest)


def _training_pairs(
    catalogue: Catalogue, profiles: Profiles, config: SimilarityConfig, rng: np.random.Generator
) -> tuple[Pairs, Pairs, np.ndarray]:
    """Return all co-clicks, the query clicks to train on, and the held-out items (I,) bool."""
    tune = config.text.tune
    held = held_out(catalogue.n_items, tune.held_out, rng)
    none = np.empty(0, dtype=np.int64)
    if not tune.steps:
        return Pairs(none, none), Pairs(none, none), held
    together, asked = co_clicks(profiles, catalogue.n_items), Pairs(none, none)
    if tune.clicks is not None:
        asked = query_clicks(_click_log(tune.clicks), catalogue)
        asked = asked.only(~judged_rows(catalogue)[asked.left] & ~held[asked.right])
    if not len(asked) and (held[together.left] | held[together.right]).all():
        raise UserError(
            "similarity.text.tune: no shopper met two items, so there is nothing to learn from; "
            "set steps to 0"
        )
    return together, asked, held


def _click_log(path: Path) -> Any:
    log = read_feedback(path)
    for column in ("query", "click"):
        if column not in log:
            raise UserError(
                f"{path}: tuning on query clicks needs the column {column!r}, which this log does "
                "not have; leave similarity.text.tune.clicks out or give another log"
            )
    return log
