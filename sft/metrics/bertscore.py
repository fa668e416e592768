"""BERTScore: greedy cosine matching of contextual embeddings (Zhang et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from envs.errors import UserError
from envs.progress import Progress, silent


@dataclass(frozen=True)
class Encoder:
    """A model and its tokenizer, ready to embed."""

    model: Any
    tokenizer: Any


def load_encoder(name: str) -> Encoder:
    """Load a model by path or hub id: safetensors only, and no code from the model's folder.

    Raises:
        UserError: for a name that is no such model.
    """
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        model = AutoModel.from_pretrained(name, trust_remote_code=False, use_safetensors=True)
    except Exception as error:  # the loaders raise many kinds, all meaning "no such model"
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"--bertscore {name}: must be the path or hub id of an encoder with safetensors "
            f"weights and a tokenizer, but cannot be loaded ({why}); give another"
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return Encoder(model.eval(), tokenizer)


def greedy_match(text: Tensor, reference: Tensor) -> tuple[float, float, float]:
    """Return precision, recall and F1 of unit vectors, (m, D) against (n, D).

    P = mean_i max_j x_i·y_j, R = mean_j max_i x_i·y_j, F = 2PR/(P+R); 0 where a side is empty.
    """
    if not len(text) or not len(reference):
        return 0.0, 0.0, 0.0
    similarity = text @ reference.T
    precision = float(similarity.max(dim=1).values.mean())
    recall = float(similarity.max(dim=0).values.mean())
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0


@torch.no_grad()
def embed(encoder: Encoder, texts: Sequence[str], batch_size: int = 64) -> list[Tensor]:
    """Return the last hidden states of each text's tokens as unit vectors, (tokens, D) float32.

    Special tokens are left out; texts are cut at the length that the model can take.
    """
    model, tokenizer = encoder.model, encoder.tokenizer
    known = getattr(model.config, "max_position_embeddings", None) or tokenizer.model_max_length
    # Some models number positions from beyond their padding; two are never missed.
    limit = max(min(int(known), tokenizer.model_max_length) - 2, 1)
    out: list[Tensor] = [torch.empty(0)] * len(texts)
    # Sorted by length, a batch holds little padding.
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = tokenizer(
            [texts[row] for row in rows], return_tensors="pt", padding=True, truncation=True,
            max_length=limit, return_special_tokens_mask=True,
        )  # fmt: skip
        special = batch.pop("special_tokens_mask").bool()
        keep = batch["attention_mask"].bool() & ~special
        if not batch["input_ids"].shape[1]:  # only empty texts
            continue
        hidden = torch.nn.functional.normalize(model(**batch).last_hidden_state.float(), dim=-1)
        for place, row in enumerate(rows):
            out[row] = hidden[place][keep[place]]
    return out


def bertscore(
    encoder: Encoder,
    texts: Sequence[str],
    references: Sequence[str],
    chunk: int = 1024,
    progress: Progress = silent,
) -> float:
    """Return the mean F1 of n texts against their references, without idf weights or rescaling."""
    total = 0.0
    for start in range(0, len(texts), chunk):
        own = embed(encoder, texts[start : start + chunk])
        other = embed(encoder, references[start : start + chunk])
        total += sum(greedy_match(a, b)[2] for a, b in zip(own, other))
        progress(min(start + chunk, len(texts)), len(texts), {})
    return total / len(texts)
