"""A cache of keys and values that copies little: most of a small model's writing is such copies.

Transformers' `DynamicLayer` copies all that it holds at each step, and a prompt's part once more
for each text that continues it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


def roomy_cache(config: Any, room: int = 0) -> DynamicCache:
    """Return an empty cache for a model's ``config`` that leaves ``room`` for tokens to come.

    With room, tokens are written into it in place, which no gradient can pass: give it for writing
    and not for learning. Layers that are no plain attention (a sliding window, say) are
    Transformers' own.
    """
    cache = DynamicCache(config=config)
    cache.layers = [
        RoomyLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


class RoomyLayer(DynamicLayer):
    """Keys and values of a layer, ``(B, heads, S, width)`` each, with room behind them."""

    def __init__(self, room: int) -> None:
        """Leave ``room`` for tokens to come; 0 joins what is there with what comes."""
        super().__init__()
        self._room = room
        #: Texts that continue each row, once `batch_repeat_interleave` has said so.
        self._copies = 1
        #: What `keys` and `values` are the beginnings of.
        self._whole: tuple[Tensor, ...] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add the keys and values of further tokens; return those of all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states, value_states
        elif not self._room:
            self.keys = self._joined(self.keys, key_states)
            self.values = self._joined(self.values, value_states)
        else:
            start, end = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
            if self._whole is None or self._copies > 1 or end > self._whole[0].shape[-2]:
                self._whole = tuple(self._copied(x, end) for x in (self.keys, self.values))
            for whole, new in zip(self._whole, (key_states, value_states), strict=True):
                whole[:, :, start:end] = new
            self.keys, self.values = (whole[:, :, :end] for whole in self._whole)
        self._copies = 1
        return self.keys, self.values

    def _joined(self, held: Tensor, new: Tensor) -> Tensor:
        """Return ``held``, a row for each of its copies, and ``new`` behind it."""
        shared = held[:, None].expand(-1, self._copies, -1, -1, -1)
        return torch.cat([shared, new.unflatten(0, (-1, self._copies))], dim=-2).flatten(0, 1)

    def _copied(self, held: Tensor, length: int) -> Tensor:
        """Return ``held``, a row for each of its copies, with room behind ``length`` tokens."""
        rows, heads, known, width = held.shape
        whole = held.new_empty(rows, self._copies, heads, length + self._room, width)
        whole[..., :known, :] = held[:, None]
        return whole.flatten(0, 1)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Let ``repeats`` texts continue each row: done with the next tokens, in one copy."""
        self._copies *= repeats

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows."""
        rows, length = indices // self._copies, self.keys.shape[-2]
        self._copies = 1
        if self._whole is None:
            self.keys, self.values = self.keys[rows], self.values[rows]
        else:
            self._whole = self._whole[0][rows], self._whole[1][rows]
            self.keys, self.values = (whole[:, :, :length] for whole in self._whole)
