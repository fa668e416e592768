"""Best of n: one text is plain writing, more texts never lower the reward, any reward will do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.errors import UserError
from policies.reasoner.backends import TextBackend, transformers_backend
from policies.reasoner.best_of import VETOED, best_of, fitting_claims
from policies.reasoner.generate import generate, generate_many, load_reasoner
from policies.reasoner.sampling import Sampling
from rewards.claims import ClaimChecker
from tests.reasoner.reasoner_toy import prompts
from tests.shop_at_hand import hand_made

PROMPTS = [row["prompt"] for row in prompts(12, np.random.default_rng(3))]
SAMPLING = Sampling(max_new_tokens=8, temperature=1.2, seed=4)


def by_letters(rows: NDArray[np.int64], texts: list[str]) -> NDArray[np.float64]:
    """A reward that is not ours: the share of e in a text, a little different in each row."""
    return np.array([text.count("e") / (len(text) + 1) + row for row, text in zip(rows, texts)])


@pytest.fixture(scope="module")
def writer(toy_sft: Path) -> TextBackend:
    return transformers_backend(*load_reasoner(toy_sft), SAMPLING, batch_size=16)


def scripted(texts: Sequence[Sequence[str]]) -> TextBackend:
    """A writer that says what it is told to."""
    return lambda prompts, rows, copies=1: [list(texts[row][:copies]) for row in rows]


def test_one_text_is_what_generate_writes(toy_sft: Path, writer: TextBackend) -> None:
    plain = generate(
        *load_reasoner(toy_sft), PROMPTS, max_new_tokens=8, temperature=1.2, seed=4, batch_size=5
    )
    found = best_of(writer, by_letters, PROMPTS, 1)
    assert found.texts == plain
    assert found.rewards.shape == (len(PROMPTS), 1)
    assert found.reward.tolist() == by_letters(np.arange(len(PROMPTS)), plain).tolist()


def test_more_texts_never_lower_the_reward(writer: TextBackend) -> None:
    most = best_of(writer, by_letters, PROMPTS, 6)
    assert most.rewards.std(axis=1).max() > 0
    for n in (1, 2, 4):
        fewer = best_of(writer, by_letters, PROMPTS, n)
        np.testing.assert_array_equal(fewer.rewards, most.rewards[:, :n])
        assert (most.reward >= fewer.reward).all()
        assert most.by_count[n - 1] == pytest.approx(fewer.reward.mean())
    assert (np.diff(most.by_count) >= 0).all()
    assert most.by_count[-1] > most.by_count[0]


def test_copies_do_not_depend_on_batches_or_on_where_a_list_is_cut(toy_sft: Path) -> None:
    model, tokenizer = load_reasoner(toy_sft)
    runs = [
        generate_many(model, tokenizer, PROMPTS, SAMPLING, copies=3, batch_size=size)
        for size in (1, 7, 64)
    ]
    assert runs[0] == runs[1] == runs[2]
    tail = generate_many(model, tokenizer, PROMPTS[7:], SAMPLING, copies=3, rows=range(7, 12))
    assert tail == runs[0][7:]
    assert any(len(set(copies)) > 1 for copies in runs[0])


def test_a_narrow_nucleus_is_greedy_whatever_the_batch_size(toy_sft: Path) -> None:
    model, tokenizer = load_reasoner(toy_sft)
    greedy = generate(model, tokenizer, PROMPTS, max_new_tokens=8, greedy=True)
    narrow = Sampling(max_new_tokens=8, top_p=1e-6, seed=1)
    assert generate_many(model, tokenizer, PROMPTS, narrow, copies=2, batch_size=3) == [
        [text, text] for text in greedy
    ]
    wider = [
        generate(model, tokenizer, PROMPTS, max_new_tokens=8, top_p=0.8, batch_size=size, seed=1)
        for size in (2, 64)
    ]
    assert wider[0] == wider[1]
    assert wider[0] != greedy


def test_the_first_of_equals_is_kept_and_rows_reach_the_reward() -> None:
    write = scripted([["a", "bb", "cc"], ["ddd", "e", "fff"]])

    def length(rows: NDArray[np.int64], texts: list[str]) -> NDArray[np.float64]:
        assert rows.tolist() == [1, 1, 1, 0, 0, 0]
        return np.array([len(text) for text in texts], dtype=np.float64)

    found = best_of(write, length, ["x", "y"], 3, rows=[1, 0])
    assert found.texts == ["ddd", "bb"]
    assert found.chosen.tolist() == [0, 1]
    assert found.rewards.tolist() == [[3, 1, 3], [1, 2, 2]]
    assert found.reward.tolist() == [3, 2]
    assert found.by_count.tolist() == [2, 2.5, 2.5]


def test_a_reward_must_be_one_finite_number_a_text() -> None:
    write = scripted([["a", "b"]])
    with pytest.raises(UserError, match=r"one number for each of 2 texts.*shape \(1,\)"):
        best_of(write, lambda rows, texts: np.zeros(1), ["x"], 2)
    with pytest.raises(UserError, match="is nan for the text 'b'"):
        best_of(write, lambda rows, texts: np.array([0, np.nan]), ["x"], 2)
    with pytest.raises(UserError, match="n must be at least 1, it is 0"):
        best_of(write, by_letters, ["x"], 0)


def test_true_claims_that_fit_are_worth_something_and_vetoed_texts_less_than_nothing() -> None:
    catalogue = hand_made(
        [("watch", "Norvik Watch", "w", "Norvik"), ("lamp", "Lumiq Lamp", "l", "Lumiq")],
        [
            ("watch", "battery", ["30-hour battery"]),
            ("watch", "weight", ["weight of 40 g"]),
            ("lamp", "light", ["warm light"]),
        ],
    )
    battery, weight = (catalogue.aspects.index(name) for name in ("battery", "weight"))
    reward = fitting_claims(ClaimChecker(catalogue), [0, 0], [{battery, weight}, {weight}])
    texts = [
        "You get a 30-hour battery here.",
        "It has a 30-hour battery and a weight of 40 g.",
        "It does its job well.",
        "You get warm light here.",
    ]
    assert reward(np.array([0, 0, 0, 0]), texts).tolist() == [1, 2, 0, VETOED]
    assert reward(np.array([1, 1, 1, 1]), texts).tolist() == [0, 1, 0, VETOED]
