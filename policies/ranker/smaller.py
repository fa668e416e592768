"""Smaller rankers that order as a trained one does: distilled to a linear scorer, or pruned.

Both learn from pages that the trained ranker (the teacher) met, and from its logits there alone: no
reward is asked. A page's logits mean the same when a constant is added to all of them, so what is
fitted is each logit less its page's mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from envs.errors import UserError
from policies.ranker.config import ScorerConfig
from policies.ranker.scorer import SlateScorer

#: Ridge penalty a page, in the unit of squared standardised features.
_RIDGE = 1e-4


@dataclass(frozen=True)
class Pages:
    """M pages of N candidates."""

    #: (M, C), (M, N, F), (M, N) float32.
    context: Tensor
    items: Tensor
    mask: Tensor


@torch.no_grad()
def prune(teacher: SlateScorer, pages: Pages, keep: float) -> SlateScorer:
    """Return the teacher without the hidden units that matter least, its last layer fitted anew.

    A unit's importance is how much it varies over the pages times the length of its outgoing
    weights. Of both hidden layers, and of the value's, the same number is kept.

    Args:
        teacher: a ``deep_sets`` scorer.
        pages: what it met.
        keep: share of the units that stay, above 0; one unit stays at least.

    Raises:
        UserError: for a teacher of another kind.
    """
    if teacher.config.kind != "deep_sets":
        raise UserError(
            f"export: a {teacher.config.kind} ranker has no units to prune; choose full or linear"
        )
    hidden = teacher.config.hidden
    count = max(1, round(keep * hidden))
    x, c, share = teacher._inputs(pages.context, pages.items, pages.mask)
    h = torch.relu(teacher.item_in(x) + teacher.context_in(c).unsqueeze(1))
    z = torch.relu(teacher.own(h) + teacher.others((h * share).sum(1, keepdim=True)))
    there = pages.mask > 0
    out = torch.hypot(teacher.own.weight.norm(dim=0), teacher.others.weight.norm(dim=0))
    first = _most(h[there].std(0) * out, count)
    second = _most(z[there].std(0) * teacher.score_out.weight[0].abs(), count)
    small = SlateScorer(
        _with(teacher.config, hidden=count), teacher.item_features, teacher.context_features
    )
    _copy_inputs(teacher, small)
    _rows(small.item_in, teacher.item_in, first)
    _rows(small.context_in, teacher.context_in, first)
    _rows(small.own, teacher.own, second, first)
    _rows(small.others, teacher.others, second, first)
    _prune_value(teacher, small, pages, count)
    x, c, share = small._inputs(pages.context, pages.items, pages.mask)
    h = torch.relu(small.item_in(x) + small.context_in(c).unsqueeze(1))
    z = torch.relu(small.own(h) + small.others((h * share).sum(1, keepdim=True)))
    weights = _fitted(torch.cat([z, x], dim=2), _logits(teacher, pages), share)
    small.score_out.weight.copy_(weights[None, :count])
    small.skip.copy_(weights[count:])
    return small.eval()


@torch.no_grad()
def distil_linear(teacher: SlateScorer, pages: Pages) -> SlateScorer:
    """Return a linear scorer (weights by context) whose choices are close to the teacher's.

    It is the least squares fit to the teacher's logits: of its features, and of their products
    with the context's.
    """
    small = SlateScorer(
        _with(teacher.config, kind="linear"), teacher.item_features, teacher.context_features
    )
    _copy_inputs(teacher, small)
    for name in ("value_item", "value_context", "value_hidden", "value_out"):
        getattr(small, name).load_state_dict(getattr(teacher, name).state_dict())
    x, c, share = small._inputs(pages.context, pages.items, pages.mask)
    ones = torch.cat([torch.ones_like(c[:, :1]), c], dim=1)
    outer = (x.unsqueeze(3) * ones[:, None, None, :]).flatten(2)
    weights = _fitted(outer, _logits(teacher, pages), share).reshape(x.shape[2], ones.shape[1])
    small.skip.copy_(weights[:, 0])
    small.weight_out.weight.copy_(weights[:, 1:])
    return small.eval()


def size(scorer: SlateScorer) -> int:
    """Return the number of weights that a logit is made with."""
    return sum(
        weight.numel()
        for name, weight in scorer.named_parameters()
        if not name.startswith("value_")
    )


def _with(config: ScorerConfig, **changes: object) -> ScorerConfig:
    return ScorerConfig.model_validate(config.model_dump() | changes)


def _most(importance: Tensor, count: int) -> Tensor:
    """Return the units of highest importance in their old order, (count,)."""
    return importance.topk(count).indices.sort().values


def _rows(small: nn.Linear, whole: nn.Linear, rows: Tensor, columns: Tensor | None = None) -> None:
    """Copy some rows, and some columns, of a layer."""
    weight = whole.weight[rows]
    small.weight.copy_(weight if columns is None else weight[:, columns])
    if whole.bias is not None:
        small.bias.copy_(whole.bias[rows])


def _prune_value(teacher: SlateScorer, small: SlateScorer, pages: Pages, count: int) -> None:
    """Keep the value's strongest units; nothing that a bundle answers depends on it."""
    x, c, share = teacher._inputs(pages.context, pages.items, pages.mask)
    shelf = (torch.relu(teacher.value_item(x)) * share).sum(1)
    told = torch.relu(teacher.value_context(c))
    joint = torch.relu(teacher.value_hidden(torch.cat([shelf, told], dim=1)))
    hidden, into = teacher.config.hidden, teacher.value_hidden.weight.norm(dim=0)
    of_items = _most(shelf.std(0) * into[:hidden], count)
    of_context = _most(told.std(0) * into[hidden:], count)
    last = _most(joint.std(0) * teacher.value_out.weight[0].abs(), count)
    _rows(small.value_item, teacher.value_item, of_items)
    _rows(small.value_context, teacher.value_context, of_context)
    _rows(
        small.value_hidden, teacher.value_hidden, last, torch.cat([of_items, hidden + of_context])
    )
    small.value_out.weight.copy_(teacher.value_out.weight[:, last])
    small.value_out.bias.copy_(teacher.value_out.bias)


def _copy_inputs(teacher: SlateScorer, small: SlateScorer) -> None:
    """Copy how inputs are standardised, and what candidates lose in a crowd."""
    for name in ("item_mean", "item_scale", "context_mean", "context_scale"):
        getattr(small, name).copy_(getattr(teacher, name))
    if teacher.crowd is not None:
        small.prices.load_state_dict(teacher.prices.state_dict())


def _logits(teacher: SlateScorer, pages: Pages) -> Tensor:
    """Logits before a crowd counts, which counts on top of the small scorer's as well."""
    return teacher._alone(*teacher._inputs(pages.context, pages.items, pages.mask))


def _fitted(features: Tensor, logits: Tensor, share: Tensor) -> Tensor:
    """Ridge regression of logits (M, N) on features (M, N, D), both less their page's mean, (D,).

    ``share`` (M, N, 1) is each available candidate's share of a page's mean, 0 for others.
    """
    there = share.squeeze(2) > 0
    x = (features - (features * share).sum(1, keepdim=True))[there].double()
    y = (logits - (logits * share.squeeze(2)).sum(1, keepdim=True))[there].double()
    inner = x.T @ x + _RIDGE * len(features) * torch.eye(x.shape[1], dtype=torch.float64)
    return torch.linalg.solve(inner, x.T @ y).float()
