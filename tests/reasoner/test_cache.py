"""The cache that copies little holds what Transformers' own would hold."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, MistralConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from policies.reasoner.cache import RoomyLayer, roomy_cache


def tokens(rows: int, count: int, seed: int, learned: bool = False) -> tuple[Tensor, Tensor]:
    """Return keys and values ``(rows, 2, count, 3)`` each."""
    both = torch.randn(2, rows, 2, count, 3, generator=torch.Generator().manual_seed(seed))
    return both[0].requires_grad_(learned), both[1]


#: Either kind of layer; Transformers has no types for them.
Layer = Any


def told_by_three(layer: Layer) -> None:
    layer.update(*tokens(2, 5, 0))
    layer.batch_repeat_interleave(3)


def some_end_at_once(layer: Layer) -> None:
    told_by_three(layer)
    layer.batch_select_indices(torch.tensor([5, 0, 2]))


def some_end_later(layer: Layer) -> None:
    told_by_three(layer)
    layer.update(*tokens(6, 1, 2))
    layer.batch_select_indices(torch.tensor([4, 1, 2]))
    layer.update(*tokens(3, 2, 3))


@pytest.mark.parametrize("room", [0, 2, 9])
@pytest.mark.parametrize("said", [told_by_three, some_end_at_once, some_end_later])
def test_it_holds_what_the_plain_layer_holds(said: Callable[[Layer], None], room: int) -> None:
    layers = RoomyLayer(room), DynamicLayer()
    for layer in layers:
        said(layer)
    rows = len(layers[1].keys)
    for step in range(4):  # beyond the room of 2
        found, expected = (layer.update(*tokens(rows, 1, 10 + step)) for layer in layers)
        assert layers[0].get_seq_length() == layers[1].get_seq_length()
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_without_room_the_gradient_of_a_prompt_is_the_sum_over_its_texts() -> None:
    held, values = tokens(2, 4, 0, learned=True)
    layer = RoomyLayer(0)
    layer.update(held, values)
    layer.batch_repeat_interleave(3)
    keys, _ = layer.update(*tokens(6, 2, 1))
    weights = torch.randn(keys.shape, generator=torch.Generator().manual_seed(2))
    (keys * weights).sum().backward()
    expected = weights[:, :, :4].unflatten(0, (2, 3)).sum(dim=1)
    torch.testing.assert_close(held.grad, expected)


def test_other_kinds_of_layers_are_left_as_they_are() -> None:
    assert {type(layer) for layer in roomy_cache(LlamaConfig()).layers} == {RoomyLayer}
    sliding = roomy_cache(MistralConfig(sliding_window=8)).layers
    assert {type(layer) for layer in sliding} == {DynamicSlidingWindowLayer}
