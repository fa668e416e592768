"""The scorer: a permutation-equivariant network from a shelf's candidates to their logits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from envs.errors import UserError, nearest
from envs.files import atomic_path, read_json, write_json
from envs.observation import CROWDING_FEATURES, SEARCH_FEATURE
from policies.ranker.attention import attend
from policies.ranker.config import ScorerConfig
from policies.ranker.inputs import check_inputs, check_scores
from policies.ranker.plackett_luce import masked_logits, top_k

WEIGHTS = "scorer.safetensors"
SHEET = "scorer.json"

# A standardised input beyond this many deviations is an outlier; it must not rule the score.
_FAR = 8.0
# Difference of two logits at which the higher one counts as such by nearly three quarters. Wider,
# the best of a class would pay for those that come close.
_TAU = 0.05


class SlateScorer(nn.Module):
    """A score for each candidate of a shelf, and a value of the shelf as a whole.

    With x_i the standardised item, c the context and m_i what a candidate sees of the others,

        h_i = relu(A x_i + B c),  z_i = relu(C h_i + D m_i),  logit_i = w z_i + skip x_i,

    where m_i is the mean of h over available candidates (``deep_sets``: Zaheer et al. 2017) or
    their self-attention (``attention``: Vaswani et al. 2017). ``linear`` is

        logit_i = (skip + W c) x_i,

    so each feature's part of a score is read off (`contributions`). A reordering of the
    candidates reorders the logits, and any number of them is accepted.

    Where the items tell their class and how much of it was shown lately (`CROWDING_FEATURES`), a
    candidate gives way in a crowd: to the candidates of its class that score higher on the page,
    and for the exposure e_i of its class on the pages before,

        score_i = logit_i - p(c) r_i - q(c) e_i,
        r_i = sum over the others j of its class of sigmoid((logit_j - logit_i) / tau),

    p and q linear in the context, and smaller in search where the config says so
    (`ScorerConfig.crowd_in_search`). With a small tau, r_i counts those that score higher, and the
    best k by this score are those that a greedy choice takes which charges p(c) for each item of
    the same class already chosen (maximal marginal relevance: Carbonell, Goldstein 1998), because
    within a class the greedy choice goes by the logit. Yet it is one score for each candidate, so
    slates, probabilities and exports need to know nothing of it.

    The value has a tower of its own, so that its errors do not disturb the ranking. The last
    layers start at zero: the first policy is the baseline score, exactly.
    """

    item_mean: Tensor
    item_scale: Tensor
    context_mean: Tensor
    context_scale: Tensor
    quantities: Tensor

    def __init__(
        self,
        config: ScorerConfig,
        item_features: Sequence[str],
        context_features: Sequence[str],
        generator: torch.Generator | None = None,
    ) -> None:
        """Build the scorer for named features; ``generator`` draws the first weights."""
        super().__init__()
        self.config = config
        self.item_features = tuple(item_features)
        self.context_features = tuple(context_features)
        items, context, hidden = len(self.item_features), len(self.context_features), config.hidden
        if config.kind == "linear":
            self.weight_out = nn.Linear(context, items, bias=False)
        else:
            self.item_in = nn.Linear(items, hidden)
            self.context_in = nn.Linear(context, hidden, bias=False)
            self.own = nn.Linear(hidden, hidden)
            self.others = nn.Linear(hidden, hidden, bias=False)
            self.score_out = nn.Linear(hidden, 1, bias=False)
        if config.kind == "attention":
            # What is attended to is h itself: `others` mixes it, as it does the mean.
            self.query = nn.Linear(hidden, hidden, bias=False)
            self.key = nn.Linear(hidden, hidden, bias=False)
        self.value_item = nn.Linear(items, hidden)
        self.value_context = nn.Linear(context, hidden)
        self.value_hidden = nn.Linear(2 * hidden, hidden)
        self.value_out = nn.Linear(hidden, 1)
        self.skip = nn.Parameter(torch.zeros(items))
        #: Columns of the class and its exposure, where there are these.
        self.crowd = (
            tuple(map(self.item_features.index, CROWDING_FEATURES))
            if (set(CROWDING_FEATURES) <= set(self.item_features))
            else None
        )
        # The number of a class is no quantity: nothing but sameness is read off it.
        quantities = torch.ones(items)
        if self.crowd is not None:
            quantities[self.crowd[0]] = 0.0
            self.prices = nn.Linear(context, 2)
        self.register_buffer("quantities", quantities, persistent=False)
        self.register_buffer("item_mean", torch.zeros(items))
        self.register_buffer("item_scale", torch.ones(items))
        self.register_buffer("context_mean", torch.zeros(context))
        self.register_buffer("context_scale", torch.ones(context))
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator | None) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
                if layer.bias is not None:
                    layer.bias.zero_()
        last = self.weight_out if self.config.kind == "linear" else self.score_out
        last.weight.zero_()
        self.value_out.weight.zero_()
        if self.crowd is not None:
            self.prices.weight.zero_()
        self.start_from_baseline()

    @torch.no_grad()
    def start_from_baseline(self) -> None:
        """Set the linear skip to the equal-weight mean of the baseline features."""
        for name in self.config.baseline_features:
            if name not in self.item_features:
                raise UserError(
                    f"ranker baseline_features: {name!r} is not an item feature of the shop."
                    + nearest(name, self.item_features)
                )
            share = self.config.baseline_weight / len(self.config.baseline_features)
            column = self.item_features.index(name)
            # The skip reads standardised features; the scale makes up for it.
            self.skip[column] = share * self.item_scale[column]

    @torch.no_grad()
    def fit_standardiser(self, context: Tensor, items: Tensor, mask: Tensor) -> None:
        """Set the input means and scales from data; to be called before training, once.

        ``context`` is ``(M, C)``, ``items`` ``(M, N, F)``, ``mask`` ``(M, N)``; masked items do
        not count. A constant feature keeps scale one.
        """
        available = items[mask > 0]
        _standardise_from(available, self.item_mean, self.item_scale)
        _standardise_from(context, self.context_mean, self.context_scale)
        self.start_from_baseline()

    def logits(self, context: Tensor, items: Tensor, mask: Tensor) -> Tensor:
        """Return the logits ``(B, N)``, `plackett_luce.MASKED` for masked candidates."""
        return masked_logits(self._score(items, *self._inputs(context, items, mask)), mask)

    def value(self, context: Tensor, items: Tensor, mask: Tensor) -> Tensor:
        """Return the expected discounted return ``(B,)`` from here on."""
        return self._value(*self._inputs(context, items, mask))

    def forward(self, context: Tensor, items: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return (logits ``(B, N)``, value ``(B,)``).

        ``context`` is ``(B, C)``, ``items`` ``(B, N, F)``, ``mask`` ``(B, N)``, all float32.
        """
        inputs = self._inputs(context, items, mask)
        return masked_logits(self._score(items, *inputs), mask), self._value(*inputs)

    def contributions(self, context: Tensor, items: Tensor, mask: Tensor) -> Tensor:
        """Return what each feature adds to each logit of a ``linear`` scorer, ``(B, N, F)``.

        They sum to the logits of available candidates; a feature at its mean contributes zero.
        Raises ValueError for another kind, whose features do not act one by one.
        """
        if self.config.kind != "linear":
            raise ValueError(f"a {self.config.kind} scorer has no exact contributions")
        x, c, share = self._inputs(context, items, mask)
        parts = self._linear_parts(x, c)
        if self.crowd is not None:
            lost = self._lost_in_crowd(parts.sum(2), items, c, share)
            parts[..., self.crowd] -= torch.stack(lost, dim=2)
        return parts

    def _linear_parts(self, x: Tensor, c: Tensor) -> Tensor:
        return x * (self.skip + self.weight_out(c)).unsqueeze(1)

    def _score(self, items: Tensor, x: Tensor, c: Tensor, share: Tensor) -> Tensor:
        logits = self._alone(x, c, share)
        if self.crowd is None:
            return logits
        repeats, exposure = self._lost_in_crowd(logits, items, c, share)
        return logits - repeats - exposure

    def _lost_in_crowd(
        self, logits: Tensor, items: Tensor, c: Tensor, share: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what candidates lose to better ones of their class and for its exposure."""
        assert self.crowd is not None
        code, exposure = (items[:, :, column] for column in self.crowd)
        # Softly, so that a hair's breadth between two logits moves no score by a whole price.
        higher = torch.sigmoid((logits.unsqueeze(1) - logits.unsqueeze(2)) / _TAU)
        same = (code.unsqueeze(1) == code.unsqueeze(2)) & (share > 0).transpose(1, 2)
        same = same & ~torch.eye(logits.shape[1], dtype=torch.bool)
        prices = self.prices(c) * self._crowding(c)
        # What a masked candidate holds is never read.
        exposure = torch.where(share.squeeze(2) > 0, exposure, 0.0)
        return prices[:, :1] * (higher * same).sum(2), prices[:, 1:] * exposure

    def _crowding(self, c: Tensor) -> Tensor:
        """Return how much of the prices counts on each page, (B, 1)."""
        share = torch.ones_like(c[:, :1])
        if self.config.crowd_in_search == 1 or SEARCH_FEATURE not in self.context_features:
            return share
        column = self.context_features.index(SEARCH_FEATURE)
        asked = c[:, column] * self.context_scale[column] + self.context_mean[column]
        return torch.where(asked.unsqueeze(1) > 0.5, self.config.crowd_in_search * share, share)

    def _alone(self, x: Tensor, c: Tensor, share: Tensor) -> Tensor:
        if self.config.kind == "linear":
            return self._linear_parts(x, c).sum(2)
        h = torch.relu(self.item_in(x) + self.context_in(c).unsqueeze(1))
        if self.config.kind == "attention":
            available = share.squeeze(2) > 0
            seen = attend(self.query(h), self.key(h), h, available, self.config.heads)
        else:
            seen = (h * share).sum(1, keepdim=True)
        z = torch.relu(self.own(h) + self.others(seen))
        return self.score_out(z).squeeze(2) + x @ self.skip

    def _value(self, x: Tensor, c: Tensor, share: Tensor) -> Tensor:
        shelf = (torch.relu(self.value_item(x)) * share).sum(1)
        both = torch.cat([shelf, torch.relu(self.value_context(c))], dim=1)
        return self.value_out(torch.relu(self.value_hidden(both))).squeeze(1)

    def _inputs(
        self, context: Tensor, items: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return standardised items, context, and each candidate's share ``(B, N, 1)`` of a mean.

        Masked items are replaced, not multiplied by zero: padding may hold anything.
        """
        available = (mask > 0).unsqueeze(2)
        x = ((items - self.item_mean) / self.item_scale).clamp(-_FAR, _FAR)
        x = x * self.quantities
        x = torch.where(available, x, 0.0)
        c = ((context - self.context_mean) / self.context_scale).clamp(-_FAR, _FAR)
        count = available.sum(1, keepdim=True).clamp(min=1)
        return x, c, available.to(x.dtype) / count


def _standardise_from(values: Tensor, mean: Tensor, scale: Tensor) -> None:
    """Write the means and deviations of ``values`` ``(M, F)`` into the two buffers."""
    mean.copy_(values.mean(0))
    deviation = values.std(0, correction=0)
    scale.copy_(torch.where(deviation > 1e-4, deviation, torch.ones_like(deviation)))


def recommend(
    scorer: SlateScorer, context: np.ndarray, items: np.ndarray, mask: np.ndarray, k: int
) -> np.ndarray:
    """Return the best slate ``(B, k)`` int64 for each row: candidate indexes, best first.

    ``context`` is ``(B, C)``, ``items`` ``(B, N, F)``, ``mask`` ``(B, N)``. Raises `UserError`
    for wrong shapes, values that are not finite, fewer candidates than slots, or a score that is
    no number.
    """
    check_inputs(scorer.item_features, scorer.context_features, context, items, mask, k)
    with torch.no_grad():
        m = torch.from_numpy(np.asarray(mask, dtype=np.float32))
        logits = scorer.logits(
            torch.from_numpy(np.asarray(context, dtype=np.float32)),
            torch.from_numpy(np.asarray(items, dtype=np.float32)),
            m,
        )
        check_scores(logits.numpy(), mask)
        return top_k(logits, m, k).numpy()


def save_scorer(scorer: SlateScorer, folder: Path) -> None:
    """Write ``scorer.safetensors`` and ``scorer.json`` (features, config) into a folder."""
    tensors = {name: tensor.contiguous() for name, tensor in scorer.state_dict().items()}
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    sheet = {
        "format": 1,
        "config": scorer.config.model_dump(mode="json"),
        "item_features": list(scorer.item_features),
        "context_features": list(scorer.context_features),
    }
    write_json(folder / SHEET, sheet)


def load_scorer(folder: Path) -> SlateScorer:
    """Read what `save_scorer` wrote; raises `UserError` where the files do not fit."""
    for name in (SHEET, WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: a saved ranker needs this file; export it again.")
    try:
        sheet: dict[str, Any] = read_json(folder / SHEET)
        config = ScorerConfig.model_validate(sheet["config"])
        scorer = SlateScorer(config, sheet["item_features"], sheet["context_features"])
        tensors = load_file(folder / WEIGHTS)
    except (ValueError, KeyError, TypeError, SafetensorError, ValidationError) as e:
        first = str(e).strip().splitlines()[0]
        raise UserError(f"{folder}: not a ranker this version can read ({first}).") from e
    check_tensors(scorer, tensors, folder)
    scorer.load_state_dict(tensors)
    return scorer.eval()


def check_tensors(scorer: SlateScorer, tensors: dict[str, Tensor], source: Path) -> None:
    """Raise `UserError` unless ``tensors`` are those of a scorer of this shape, all finite."""
    wanted = {name: tuple(tensor.shape) for name, tensor in scorer.state_dict().items()}
    for name in sorted(wanted.keys() | tensors.keys()):
        met = tuple(tensors[name].shape) if name in tensors else "missing"
        if met != wanted.get(name, "unknown"):
            raise UserError(
                f"{source}: tensor {name!r} is {met}, but a {scorer.config.kind} ranker of width"
                f" {scorer.config.hidden}, {len(scorer.item_features)} item and"
                f" {len(scorer.context_features)} context features has"
                f" {wanted.get(name, 'none of that name')}; take weights and sheet of one training."
            )
        if not torch.isfinite(tensors[name]).all():
            raise UserError(
                f"{source}: tensor {name!r} holds values that are not finite numbers; that"
                f" training diverged or the file is damaged, so train or export the ranker again."
            )
