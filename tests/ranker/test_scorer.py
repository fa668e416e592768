"""The scorer: its symmetries, its borders, and that its files say what it says."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from envs.errors import UserError
from envs.observation import CROWDING_FEATURES
from policies.ranker.attention import attend
from policies.ranker.config import ScorerConfig
from policies.ranker.onnx_export import TOLERANCE, export_onnx
from policies.ranker.plackett_luce import MASKED
from policies.ranker.scorer import SlateScorer, load_scorer, recommend, save_scorer

ITEMS = ("similarity_text", "similarity_price", "price", "new", *CROWDING_FEATURES)
CONTEXT = ("hour", "clicks")


def inputs(rows: int, candidates: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.rand(rows, candidates, generator=generator) < 0.7).float()
    mask[:, :2] = 1.0
    items = torch.randn(rows, candidates, len(ITEMS), generator=generator) * 2 - 1
    # Three classes, exposed between nothing and all.
    items[..., 4] = torch.randint(3, (rows, candidates), generator=generator) / 3
    items[..., 5] = torch.rand(rows, candidates, generator=generator)
    return torch.randn(rows, 2, generator=generator) * 3 + 1, items, mask


Kind = Literal["deep_sets", "attention", "linear"]
KINDS: tuple[Kind, ...] = ("deep_sets", "attention", "linear")


def as_trained(kind: Kind) -> SlateScorer:
    """Return a scorer with every weight away from zero, as after training."""
    generator = torch.Generator().manual_seed(9)
    config = ScorerConfig(kind=kind, hidden=8, heads=2)
    built = SlateScorer(config, ITEMS, CONTEXT, generator)
    built.fit_standardiser(*inputs(50, 6, seed=1))
    with torch.no_grad():
        for weight in built.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return built.eval()


@pytest.fixture(params=KINDS)
def scorer(request: pytest.FixtureRequest) -> SlateScorer:
    return as_trained(request.param)


@pytest.fixture
def deep_sets() -> SlateScorer:
    return as_trained("deep_sets")


def test_reordering_candidates_reorders_logits_and_keeps_the_value(scorer: SlateScorer) -> None:
    context, items, mask = inputs(5, 9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        logits, value = scorer(context, items, mask)
        moved, same_value = scorer(context, items[:, order], mask[:, order])
    torch.testing.assert_close(moved, logits[:, order])
    torch.testing.assert_close(same_value, value)


def test_masked_candidates_change_nothing_even_when_not_finite(scorer: SlateScorer) -> None:
    context, items, mask = inputs(5, 9)
    spoilt = items.clone()
    spoilt[mask == 0] = torch.nan
    with torch.no_grad():
        logits, value = scorer(context, items, mask)
        again, value_again = scorer(context, spoilt, mask)
        longer, value_longer = scorer(
            context,
            torch.cat([items, torch.full((5, 4, len(ITEMS)), 1e6)], dim=1),
            torch.cat([mask, torch.zeros(5, 4)], dim=1),
        )
    torch.testing.assert_close(again, logits, atol=0, rtol=0)
    torch.testing.assert_close(value_again, value, atol=0, rtol=0)
    torch.testing.assert_close(longer[:, :9], logits)
    torch.testing.assert_close(value_longer, value)
    assert (logits[mask == 0] == MASKED).all()


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_at_the_baseline_whatever_the_standardisation(kind: Kind) -> None:
    config = ScorerConfig(kind=kind, baseline_features=ITEMS[:2], baseline_weight=5.0)
    scorer = SlateScorer(config, ITEMS, CONTEXT, torch.Generator().manual_seed(3))
    context, items, mask = inputs(6, 7)
    scorer.fit_standardiser(context, items, mask)
    with torch.no_grad():
        logits, value = scorer(context, items, mask)
    wanted = 5.0 * items[..., :2].mean(2)
    # Up to a constant a row, which no policy can see.
    for row in range(6):
        kept = mask[row] > 0
        shift = (logits[row] - wanted[row])[kept]
        torch.testing.assert_close(shift, shift[:1].expand_as(shift), atol=1e-4, rtol=0)
    assert (value == 0).all()


def test_without_a_baseline_it_starts_uniform() -> None:
    scorer = SlateScorer(ScorerConfig(), ITEMS, CONTEXT)
    context, items, mask = inputs(3, 5)
    assert (scorer.logits(context, items, mask)[mask > 0] == 0).all()


def test_the_standardiser_counts_available_candidates_only() -> None:
    scorer = SlateScorer(ScorerConfig(), ITEMS, CONTEXT)
    context, items, mask = inputs(40, 6)
    items[mask == 0] = 1e9
    items[..., 3] = 7.0
    scorer.fit_standardiser(context, items, mask)
    kept = items[mask > 0]
    torch.testing.assert_close(scorer.item_mean, kept.mean(0))
    torch.testing.assert_close(scorer.item_scale[:3], kept[:, :3].std(0, correction=0))
    assert scorer.item_scale[3] == 1.0, "a constant feature must not be divided by zero"


def test_an_unknown_baseline_feature_names_the_nearest() -> None:
    config = ScorerConfig(baseline_features=("similarity_txt",))
    with pytest.raises(UserError, match=r"similarity_txt.*Did you mean 'similarity_text'"):
        SlateScorer(config, ITEMS, CONTEXT)


@pytest.mark.parametrize(("rows", "candidates"), [(1, 3), (4, 20), (33, 7)])
def test_saved_and_loaded_scores_are_the_same(
    scorer: SlateScorer, tmp_path: Path, rows: int, candidates: int
) -> None:
    save_scorer(scorer, tmp_path)
    again = load_scorer(tmp_path)
    given = inputs(rows, candidates)
    with torch.no_grad():
        for found, wanted in zip(again(*given), scorer(*given)):
            torch.testing.assert_close(found, wanted, atol=0, rtol=0)
    assert (again.item_features, again.config) == (scorer.item_features, scorer.config)


def test_a_spoilt_file_is_the_users_error(deep_sets: SlateScorer, tmp_path: Path) -> None:
    save_scorer(deep_sets, tmp_path)
    weights = tmp_path / "scorer.safetensors"
    weights.write_bytes(weights.read_bytes()[:50])
    with pytest.raises(UserError, match="not a ranker this version can read"):
        load_scorer(tmp_path)
    weights.unlink()
    with pytest.raises(UserError, match=r"scorer\.safetensors"):
        load_scorer(tmp_path)


# torch.export calls functions that torch itself has deprecated (seen with torch 2.13).
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_onnx_scores_are_the_same_on_three_sizes(scorer: SlateScorer, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "ranker.onnx"
    assert export_onnx(scorer, path) <= TOLERANCE
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for rows, candidates in ((1, 3), (4, 20), (33, 7)):
        given = inputs(rows, candidates)
        named = {n: t.numpy() for n, t in zip(("context", "items", "mask"), given)}
        with torch.no_grad():
            wanted = scorer(*given)
        for found, tensor in zip(session.run(["logits", "value"], named), wanted):
            np.testing.assert_allclose(found, tensor.numpy(), atol=1e-5, rtol=1e-5)


def test_recommend_puts_the_best_available_first(scorer: SlateScorer) -> None:
    context, items, mask = inputs(8, 12)
    slates = recommend(scorer, context.numpy(), items.numpy(), mask.numpy(), 2)
    logits = scorer.logits(context, items, mask).detach()
    for row in range(8):
        best = sorted(range(12), key=lambda i: -float(logits[row, i]))[:2]
        assert slates[row].tolist() == best


def test_recommend_refuses_what_it_cannot_rank(deep_sets: SlateScorer) -> None:
    scorer = deep_sets
    context, items, mask = (tensor.numpy() for tensor in inputs(3, 6))
    bad = items.copy()
    bad[1, 0, 2] = np.nan
    with pytest.raises(UserError, match=r"'price' of row 1, 0 is nan"):
        recommend(scorer, context, bad, mask, 2)
    few = mask.copy()
    few[2] = 0
    few[2, :3] = 1
    few[:2] = 1
    with pytest.raises(UserError, match=r"row 2: a slate of 4 needs 4 .* 3 of 6 are"):
        recommend(scorer, context, items, few, 4)
    few[2] = 0
    with pytest.raises(UserError, match=r"row 2: a slate of 1 needs 1 .* none is"):
        recommend(scorer, context, items, few, 1)
    with pytest.raises(UserError, match="1 slot or more, not 0"):
        recommend(scorer, context, items, mask, 0)
    with pytest.raises(UserError, match=r"'items'.*\(3, 6, 3\)"):
        recommend(scorer, context, items[..., :3], mask, 2)


def test_recommend_refuses_scores_that_are_no_numbers(deep_sets: SlateScorer) -> None:
    context, items, mask = (tensor.numpy() for tensor in inputs(3, 6))
    with torch.no_grad():
        deep_sets.skip[1] = torch.nan
    with pytest.raises(UserError, match=r"score of candidate 0 in row 0 is nan.*train or export"):
        recommend(deep_sets, context, items, mask, 2)


def test_weights_of_another_shape_are_refused(deep_sets: SlateScorer, tmp_path: Path) -> None:
    wider = SlateScorer(ScorerConfig(hidden=16), ITEMS, CONTEXT)
    save_scorer(deep_sets, tmp_path / "ours")
    save_scorer(wider, tmp_path / "theirs")
    weights = tmp_path / "ours" / "scorer.safetensors"
    weights.write_bytes((tmp_path / "theirs" / "scorer.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"'context_in.weight' is \(16, 2\).*has \(8, 2\)"):
        load_scorer(tmp_path / "ours")
    save_scorer(as_trained("attention"), tmp_path / "theirs")
    weights.write_bytes((tmp_path / "theirs" / "scorer.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"'key.weight' is \(8, 8\).*none of that name"):
        load_scorer(tmp_path / "ours")


def test_attention_with_nothing_to_ask_is_deep_sets() -> None:
    attention, deep = as_trained("attention"), as_trained("deep_sets")
    with torch.no_grad():
        attention.query.weight.zero_()
        known = attention.state_dict()
        deep.load_state_dict({name: known[name] for name in deep.state_dict()})
        for found, wanted in zip(attention(*inputs(7, 11)), deep(*inputs(7, 11))):
            torch.testing.assert_close(found, wanted)


def test_attention_weighs_by_the_angle_between_query_and_key() -> None:
    hidden = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [9.0, 9.0]]])
    available = torch.tensor([[True, True, True, False]])
    seen = attend(hidden, hidden, hidden, available, heads=1)
    # The first two point the same way, the third is at a right angle; the width is two.
    near = math.exp(math.sqrt(2))
    wanted = torch.tensor([3 * near, 3.0]) / (2 * near + 1)
    torch.testing.assert_close(seen[0, 0], wanted)
    torch.testing.assert_close(seen[0, 1], wanted)
    # Two heads of width one: signs alone count, and a zero says nothing.
    apart = attend(hidden, hidden, hidden, available, heads=2)
    torch.testing.assert_close(apart[0, 0], torch.tensor([3 * math.e / (2 * math.e + 1), 1.0]))


def greedy(logits: Tensor, code: Tensor, exposure: Tensor, prices: Tensor) -> list[int]:
    """Return the order in which a greedy choice takes candidates (N,), by its definition."""
    left, taken = set(range(len(logits))), list[int]()
    while left:
        worth = {
            i: float(logits[i] - prices[1] * exposure[i])
            - float(prices[0]) * sum(bool(code[j] == code[i]) for j in taken)
            for i in left
        }
        taken.append(max(left, key=lambda i: worth[i]))
        left.remove(taken[-1])
    return taken


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_is_the_greedy_choice_that_charges_for_a_crowd(kind: Kind) -> None:
    scorer = as_trained(kind)
    context, items, mask = inputs(20, 11)
    mask[:] = 1.0
    items[..., 5] = 0.9 * items[..., 4]  # exposure is that of the class
    with torch.no_grad():
        # Logits so far apart that "higher" is a matter of yes or no.
        last = scorer.weight_out if kind == "linear" else scorer.score_out
        for weights in (last.weight, scorer.skip):
            weights.mul_(100_000)
        scorer.prices.weight.zero_()
        scorer.prices.bias.zero_()
        alone = scorer.logits(context, items, mask)
        prices = torch.tensor([80_000.0, 50_000.0])
        scorer.prices.bias.copy_(prices)
        crowded = scorer.logits(context, items, mask)
    for row in range(20):
        wanted = greedy(alone[row], items[row, :, 4], items[row, :, 5], prices)
        assert crowded[row].argsort(descending=True).tolist() == wanted
        assert wanted != alone[row].argsort(descending=True).tolist()


def test_two_of_a_class_and_of_the_same_score_give_way_to_each_other_by_half() -> None:
    scorer = as_trained("linear")
    context, items, mask = inputs(1, 3)
    mask[:] = 1.0
    items[0, 1] = items[0, 0]
    items[0, 2, 4] = items[0, 0, 4] + 1
    with torch.no_grad():
        scorer.prices.weight.zero_()
        scorer.prices.bias.copy_(torch.tensor([0.0, 0.0]))
        alone = scorer.logits(context, items, mask)
        scorer.prices.bias.copy_(torch.tensor([2.0, 0.0]))
        crowded = scorer.logits(context, items, mask)
    torch.testing.assert_close(alone - crowded, torch.tensor([[1.0, 1.0, 0.0]]))


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_in_search_a_crowd_costs_as_much_less_as_asked(share: float) -> None:
    context_features = ("scene_home", "scene_search")
    config = ScorerConfig(crowd_in_search=share)
    scorer, full = (
        SlateScorer(one, ("x", *CROWDING_FEATURES), context_features)
        for one in (config, ScorerConfig())
    )
    context = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    items = torch.tensor([[[3.0, 1.0, 0.5], [2.0, 1.0, 0.5], [1.0, 2.0, 0.1]]]).repeat(2, 1, 1)
    mask = torch.ones(2, 3)
    for one in (scorer, full):
        # What tells search apart must survive the standardising.
        one.fit_standardiser(context, items, mask)
        with torch.no_grad():
            one.skip[0] = 1.0
            one.prices.bias.copy_(torch.tensor([2.0, 3.0]))
    with torch.no_grad():
        found, wanted = (one.logits(context, items, mask) for one in (scorer, full))
        for one in (scorer, full):
            one.prices.bias.zero_()
        alone = scorer.logits(context, items, mask)
    torch.testing.assert_close(found[0], wanted[0])
    assert float((alone - wanted).min()) > 0.2, "there is a crowd on both pages"
    torch.testing.assert_close(alone[1] - found[1], share * (alone[1] - wanted[1]))


def test_the_number_of_a_class_says_no_more_than_same_or_other(scorer: SlateScorer) -> None:
    context, items, mask = inputs(6, 9)
    renamed = items.clone()
    renamed[..., 4] = 7 - 5 * items[..., 4]
    with torch.no_grad():
        for found, wanted in zip(scorer(context, renamed, mask), scorer(context, items, mask)):
            torch.testing.assert_close(found, wanted, atol=0, rtol=0)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match=r"heads \(3\) must divide hidden \(8\)"):
        ScorerConfig(kind="attention", hidden=8, heads=3)
    assert ScorerConfig(hidden=9).hidden == 9


def test_contributions_of_a_linear_scorer_add_up_to_its_logits() -> None:
    linear = as_trained("linear")
    context, items, mask = inputs(6, 9)
    with torch.no_grad():
        parts = linear.contributions(context, items, mask)
        torch.testing.assert_close(
            parts.sum(2)[mask > 0], linear.logits(context, items, mask)[mask > 0]
        )
        # Out of the crowd, where nobody gives way to anybody.
        items[..., 4] = torch.arange(9) / 9
        parts = linear.contributions(context, items, mask)
        logits = linear.logits(context, items, mask)
        # One feature less of one item takes away its part of that item's logit, nothing else.
        without = items.clone()
        without[:, 0, 2] = linear.item_mean[2]
        changed = logits - linear.logits(context, without, mask)
    torch.testing.assert_close(parts.sum(2)[mask > 0], logits[mask > 0])
    torch.testing.assert_close(changed[:, 0], parts[:, 0, 2], atol=1e-5, rtol=1e-4)
    assert (changed[:, 1:] == 0).all()
    with pytest.raises(ValueError, match="deep_sets scorer has no exact contributions"):
        as_trained("deep_sets").contributions(context, items, mask)


def test_scoring_needs_no_ray() -> None:
    code = (
        "import sys, policies.ranker.scorer, policies.ranker.config, policies.ranker.onnx_export\n"
        "assert not {'ray', 'trl'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
