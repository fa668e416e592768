"""Choosing tokens: the nucleus is the published one, and every row and copy draws by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import TopPLogitsWarper

from envs.errors import UserError
from policies.reasoner.sampling import Sampling, choose, draw_uniforms, nucleus


def test_the_nucleus_is_the_smallest_set_that_reaches_top_p() -> None:
    chances = torch.tensor([[0.1, 0.4, 0.2, 0.3]])
    for top_p, kept in [
        (0.3, [0, 1, 0, 0]),
        (0.41, [0, 1, 0, 1]),
        (0.7, [0, 1, 0, 1]),
        (0.71, [0, 1, 1, 1]),
        (0.95, [1, 1, 1, 1]),
    ]:
        found = nucleus(chances.double(), top_p)
        assert found.tolist() == (chances.double() * torch.tensor([kept])).tolist(), top_p


def test_of_equals_at_the_edge_the_first_are_kept() -> None:
    assert (nucleus(torch.full((1, 4), 0.25), 0.5) > 0).tolist() == [[True, True, False, False]]


def test_the_nucleus_is_that_of_transformers() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 40, generator=generator, dtype=torch.float64) * 2
    for top_p in (0.2, 0.5, 0.9):
        theirs = TopPLogitsWarper(top_p)(None, logits.clone()) > -torch.inf
        assert torch.equal(nucleus(logits.softmax(-1), top_p) > 0, theirs)


def test_a_draw_inverts_the_distribution_within_the_nucleus() -> None:
    logits = torch.log(torch.tensor([[0.1, 0.4, 0.2, 0.3]])).repeat(5, 1)
    # Kept: tokens 1 and 3, in the ratio of 4 to 3.
    draws = torch.tensor([0.0, 0.5, 4 / 7 - 1e-6, 4 / 7 + 1e-6, 0.999], dtype=torch.float64)
    assert choose(logits, 1.0, draws, top_p=0.7).tolist() == [1, 1, 1, 3, 3]
    assert choose(logits, 1.0, draws, top_p=0.01).tolist() == [1] * 5


def test_the_whole_distribution_is_a_nucleus_too() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(200, 30, generator=generator)
    draws = torch.rand(200, generator=generator, dtype=torch.float64)
    assert torch.equal(choose(logits, 0.7, draws), choose(logits, 0.7, draws, top_p=1.0))


def test_rows_and_copies_draw_by_themselves() -> None:
    sampling = Sampling(max_new_tokens=5, seed=3)
    whole = draw_uniforms([4, 9], 3, sampling).reshape(2, 3, 5)
    assert whole.unique().numel() == whole.numel()
    # Neither the other rows, nor how many copies there are, nor the length changes a draw.
    assert torch.equal(draw_uniforms([9], 2, sampling), whole[1, :2])
    longer = draw_uniforms([4], 1, Sampling(max_new_tokens=8, seed=3))
    assert torch.equal(longer[:, :5], whole[0, :1])
    # Copy 0 is the plain Philox stream (seed, row).
    stream = np.random.Generator(np.random.Philox(key=[3, 9]))
    assert whole[1, 0].tolist() == stream.random(5).tolist()
    assert not torch.equal(draw_uniforms([4, 9], 3, Sampling(5, seed=4)).reshape(2, 3, 5), whole)


@pytest.mark.parametrize(
    ("sampling", "copies", "message"),
    [
        (Sampling(temperature=0), 1, "temperature must be above 0, it is 0"),
        (Sampling(top_p=0), 1, "top_p must be above 0 and at most 1, it is 0"),
        (Sampling(top_p=1.1), 1, r"top_p must be above 0 and at most 1, it is 1\.1"),
        (Sampling(greedy=True), 2, "greedy writing has one text for each prompt, 2 are asked for"),
    ],
)
def test_settings_that_mean_nothing(sampling: Sampling, copies: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sampling.check(copies)
