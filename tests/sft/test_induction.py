"""The hand-laid circuit copies before any training; a random start does not."""

from __future__ import annotations

import torch
from transformers import LlamaForCausalLM

from sft.base_model import make_local_model
from sft.train_config import BaseModelConfig

TEXTS = [f"lamp {i} with a {i}-hour battery and mug number {i * 7}" for i in range(400)]


def copied(model: LlamaForCausalLM, vocabulary: int) -> tuple[float, int]:
    """Share of tokens that the model continues rightly when a passage comes a second time."""
    generator = torch.Generator().manual_seed(3)
    drawn = torch.rand(32, vocabulary - 3, generator=generator).argsort(dim=1)[:, :40] + 3
    start = torch.randint(0, 30, (32, 1), generator=generator)
    again = drawn.gather(1, start + torch.arange(10))
    ids = torch.cat([drawn, again], dim=1)
    with torch.no_grad():
        best = model(input_ids=ids).logits[:, 40:-1].argmax(dim=-1)
    right = best == ids[:, 41:]
    return float(right.float().mean()), right.numel()


def test_an_untrained_model_copies_what_it_has_read() -> None:
    model, tokenizer = make_local_model(TEXTS, BaseModelConfig(vocab_size=600), seed=0)
    share, count = copied(model, len(tokenizer))
    # Guessing is right once in `vocabulary` tries: 3 of 288 would be far outside 3 sigma of it.
    chance = 1 / len(tokenizer)
    assert share > chance + 3 * (chance * (1 - chance) / count) ** 0.5
    assert share > 0.25, "the circuit must be of real use, not only better than chance"


def test_the_circuit_is_what_copies() -> None:
    model, tokenizer = make_local_model(TEXTS, BaseModelConfig(vocab_size=600), seed=0)
    with torch.no_grad():  # without its sense of "the token before", it has nothing to match
        model.model.layers[0].self_attn.o_proj.weight.zero_()
    assert copied(model, len(tokenizer))[0] < 0.05


def test_the_larger_size_has_the_circuit_too() -> None:
    model, tokenizer = make_local_model(
        TEXTS, BaseModelConfig(size="small", vocab_size=600), seed=1
    )
    assert copied(model, len(tokenizer))[0] > 0.25
