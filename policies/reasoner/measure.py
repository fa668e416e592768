"""Measuring a writer: fresh samples, their reward, and how far it went from its reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedTokenizerBase

from sft.base_model import encode_completions, encode_prompts


@torch.no_grad()
def sequence_log_probs(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    batch_size: int = 128,
    temperature: float = 1.0,
) -> NDArray[np.float64]:
    """Return log p(completion, its end | prompt) at ``temperature``, in nats, (n,) float64."""
    heads = encode_prompts(tokenizer, list(prompts))
    tails = encode_completions(tokenizer, list(completions))
    out = np.zeros(len(heads))
    for start in range(0, len(heads), batch_size):
        rows = range(start, min(start + batch_size, len(heads)))
        # Padded on the right: causal attention keeps real tokens from seeing the padding.
        width = max(len(heads[r]) + len(tails[r]) for r in rows)
        ids = torch.tensor(
            [
                heads[r] + tails[r] + [tokenizer.pad_token_id] * (width - len(heads[r] + tails[r]))
                for r in rows
            ]
        )
        ids = ids.to(next(model.parameters()).device)
        log_probs = (model(input_ids=ids).logits.float() / temperature).log_softmax(dim=-1)[:, :-1]
        chosen = log_probs.gather(2, ids[:, 1:, None]).squeeze(2).cpu().numpy()
        for place, r in enumerate(rows):
            first = len(heads[r]) - 1
            out[r] = chosen[place, first : first + len(tails[r])].sum()
    return out
