"""A language model with weights of eight bits, multiplied as integers where the machine can.

Dynamic quantisation: each row of a weight has one scale, found from its largest value, and so has
each row of what comes in, at the time it comes in (Jacob et al. 2018, "Quantization and training of
neural networks for efficient integer-arithmetic-only inference"; LLM.int8() of Dettmers et al. 2022
without its outlier columns). With w = s q, |q| <= 127, and x = t p likewise,

    (x W^T)_bo = t_b s_o sum_i p_bi q_oi,

where the sum is exact in integers. Embeddings keep eight bits as well, tied to the output layer
where they are tied; norms and biases stay as they are. The file holds plain tensors: nothing is
pickled, and torch's quantised types, which torch deprecates, are not used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import embedding
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from envs.errors import UserError
from envs.files import atomic_path
from sft.quiet import quiet_libraries

#: Takes the place of ``model.safetensors`` in the folder of a model.
WEIGHTS = "int8.safetensors"
_MOST = 127


def quantise(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return (q, s): int8 of the shape of ``rows`` (..., D), and scales (..., 1) float32."""
    scale = rows.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) / _MOST
    return torch.round(rows / scale).to(torch.int8), scale.float()


class Int8Linear(nn.Module):
    """A linear layer whose products are summed as integers."""

    weight: Tensor
    scale: Tensor

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(outputs, inputs, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(outputs, 1))
        self.bias = nn.Parameter(torch.zeros(outputs), requires_grad=False) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x W^T + b`` for x of any leading shape, (..., inputs)."""
        rows, scale = quantise(x.reshape(-1, x.shape[-1]))
        if x.device.type == "cpu":
            sums = torch._int_mm(rows, self.weight.T).float()
        else:  # other devices want special shapes of integers; floats hold these sums as well
            sums = rows.float() @ self.weight.T.float()
        out = sums * scale * self.scale.T
        out = out if self.bias is None else out + self.bias
        return out.reshape(*x.shape[:-1], -1)


class Int8Embedding(nn.Module):
    """An embedding of which only the rows asked for become floats."""

    weight: Tensor
    scale: Tensor

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(rows, width, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(rows, 1))

    def forward(self, ids: Tensor) -> Tensor:
        """Return rows (..., width) of ids (...)."""
        return embedding(ids, self.weight).float() * embedding(ids, self.scale)


def save_int8(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a model of one part (an adapter merged into it) as a folder with `WEIGHTS`."""
    model.config.save_pretrained(folder)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    wide = {name for name, module in model.named_modules() if _is_wide(module)}
    tensors: dict[str, Tensor] = {}
    for name, tensor in _own_state(model).items():
        module, _, kind = name.rpartition(".")
        if module in wide and kind == "weight":
            tensors[name], tensors[f"{module}.scale"] = quantise(tensor.float())
        else:
            tensors[name] = tensor.contiguous()
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)


def load_int8(folder: Path) -> tuple[Any, PreTrainedTokenizerBase]:
    """Read what `save_int8` wrote.

    Raises:
        UserError: for files that do not fit together.
    """
    try:
        with quiet_libraries():
            config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for name, module in list(model.named_modules()):
            if _is_wide(module):
                model.set_submodule(name, _empty(module))
        tied = bool(getattr(config, "tie_word_embeddings", False))
        tensors = load_file(folder / WEIGHTS)
        missing, strange = model.load_state_dict(tensors, strict=False)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"reasoner: {folder} is no model of eight bits ({first})") from error
    if tied:
        output, source = model.get_output_embeddings(), model.get_input_embeddings()
        output.weight, output.scale = source.weight, source.scale
    left = [name for name in missing if not (tied and name.startswith("lm_head."))]
    if left or strange:
        raise UserError(
            f"reasoner: {folder / WEIGHTS} does not fit its config: {[*left, *strange]}"
        )
    return model.eval(), tokenizer


def _own_state(model: Any) -> dict[str, Tensor]:
    """Return the tensors of a model, those of tied layers once."""
    seen: set[int] = set()
    kept = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            kept[name] = tensor
    return kept


def _is_wide(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Embedding)


def _empty(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.Linear):
        return Int8Linear(module.in_features, module.out_features, module.bias is not None)
    assert isinstance(module, nn.Embedding)
    return Int8Embedding(module.num_embeddings, module.embedding_dim)
