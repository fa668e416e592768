"""Plackett-Luce against brute-force enumeration of every ordered slate."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from policies.ranker import plackett_luce as pl

N, K = 6, 3


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(4, N, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2


@pytest.fixture
def mask() -> Tensor:
    """All available; one masked; as many as slots; fewer than slots."""
    rows = [[1] * 6, [1, 1, 0, 1, 1, 1], [0, 1, 0, 1, 0, 1], [0, 0, 1, 0, 1, 0]]
    return torch.tensor(rows, dtype=torch.float64)


def enumerate_slates(logits: Tensor, mask: Tensor, k: int) -> dict[tuple[int, ...], float]:
    """Return the probability of each ordered slate of one row, by the definition."""
    available = [i for i in range(len(logits)) if mask[i] > 0]
    weights = logits.exp().tolist()
    table = {}
    for slate in itertools.permutations(available, min(k, len(available))):
        left, probability = sum(weights[i] for i in available), 1.0
        for item in slate:
            probability *= weights[item] / left
            left -= weights[item]
        table[slate] = probability
    return table


def padded(slate: tuple[int, ...], mask: Tensor, k: int) -> list[int]:
    """Fill void slots with masked candidates."""
    return list(slate) + [i for i in range(len(mask)) if mask[i] == 0][: k - len(slate)]


def test_log_prob_and_its_prefixes_are_those_of_the_definition(
    logits: Tensor, mask: Tensor
) -> None:
    for row, allowed in zip(logits, mask):
        table = enumerate_slates(row, allowed, K)
        slates = torch.tensor([padded(slate, allowed, K) for slate in table])
        wide, wide_mask = row.expand(len(table), -1), allowed.expand(len(table), -1)
        wanted = torch.tensor(list(table.values()), dtype=torch.float64)
        assert math.isclose(float(wanted.sum()), 1.0)
        torch.testing.assert_close(pl.log_prob(wide, wide_mask, slates).exp(), wanted)
        # The prefix (s_1) has the probability of all slates that start with it.
        prefix = pl.prefix_log_probs(wide, wide_mask, slates)[:, 0].exp()
        for at, slate in enumerate(table):
            starting = sum(p for other, p in table.items() if other[0] == slate[0])
            assert math.isclose(float(prefix[at]), starting, rel_tol=1e-9)


def test_stage_distributions_agree_with_stage_log_probs(logits: Tensor, mask: Tensor) -> None:
    slates = pl.sample_slates(logits, mask, 2, torch.Generator().manual_seed(2))
    stages = pl.stage_distributions(logits, mask, slates)
    torch.testing.assert_close(
        stages.gather(2, slates.unsqueeze(2)).squeeze(2), pl.stage_log_probs(logits, mask, slates)
    )


def test_impossible_slates_have_probability_zero() -> None:
    logits, mask = torch.zeros(3, 4), torch.tensor([[1.0, 1, 1, 0]] * 3)
    slates = torch.tensor([[0, 0, 1], [3, 0, 1], [0, 1, 3]])
    assert torch.isneginf(pl.log_prob(logits, mask, slates)).all()


def test_log_prob_has_the_right_gradient(logits: Tensor, mask: Tensor) -> None:
    slates = pl.sample_slates(logits, mask, K, torch.Generator().manual_seed(3))
    given = logits.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pl.log_prob(x, mask, slates), given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_stay_finite(dtype: torch.dtype) -> None:
    logits = torch.tensor([[200.0, -200.0, 0.0, 90.0]], dtype=dtype, requires_grad=True)
    mask = torch.ones(1, 4)
    log_p = pl.log_prob(logits, mask, torch.tensor([[0, 3, 2, 1]]))
    log_p.sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(log_p).all()
    assert torch.isfinite(logits.grad).all()


def test_samples_follow_the_distribution(logits: Tensor, mask: Tensor) -> None:
    draws = 20_000
    table = enumerate_slates(logits[1], mask[1], 2)
    wide = logits[1].expand(draws, -1)
    slates = pl.sample_slates(wide, mask[1].expand(draws, -1), 2, torch.Generator().manual_seed(4))
    counts: dict[tuple[int, ...], int] = dict.fromkeys(table, 0)
    for slate in map(tuple, slates.tolist()):
        counts[slate] += 1
    for slate, p in table.items():
        # 20 slates are compared: four deviations keep the chance of a false alarm near 0.1 %.
        assert abs(counts[slate] / draws - p) <= 4 * math.sqrt(p * (1 - p) / draws)


def test_top_k_is_the_most_probable_slate_and_breaks_ties_by_index(
    logits: Tensor, mask: Tensor
) -> None:
    table = enumerate_slates(logits[0], mask[0], K)
    assert tuple(pl.top_k(logits[:1], mask[:1], K)[0].tolist()) == max(
        table, key=lambda s: table[s]
    )
    assert pl.top_k(torch.zeros(1, 5), torch.tensor([[0.0, 1, 1, 0, 1]]), 4).tolist() == [
        [1, 2, 4, 0]
    ]


def test_marginals_are_those_of_enumeration(logits: Tensor, mask: Tensor) -> None:
    found = pl.item_position_marginals(logits, mask, K)
    for row in range(len(logits)):
        wanted = torch.zeros(K, N, dtype=torch.float64)
        for slate, p in enumerate_slates(logits[row], mask[row], K).items():
            for slot, item in enumerate(slate):
                wanted[slot, item] += p
        torch.testing.assert_close(found[row], wanted, atol=1e-9, rtol=1e-7)


def test_item_at_position_reads_the_marginals(logits: Tensor, mask: Tensor) -> None:
    slates = pl.sample_slates(logits, mask, K, torch.Generator().manual_seed(5))
    table = pl.item_position_marginals(logits, mask, K)
    wanted = table.gather(2, slates.unsqueeze(2)).squeeze(2)
    wanted[3, 2] = 1.0  # two candidates: the third slot is void
    torch.testing.assert_close(pl.item_at_position_probability(logits, mask, slates), wanted)


@pytest.mark.parametrize("spread", [0.0, 1.0, 8.0])
def test_marginals_of_a_long_shelf_are_a_distribution_in_each_slot(spread: float) -> None:
    logits = torch.randn(3, 60, generator=torch.Generator().manual_seed(6)) * spread
    table = pl.item_position_marginals(logits, torch.ones(3, 60), 8)
    torch.testing.assert_close(
        table.sum(2), torch.ones(3, 8, dtype=torch.float64), atol=1e-8, rtol=0
    )
    assert (table.sum(1) <= 1 + 1e-8).all()
    torch.testing.assert_close(table[:, 0], logits.double().softmax(1), atol=1e-9, rtol=1e-7)


def test_entropy_and_divergence_are_unbiased(logits: Tensor, mask: Tensor) -> None:
    draws = 4000
    other = logits.flip(0)
    generator = torch.Generator().manual_seed(7)
    for row in range(len(logits)):
        p = enumerate_slates(logits[row], mask[row], K)
        q = enumerate_slates(other[row], mask[row], K)
        entropy = -sum(x * math.log(x) for x in p.values())
        divergence = sum(x * math.log(x / q[slate]) for slate, x in p.items())
        wide, wide_mask = logits[row].expand(draws, -1), mask[row].expand(draws, -1)
        for found, wanted in (
            (pl.entropy(wide, wide_mask, K, generator), entropy),
            (
                pl.kl_divergence(wide, other[row].expand(draws, -1), wide_mask, K, generator),
                divergence,
            ),
        ):
            assert (found >= -1e-12).all()
            band = 3 * float(found.std()) / math.sqrt(draws) + 1e-12
            assert abs(float(found.mean()) - wanted) <= band


def test_a_policy_has_no_divergence_from_itself(logits: Tensor, mask: Tensor) -> None:
    generator = torch.Generator().manual_seed(8)
    found = pl.kl_divergence(logits, logits.clone(), mask, K, generator)
    torch.testing.assert_close(found, torch.zeros(4, dtype=torch.float64))
