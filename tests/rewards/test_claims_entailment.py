"""The entailment checker, on a tiny random model that the test makes itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from envs.errors import UserError
from rewards.claim_set import LABELLED, read_items
from rewards.entailment import EntailmentChecker, premise

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "light", "heavy", "battery", "no", "."]


def save_model(folder: Path, labels: dict[int, str]) -> str:
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=24
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=24,
        id2label=labels,
        label2id={v: k for k, v in labels.items()},
        initializer_range=1.0,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    labels = {0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"}
    return save_model(tmp_path_factory.mktemp("nli"), labels)


def test_scores_are_those_of_the_entailment_label_whatever_the_batch(folder: str) -> None:
    checker = EntailmentChecker(folder)
    facts = ["light battery.", "heavy.", "no battery. " * 20]
    said = ["light", "no battery light light", "heavy"]
    together = checker.score(facts, said)
    assert together.shape == (3,)
    np.testing.assert_allclose(together, checker.score(facts, said, batch_size=1), atol=1e-5)
    assert len(np.unique(together.round(6))) == 3
    # The same, by the model's own hands.
    inputs = checker._tokenizer(facts[0], said[0], return_tensors="pt")
    with torch.no_grad():
        shares = checker._model(**inputs).logits.softmax(-1)[0]
    assert together[0] == pytest.approx(float(shares[2]), abs=1e-6)
    assert checker.score([], []).shape == (0,)


def test_a_model_without_the_label_is_refused(tmp_path: Path) -> None:
    path = save_model(tmp_path, {0: "bad", 1: "good"})
    with pytest.raises(UserError, match=r"one label must begin with 'entail'.*bad, good"):
        EntailmentChecker(path)


def test_no_model_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        EntailmentChecker(str(tmp_path / "none"))
    assert "\n" not in str(caught.value)


def test_weights_that_would_be_unpickled_are_refused(folder: str, tmp_path: Path) -> None:
    path = Path(save_model(tmp_path, {0: "entailment", 1: "other"}))
    torch.save({}, path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="safetensors"):
        EntailmentChecker(str(path))


def test_premise_holds_title_and_facts() -> None:
    catalogue = read_items(LABELLED, "en")
    text = premise(catalogue, catalogue.item_position["mu"])
    assert text == (
        "Mokari Opal 300 Ceramic Mug. 350 ml capacity. dishwasher-safe finish. "
        "double-wall insulation. lead-free glaze."
    )
