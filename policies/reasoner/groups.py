"""Reading completions that share a prompt: the prompt once, then each of its completions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from policies.reasoner.generate import count, read
from policies.reasoner.trace import last_states


def read_groups(
    model: nn.Module,
    ids: Tensor,
    attended: Tensor,
    width: int,
    group: int,
    cache: DynamicCache,
    want_states: bool,
) -> tuple[Tensor, Tensor]:
    """Return logits and states before each completion token, ``(B, T', V)`` and ``(B, T', H)``.

    The rows are whole groups of one prompt, so each prompt is read once and its cache, through
    which the gradient flows, is shared by the completions: a third of the time of reading all
    rows.

    Args:
        model: reads.
        ids: left-padded prompts with right-padded completions, ``(B, P + width) int64``.
        attended: 1 on real tokens, ``(B, P + width) int64``.
        width: the length that completions are padded to; T' <= ``width`` is what these rows need.
        group: completions of each prompt, side by side.
        cache: an empty one for the model, without room.
        want_states: whether H is the model's width, or 0.
    """
    border = ids.size(1) - width
    first = int(attended.any(dim=0).int().argmax())
    end = border + int(attended[:, border:].sum(dim=1).max().clamp(min=1))
    positions = count(attended)
    prompt = (slice(None, None, group), slice(first, border))
    read_prompt = read(
        model, ids[prompt], attended[prompt], cache, positions[prompt], keep=1, states=want_states
    )
    logits, states = read_prompt.logits, last_states(read_prompt)[:, -1:]
    logits, states = (x.repeat_interleave(group, dim=0) for x in (logits, states))
    if end - border == 1:
        return logits, states
    cache.batch_repeat_interleave(group)
    rest = (slice(None), slice(border, end - 1))
    read_rest = read(
        model,
        ids[rest],
        attended[:, first : end - 1],
        cache,
        positions[rest],
        keep=end - 1 - border,
        states=want_states,
    )
    return (
        torch.cat([logits, read_rest.logits], dim=1),
        torch.cat([states, last_states(read_rest)], dim=1),
    )
