"""A model whose texts begin with learned virtual tokens, used like any causal LM.

Prefix and prompt tuning put V virtual tokens before every text. What later tokens see of them is
their keys and values in each layer, which depend on nothing else: they are computed once here and
put at the front of every cache. So generation and scoring need not know of them.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel, PrefixTuningConfig
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel


class WithVirtualTokens(nn.Module):
    """A causal LM after V virtual tokens; call it as you would call the model itself."""

    def __init__(self, model: PreTrainedModel, layers: list[tuple[Tensor, Tensor]]) -> None:
        """Hang keys and values, each ``(1, heads, V, d)``, before everything ``model`` reads."""
        super().__init__()
        self.model = model
        self._layers = layers
        self.config, self.generation_config = model.config, model.generation_config
        self.virtual_tokens: int = layers[0][0].shape[2]

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.device

    def _fill(self, cache: DynamicCache, rows: int) -> None:
        for index, (keys, values) in enumerate(self._layers):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), index)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: DynamicCache | None = None,
        **others: Any,
    ) -> Any:
        """Run the model; arguments are counted without the virtual tokens."""
        rows, virtual = len(input_ids), self.virtual_tokens
        cache = DynamicCache(config=self.config) if past_key_values is None else past_key_values
        if cache.get_seq_length() == 0:
            self._fill(cache, rows)
        if attention_mask is not None:
            seen = torch.ones(rows, virtual, dtype=attention_mask.dtype, device=self.device)
            attention_mask = torch.cat([seen, attention_mask], dim=1)
        if position_ids is not None:
            position_ids = position_ids + virtual
        return self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=cache,
            **{**others, "use_cache": True},
        )


@torch.no_grad()
def unwrap_virtual_tokens(model: PeftModel) -> WithVirtualTokens:
    """Return a prefix- or prompt-tuned model as a plain one with its virtual tokens in front."""
    base = model.get_base_model()
    if isinstance(model.active_peft_config, PrefixTuningConfig):
        cache = model.get_prompt(batch_size=1)
    else:
        cache = DynamicCache(config=base.config)
        base(inputs_embeds=model.get_prompt(batch_size=1), past_key_values=cache, use_cache=True)
    layers = [(layer.keys, layer.values) for layer in cache.layers]
    return WithVirtualTokens(base, layers)
