"""BERTScore: the matching by hand, and the whole on a tiny random encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from envs.errors import UserError
from sft.metrics.bertscore import Encoder, bertscore, embed, greedy_match, load_encoder
from sft.metrics.meter import Rows
from sft.metrics.score import score_texts

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "warm", "light", "long", "battery", "a"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder of 16 dimensions, saved as a user would have it."""
    path = tmp_path_factory.mktemp("encoder")
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]",
    )  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=12,
    )  # fmt: skip
    BertModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return load_encoder(str(folder))


def test_greedy_match_by_hand() -> None:
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    between = torch.tensor([0.6, 0.8])
    precision, recall, f1 = greedy_match(
        torch.stack([east, between]), torch.stack([east, north, north])
    )
    assert precision == pytest.approx((1 + 0.8) / 2)
    assert recall == pytest.approx((1 + 0.8 + 0.8) / 3)
    assert f1 == pytest.approx(2 * precision * recall / (precision + recall))
    assert greedy_match(torch.empty(0, 2), torch.stack([east])) == (0, 0, 0)


def test_special_tokens_are_left_out_and_long_texts_cut(encoder: Encoder) -> None:
    short, empty, long = embed(encoder, ["warm light", "", "a " * 40])
    assert short.shape == (2, 16)
    assert len(empty) == 0
    # 12 positions, two never used and two special.
    assert long.shape == (8, 16)
    assert short.norm(dim=1).numpy() == pytest.approx(1, abs=1e-5)


def test_equal_texts_score_1_and_padding_changes_nothing(encoder: Encoder) -> None:
    texts = ["warm light", "a long battery", "a", "a warm long light battery"]
    assert bertscore(encoder, texts, texts) == pytest.approx(1, abs=1e-5)
    others = ["a long battery", "warm", "light a", "battery"]
    alone = [bertscore(encoder, [a], [b]) for a, b in zip(texts, others)]
    assert max(alone) < 0.999
    assert bertscore(encoder, texts, others) == pytest.approx(sum(alone) / 4, abs=1e-5)
    assert bertscore(encoder, texts, others, chunk=3) == pytest.approx(sum(alone) / 4, abs=1e-5)


def test_it_stands_beside_its_floors_where_an_encoder_is_given(encoder: Encoder) -> None:
    said, wanted = ["warm light", "a long battery"], ["warm light", "a battery"]
    rows = Rows(texts=said, locale="en", references=wanted)
    scores = score_texts(rows, ["overlap"], np.random.default_rng(0), encoder=encoder)
    assert scores.texts["bertscore"].value == pytest.approx(bertscore(encoder, said, wanted))
    assert set(scores.as_dict()["bertscore"]["floors"]) == {"fixed", "shuffled"}


def test_a_path_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--bertscore .*none: must be the path or hub id of an en"):
        load_encoder(str(tmp_path / "none"))
