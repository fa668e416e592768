"""Log-probabilities of whole texts against a row-by-row computation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from policies.reasoner.measure import sequence_log_probs
from sft.base_model import (
    BaseModelConfig,
    encode_completions,
    encode_prompts,
    make_local_model,
)

PROMPTS = ["watch | battery ->", "a", "a much longer prompt about a large mug | size: big ->", "b"]
TEXTS = ["Pick it.", "Pick it for its light weight and its large mug.", "", "你好 🔥"]


@pytest.fixture(scope="module")
def tiny() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    model, tokenizer = make_local_model(PROMPTS + TEXTS, BaseModelConfig(vocab_size=300), 0)
    return model.eval(), tokenizer


def _alone(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, text: str
) -> float:
    """Sum over the completion's tokens, its end included, of log p(token | all before it)."""
    head = encode_prompts(tokenizer, [prompt])[0]
    tail = encode_completions(tokenizer, [text])[0]
    assert tail[-1] == tokenizer.eos_token_id
    total = 0.0
    for place, token in enumerate(tail):
        seen = torch.tensor([head + tail[:place]])
        with torch.no_grad():
            logits = model(input_ids=seen).logits[0, -1].double()
        total += float(logits.log_softmax(0)[token])
    return total


@pytest.mark.parametrize("batch_size", [1, 3, 128])
def test_equals_each_row_alone(
    tiny: tuple[PreTrainedModel, PreTrainedTokenizerBase], batch_size: int
) -> None:
    expected = [_alone(*tiny, prompt, text) for prompt, text in zip(PROMPTS, TEXTS, strict=True)]
    found = sequence_log_probs(*tiny, PROMPTS, TEXTS, batch_size)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert len(set(np.round(found, 3))) == len(PROMPTS)
