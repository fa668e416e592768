"""A transformer read from a folder: mean of real tokens, whatever else is in the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from envs.errors import UserError
from envs.transformer_encoder import TransformerEncoder, load_transformer, save_transformer

WORDS = ["<pad>", "<unk>", "red", "lamp", "tent", "blue"]
TEXTS = ["red lamp", "tent", "blue tent red lamp lamp lamp", "lamp red"]


@pytest.fixture(scope="module")
def tiny() -> TransformerEncoder:
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", model_max_length=32
    )
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=32,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertModel(config, add_pooling_layer=False).eval()
    return TransformerEncoder(model, fast)


def test_a_text_is_the_mean_of_its_token_vectors(tiny: TransformerEncoder) -> None:
    with torch.no_grad():
        hidden = tiny.model(input_ids=torch.tensor([[2, 3]])).last_hidden_state[0].mean(0)
    expected = (hidden / hidden.norm()).numpy()
    np.testing.assert_allclose(tiny.encode(["red lamp"])[0], expected, atol=1e-6)


def test_padding_and_order_make_no_difference(tiny: TransformerEncoder) -> None:
    together = tiny.encode(TEXTS)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(together[row], tiny.encode([text])[0], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)


def test_an_empty_text_is_zero_and_a_long_one_is_cut(tiny: TransformerEncoder) -> None:
    assert (tiny.encode([""]) == 0).all()
    assert (tiny.encode(["", "lamp"])[0] == 0).all()
    long = "lamp " * 31 + "lamp tent tent"
    np.testing.assert_array_equal(tiny.encode([long])[0], tiny.encode(["lamp " * 32])[0])


def test_saved_and_loaded_reads_the_same(tiny: TransformerEncoder, tmp_path: Path) -> None:
    save_transformer(tiny, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    np.testing.assert_array_equal(load_transformer(tmp_path).encode(TEXTS), tiny.encode(TEXTS))


def test_what_is_no_model_is_one_clear_line(tiny: TransformerEncoder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"similarity\.text\.encoder: .* has no config\.json"):
        load_transformer(tmp_path / "nowhere" / "model")
    save_transformer(tiny, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"cannot be read .*safetensors weights"):
        load_transformer(tmp_path)
