"""Weights of eight bits: sums are of rounded numbers, and files come back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from envs.errors import UserError
from policies.reasoner.generate import generate, load_reasoner
from policies.reasoner.int8 import WEIGHTS, Int8Linear, load_int8, quantise, save_int8
from policies.reasoner.measure import sequence_log_probs
from sft.base_model import make_local_model
from sft.train_config import BaseModelConfig
from sft.trainer_tools import save_reasoner

TEXTS = ["a light lamp with warm light", "a large mug of thick clay", "a small red lamp"]


def test_rounding_is_at_most_half_a_step() -> None:
    rows = torch.randn(7, 33, generator=torch.Generator().manual_seed(0))
    rows[3] = 0
    q, scale = quantise(rows)
    assert q.dtype == torch.int8
    assert q.abs().amax(dim=1)[[0, 1, 2, 4, 5, 6]].tolist() == [127] * 6
    assert ((rows - q * scale).abs() <= scale / 2 + 1e-7).all()


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_is_the_product_of_rounded_numbers(bias: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    layer = Int8Linear(24, 10, bias)
    layer.weight, layer.scale = quantise(torch.randn(10, 24, generator=generator))
    if layer.bias is not None:
        layer.bias.copy_(torch.randn(10, generator=generator))
    x = torch.randn(2, 5, 24, generator=generator)
    q, scale = quantise(x)
    wanted = nn.functional.linear(q * scale, layer.weight * layer.scale, layer.bias)
    torch.testing.assert_close(layer(x), wanted)


@pytest.mark.parametrize("tied", [True, False])
def test_saved_and_loaded_it_is_close_to_the_full_model(tmp_path: Path, tied: bool) -> None:
    model, tokenizer = make_local_model(TEXTS, BaseModelConfig(vocab_size=300), 0)
    if not tied:
        model.config.tie_word_embeddings = False
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.clone() * 2)
    model.eval()
    save_int8(model, tokenizer, tmp_path / "base")
    small, same_tokenizer = load_reasoner(tmp_path)
    assert same_tokenizer.get_vocab() == tokenizer.get_vocab()
    ids = torch.tensor([tokenizer(TEXTS[0])["input_ids"]])
    with torch.no_grad():
        full, rounded = model(input_ids=ids).logits, small(input_ids=ids).logits
    assert (full - rounded).abs().mean() < 0.05 * full.std()
    assert generate(small, tokenizer, TEXTS, greedy=True, max_new_tokens=4)
    found = sequence_log_probs(small, tokenizer, TEXTS, TEXTS)
    wanted = sequence_log_probs(model, tokenizer, TEXTS, TEXTS)
    assert found == pytest.approx(wanted, rel=0.05)
    again, _ = load_int8(tmp_path / "base")
    with torch.no_grad():
        torch.testing.assert_close(again(input_ids=ids).logits, rounded, rtol=0, atol=0)


def test_the_file_is_about_a_quarter_and_holds_plain_tensors(tmp_path: Path) -> None:
    model, tokenizer = make_local_model(TEXTS, BaseModelConfig(vocab_size=300), 0)
    save_reasoner(model, tokenizer, tmp_path / "full")
    save_int8(model, tokenizer, tmp_path / "base")
    names = {path.name for path in (tmp_path / "base").iterdir()}
    assert WEIGHTS in names
    assert not {name for name in names if not name.endswith((".json", ".safetensors", ".jinja"))}
    full = (tmp_path / "full/base/model.safetensors").stat().st_size
    assert (tmp_path / "base" / WEIGHTS).stat().st_size < 0.3 * full


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model, tokenizer = make_local_model(TEXTS, BaseModelConfig(vocab_size=300), 0)
    save_int8(model, tokenizer, tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    gone = next(name for name in tensors if name.endswith("q_proj.weight"))
    save_file({name: t for name, t in tensors.items() if name != gone}, tmp_path / WEIGHTS)
    with pytest.raises(UserError, match=f"does not fit its config: .*{gone}"):
        load_int8(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"no tensors")
    with pytest.raises(UserError, match="is no model of eight bits"):
        load_int8(tmp_path)
