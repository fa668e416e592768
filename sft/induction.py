"""Initial weights that can copy: an induction circuit, laid into a small Llama by hand.

A reason must copy phrases from its prompt. A transformer copies by *induction* (Olsson et al. 2022,
"In-context learning and induction heads"): a head in the first layer notes at each position which
token came before, a head in the second looks for the place whose predecessor equals the present
token, and passes on the token found there. A small model needs many thousand updates to find this
circuit, and until then it remembers which phrases are common instead of reading the prompt. So the
circuit is put in place before training; training then only has to learn when to use it. (In the
spirit of Trockman and Kolter 2023, "Mimetic initialization of self-attention layers".)
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

#: Rotary frequencies of the circuit turn less than a radian over this many tokens.
REACH = 80
#: Squared length of the previous-token query by frequency: how sharply it points one step back.
SHARPNESS = 60.0
#: Base of the rotary frequencies: high enough that half of them reach over a whole prompt.
ROPE_THETA = 1e6


def _frame(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Return a random (rows, columns) matrix with orthonormal rows."""
    return torch.linalg.qr(torch.randn(columns, rows, generator=generator))[0].T


@torch.no_grad()
def lay_induction(model: LlamaForCausalLM, generator: torch.Generator) -> None:
    """Write the circuit into layers 0 and 1 of ``model``, which must have attention biases.

    With d the width and n(x) the normalised residual stream (components of variance one): heads of
    layer 0 attend one step back by their biases alone and add ``Q P n(previous token)``; heads of
    layer 1 match ``P n(present token)`` against ``Q' residual`` and add ``W W' n(token found)``,
    which the tied embeddings read as that token. P, Q and W are random frames. Content is matched
    on slow rotary frequencies only, because fast ones would scramble it over a prompt's length.
    """
    width = model.config.hidden_size
    head = width // model.config.num_attention_heads
    half = head // 2
    first, second = (model.model.layers[i].self_attn for i in (0, 1))
    turn = model.model.rotary_emb.inv_freq.float()
    slow = torch.nonzero(turn < 1 / REACH).squeeze(1)
    content = torch.cat([slow, slow + half])
    size = len(content)
    # Unit token vectors, so that attention to one moves the logits by a useful amount.
    model.model.embed_tokens.weight.normal_(0, width**-0.5, generator=generator)
    # Half of the heads, so that the share of a token that they see does not fall with the width.
    for number in range(model.config.num_attention_heads // 2):
        rows = slice(number * head, (number + 1) * head)
        for layer in (first, second):
            for projection in (layer.q_proj, layer.k_proj):
                projection.weight[rows] = 0
                projection.bias[rows] = 0
        # A key of constant phase and a query turned back by one step meet at distance one.
        strength = SHARPNESS**0.5
        first.k_proj.bias[rows][:half] = strength
        first.q_proj.bias[rows][:half] = strength * torch.cos(turn)
        first.q_proj.bias[rows][half:] = -strength * torch.sin(turn)
        token, note = _frame(size, width, generator), _frame(size, width, generator)
        first.v_proj.weight[rows] = 0
        first.v_proj.weight[rows][:size] = token
        first.o_proj.weight[:, rows] = 0
        first.o_proj.weight[:, rows][:, :size] = note.T * width**-0.5
        second.q_proj.weight[rows.start + content] = token
        second.k_proj.weight[rows.start + content] = note
        passed = _frame(head, width, generator)
        second.v_proj.weight[rows] = passed
        second.o_proj.weight[:, rows] = passed.T
