"""Self-attention over a shelf's candidates: which of the others a candidate is compared with."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from policies.ranker.plackett_luce import MASKED


def attend(queries: Tensor, keys: Tensor, values: Tensor, available: Tensor, heads: int) -> Tensor:
    """Return each candidate's weighted mean of all available ones, ``(B, N, H)``.

    ``queries, keys, values`` are ``(B, N, H)``, ``available`` is ``(B, N)`` bool, and ``heads``
    divides H. Dot-product attention (Vaswani et al. 2017, eq. 1) without positions, so a
    reordering of the candidates reorders the result; a masked candidate has weight zero, exactly.
    With equal keys it is the plain mean, which is what deep sets see.

    Queries and keys are scaled to length one (Henry et al. 2020): with raw products float32 and
    an ONNX runtime came to differ by 1.6e-5, with these by 1e-6.
    """
    q, k, v = (_split(one, heads) for one in (queries, keys, values))
    scores = normalize(q, dim=3) @ normalize(k, dim=3).transpose(2, 3) * math.sqrt(q.shape[3])
    # Finite, so that a row with nothing available has a softmax too.
    weights = scores.masked_fill(~available[:, None, None, :], MASKED).softmax(3)
    return torch.flatten((weights @ v).transpose(1, 2), start_dim=2)


def _split(values: Tensor, heads: int) -> Tensor:
    """Return ``(B, heads, N, H / heads)``."""
    width = values.shape[2] // heads
    return values.unflatten(2, (heads, width)).transpose(1, 2)
