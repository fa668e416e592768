"""Measuring a writer: how likely it finds texts, and so how far it went from its reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from policies.reasoner.cache import roomy_cache
from policies.reasoner.generate import Writer, left_pad
from policies.reasoner.groups import read_groups
from policies.reasoner.trace import chosen, log_chances
from sft.base_model import encode_completions, encode_prompts


@torch.no_grad()
def sequence_log_probs(
    model: Writer,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    batch_size: int = 128,
    temperature: float = 1.0,
    copies: int = 1,
) -> NDArray[np.float64]:
    """Return log p(completion, its end | prompt) at ``temperature``, in nats, (n,) float64.

    Every prompt must stand ``copies`` times in a row: it is read once.
    """
    heads = encode_prompts(tokenizer, list(prompts[::copies]))
    tails = [torch.tensor(ids) for ids in encode_completions(tokenizer, list(completions))]
    at_once, found = max(1, batch_size // copies), []
    for start in range(0, len(heads), at_once):
        ids, attended = left_pad(heads[start : start + at_once], tokenizer.pad_token_id)
        group = tails[start * copies : (start + at_once) * copies]
        told = pad_sequence(group, batch_first=True)
        counts = pad_sequence([torch.ones_like(tail) for tail in group], batch_first=True)
        ids, attended = (x.repeat_interleave(copies, dim=0) for x in (ids, attended))
        ids, attended = torch.cat([ids, told], dim=1), torch.cat([attended, counts], dim=1)
        ids, attended = ids.to(model.device), attended.to(model.device)
        cache = roomy_cache(model.config)
        logits, _ = read_groups(model, ids, attended, told.size(1), copies, cache, False)
        log_probs = chosen(log_chances(logits, temperature), told.to(model.device)).cpu()
        found.append((log_probs * counts).sum(dim=1).double().numpy())
    return np.concatenate(found)
