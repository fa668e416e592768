"""Smaller rankers order as the trained one does, in the same form of files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from envs.errors import UserError
from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES
from policies.ranker.config import ScorerConfig
from policies.ranker.onnx_export import TOLERANCE, export_onnx
from policies.ranker.scorer import SlateScorer, load_scorer, save_scorer
from policies.ranker.smaller import Pages, distil_linear, prune, size

pytestmark = [
    # torch.export calls functions that torch itself has deprecated (seen with torch 2.13).
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),
]


def pages(count: int = 400, candidates: int = 12) -> Pages:
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    mask = (torch.rand(count, candidates, generator=generator) < 0.9).float()
    mask[:, 0] = 1
    items = draw(count, candidates, len(ITEM_FEATURES))
    return Pages(draw(count, len(CONTEXT_FEATURES)), items, mask)


def teacher(kind: str = "deep_sets", strength: float = 0.3) -> SlateScorer:
    generator = torch.Generator().manual_seed(2)
    config = ScorerConfig.model_validate({"kind": kind})
    scorer = SlateScorer(config, ITEM_FEATURES, CONTEXT_FEATURES, generator)
    met = pages()
    scorer.fit_standardiser(met.context, met.items, met.mask)
    with torch.no_grad():
        for weight in scorer.parameters():
            weight.add_(strength * torch.randn(weight.shape, generator=generator))
    return scorer.eval()


def centred(scorer: SlateScorer, met: Pages) -> torch.Tensor:
    """Logits less their page's mean, of candidates that may be shown."""
    with torch.no_grad():
        logits = scorer.logits(met.context, met.items, met.mask)
    there = met.mask > 0
    mean = torch.where(there, logits, 0).sum(1, keepdim=True) / there.sum(1, keepdim=True)
    return (logits - mean)[there]


def same(small: SlateScorer, whole: SlateScorer) -> float:
    """Share of the variance of the whole's logits that the small one says, on other pages."""
    met = pages(100)
    wanted, found = centred(whole, met), centred(small, met)
    return float(1 - (found - wanted).square().mean() / wanted.square().mean())


def test_a_linear_teacher_is_distilled_exactly() -> None:
    whole = teacher("linear")
    small = distil_linear(whole, pages())
    torch.testing.assert_close(
        centred(small, pages(50)), centred(whole, pages(50)), atol=1e-3, rtol=1e-3
    )


def test_a_teacher_with_hidden_layers_is_distilled_for_the_most_part() -> None:
    whole = teacher()
    small = distil_linear(whole, pages(2_000))
    assert small.config.kind == "linear"
    # A weight for each feature and two prices of a crowd, each by context.
    wanted = (len(ITEM_FEATURES) + 2) * (1 + len(CONTEXT_FEATURES))
    assert size(small) == wanted < size(whole) / 10
    assert same(small, whole) > 0.5


def test_all_units_kept_is_the_same_ranker() -> None:
    whole = teacher()
    small = prune(whole, pages(), keep=1.0)
    torch.testing.assert_close(
        centred(small, pages(50)), centred(whole, pages(50)), atol=1e-3, rtol=1e-3
    )
    met = pages(20)
    args = (met.context, met.items, met.mask)
    torch.testing.assert_close(small.value(*args), whole.value(*args), atol=1e-5, rtol=1e-5)


def test_more_units_say_more() -> None:
    whole = teacher()
    said = [same(prune(whole, pages(), keep), whole) for keep in (0.1, 0.5, 0.9)]
    assert said == sorted(said)
    assert said[-1] > 0.9


def test_dead_units_are_the_first_to_go() -> None:
    whole = teacher()
    with torch.no_grad():
        whole.own.weight[:, 16:] = 0
        whole.others.weight[:, 16:] = 0
        whole.score_out.weight[:, :16] = 0
    small = prune(whole, pages(), keep=0.5)
    torch.testing.assert_close(
        centred(small, pages(50)), centred(whole, pages(50)), atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize("kind", ["linear", "attention"])
def test_only_deep_sets_can_be_pruned(kind: str) -> None:
    with pytest.raises(UserError, match=f"a {kind} ranker has no units to prune"):
        prune(teacher(kind), pages(), 0.5)


@pytest.mark.parametrize("form", ["linear", "pruned"])
def test_files_onnx_and_module_agree(form: str, tmp_path: Path) -> None:
    whole = teacher()
    small = distil_linear(whole, pages()) if form == "linear" else prune(whole, pages(), 0.25)
    save_scorer(small, tmp_path)
    met = pages(10)
    with torch.no_grad():
        wanted = small.logits(met.context, met.items, met.mask)
        read = load_scorer(tmp_path).logits(met.context, met.items, met.mask)
    np.testing.assert_array_equal(read.numpy(), wanted.numpy())
    # Compared on random inputs of three sizes, as every export is.
    assert export_onnx(small, tmp_path / "small.onnx") <= TOLERANCE
