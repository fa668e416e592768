"""Writing: the same whatever the batch size, greedy as Hugging Face's, sampling as the model's."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from envs.errors import UserError
from policies.reasoner.generate import generate, left_pad, load_reasoner
from policies.reasoner.sampling import choose
from sft.base_model import decode_completions, encode_prompts
from tests.reasoner.reasoner_toy import prompts

PROMPTS = [
    *(row["prompt"] for row in prompts(20, np.random.default_rng(3))),
    "watch battery and a rather longer prompt than the others ->",
    "x",
]


def test_the_batch_size_changes_nothing(toy_sft: Path) -> None:
    model, tokenizer = load_reasoner(toy_sft)
    runs = [
        generate(model, tokenizer, PROMPTS, max_new_tokens=12, batch_size=size, seed=4)
        for size in (1, 7, 64)
    ]
    assert runs[0] == runs[1] == runs[2]
    assert len(set(runs[0])) > 1


def test_the_seed_decides_and_other_prompts_do_not(toy_sft: Path) -> None:
    model, tokenizer = load_reasoner(toy_sft)
    all_rows = generate(model, tokenizer, PROMPTS, max_new_tokens=12, seed=4)
    assert generate(model, tokenizer, PROMPTS[:5], max_new_tokens=12, seed=4) == all_rows[:5]
    assert generate(model, tokenizer, PROMPTS, max_new_tokens=12, seed=5) != all_rows


def test_greedy_is_hugging_face_greedy(toy_sft: Path) -> None:
    model, tokenizer = load_reasoner(toy_sft)
    ids, attended = left_pad(encode_prompts(tokenizer, PROMPTS), tokenizer.pad_token_id)
    theirs = model.generate(
        input_ids=ids, attention_mask=attended, max_new_tokens=12, do_sample=False
    )
    expected = decode_completions(tokenizer, theirs[:, ids.size(1) :].tolist())
    assert generate(model, tokenizer, PROMPTS, max_new_tokens=12, greedy=True) == expected


def test_first_tokens_follow_the_models_probabilities(toy_sft: Path) -> None:
    model, tokenizer = load_reasoner(toy_sft)
    count, prompt = 2000, PROMPTS[0]
    texts = generate(model, tokenizer, [prompt] * count, max_new_tokens=1, temperature=1.3)
    with torch.no_grad():
        logits = model(torch.tensor(encode_prompts(tokenizer, [prompt]))).logits[0, -1]
    chances = (logits / 1.3).softmax(-1)
    expected: dict[str, float] = {}
    for token, chance in enumerate(chances.tolist()):
        text = decode_completions(tokenizer, [[token]])[0]
        expected[text] = expected.get(text, 0.0) + chance
    common = {text: chance for text, chance in expected.items() if chance > 0.02}
    assert len(common) > 1
    for text, chance in common.items():
        # Four standard errors: five or so words are compared at once.
        band = 4 * (chance * (1 - chance) / count) ** 0.5
        assert texts.count(text) / count == pytest.approx(chance, abs=band)


def test_a_draw_inverts_the_cumulative_distribution() -> None:
    logits = torch.log(torch.tensor([[0.25, 0.5, 0.25]])).repeat(4, 1)
    draws = torch.tensor([0.2, 0.3, 0.7, 0.8], dtype=torch.float64)
    assert choose(logits, 1.0, draws).tolist() == [0, 1, 1, 2]


def test_no_prompts_and_a_wrong_temperature(toy_sft: Path) -> None:
    model, tokenizer = load_reasoner(toy_sft)
    assert generate(model, tokenizer, []) == []
    with pytest.raises(UserError, match="temperature must be above 0, it is 0"):
        generate(model, tokenizer, PROMPTS, temperature=0.0)


def test_a_folder_without_a_base_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no folder 'base'"):
        load_reasoner(tmp_path)


def test_writing_needs_neither_trl_nor_ray() -> None:
    code = (
        "import sys, policies.reasoner.generate\n"
        "print([name for name in ('trl', 'ray', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
