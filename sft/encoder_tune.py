"""Tuning a text encoder on pairs: InfoNCE over the pairs of a batch, through PEFT's LoRA.

With u_i, v_j the unit vectors of the left and right texts of the batch's pairs,

    loss = - mean_i log softmax_j(u_i . v_j / temperature)[i],

so each pair is told apart from the other rights of its batch (van den Oord et al. 2018,
"Representation learning with contrastive predictive coding"; in-batch negatives: Henderson et al.
2017). A right that belongs to a twin of the left, or is the same item, is no negative and left out.

Two encoders can be tuned. A transformer takes LoRA in all its linear layers (Hu et al. 2021). The
fitted TF-IDF encoder takes it in one square matrix after the SVD, which starts as the identity: the
tuned encoder is W = I + B A times the fitted components, so it is saved and served as before.

The same inputs give the same weights; batch n depends on (seed, n) alone, so that a training that
was killed goes on from its last checkpoint to the same end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from envs.encoder_config import TuneConfig
from envs.files import atomic_path
from envs.progress import Progress, silent
from envs.text_encoder import TextEncoder
from envs.transformer_encoder import TransformerEncoder, pooled, read_tokens
from sft.encoder_pairs import Pairs
from sft.quiet import quiet_libraries

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

#: Steps between two checkpoints.
_EVERY = 50
#: From rows of texts to their unit vectors (n, d), with gradients.
Embed = Callable[[I64], Tensor]


@dataclass(frozen=True)
class Source:
    """Pairs to learn from, and how to embed both their sides."""

    pairs: Pairs
    left: Embed
    right: Embed


def info_nce(left: Tensor, right: Tensor, twins: Tensor, temperature: float) -> Tensor:
    """Return the loss of n pairs.

    Args:
        left: unit rows (n, d).
        right: unit rows (n, d); row i belongs to left row i.
        twins: (n, n) bool, where right j is no wrong answer to left i; its diagonal is not read.
        temperature: divides the cosines.
    """
    cosine = left @ right.T / temperature
    others = twins & ~torch.eye(len(left), dtype=torch.bool)
    return functional.cross_entropy(cosine.masked_fill(others, -torch.inf), torch.arange(len(left)))


def _twins(pairs: Pairs) -> Tensor:
    same = (pairs.left[:, None] == pairs.left) | (pairs.right[:, None] == pairs.right)
    return torch.from_numpy(same)


def tune_fitted(
    encoder: TextEncoder, items: Sequence[str], queries: Sequence[str], co_clicks: Pairs,
    query_clicks: Pairs, config: TuneConfig, *, seed: int, work: Path | None = None,
    progress: Progress = silent,
) -> TextEncoder:  # fmt: skip
    """Return the TF-IDF encoder with a tuned linear map behind it.

    Args:
        encoder: the fitted one.
        items: text of each item.
        queries: text of each query.
        co_clicks: pairs of items; none are needed where there are query clicks.
        query_clicks: pairs of a query and an item.
        config: how.
        seed: of the first weights and the batches.
        work: where checkpoints are kept; None keeps none.
        progress: told the loss after each step.
    """
    item_rows, query_rows = (torch.from_numpy(encoder.encode(t)) for t in (items, queries or [""]))
    # A linear layer would draw first weights from the global generator, only to lose them.
    size = item_rows.shape[1]
    linear = nn.utils.skip_init(nn.Linear, size, size, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(size))
    tuned = _with_lora(nn.Sequential(linear), ["0"], config.rank, seed)

    def embed(rows: Tensor) -> Embed:
        return lambda which: functional.normalize(tuned(rows[which]), dim=1, eps=1e-6)

    sources = _sources(co_clicks, query_clicks, embed(item_rows), embed(query_rows))
    _train(tuned, sources, config, seed, work, progress)
    matrix = tuned.merge_and_unload()[0].weight.detach().numpy()
    return encoder.projected(matrix)


def tune_transformer(
    encoder: TransformerEncoder, items: Sequence[str], queries: Sequence[str], co_clicks: Pairs,
    query_clicks: Pairs, config: TuneConfig, *, seed: int, work: Path | None = None,
    progress: Progress = silent,
) -> TransformerEncoder:  # fmt: skip
    """Return the transformer tuned by LoRA in all its linear layers, merged; see `tune_fitted`.

    The given model is changed in place.
    """
    # Without dropout: two readings of a text must agree, as they will in service.
    tuned = _with_lora(encoder.model, "all-linear", config.rank, seed).eval()

    def embed(texts: Sequence[str]) -> Embed:
        return lambda which: pooled(
            tuned, read_tokens(encoder.tokenizer, [texts[row] for row in which])
        )

    sources = _sources(co_clicks, query_clicks, embed(items), embed(queries))
    _train(tuned, sources, config, seed, work, progress)
    return TransformerEncoder(tuned.merge_and_unload().eval(), encoder.tokenizer)


def _with_lora(model: nn.Module, targets: str | list[str], rank: int, seed: int) -> Any:
    settings = LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=targets)
    # PEFT draws from the global generator: it is put back afterwards.
    with torch.random.fork_rng(devices=[]), quiet_libraries():
        torch.manual_seed(seed)
        return get_peft_model(model, settings)


def _sources(co_clicks: Pairs, query_clicks: Pairs, items: Embed, queries: Embed) -> list[Source]:
    found = [Source(co_clicks, items, items), Source(query_clicks, queries, items)]
    return [source for source in found if len(source.pairs)]


def _train(
    model: nn.Module, sources: Sequence[Source], config: TuneConfig, seed: int, work: Path | None,
    progress: Progress,
) -> None:  # fmt: skip
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.Adam(weights.values(), lr=config.lr)
    file = None if work is None else work / "encoder.safetensors"
    first = _resume(file, weights, optimizer) if file is not None and file.exists() else 0
    for step in range(first, config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.lr * (1 - step / config.steps)
        loss = torch.zeros(())
        for number, source in enumerate(sources):
            rng = np.random.default_rng([seed, step, number])
            drawn = rng.integers(len(source.pairs), size=min(config.batch, len(source.pairs)))
            batch = Pairs(source.pairs.left[drawn], source.pairs.right[drawn])
            left, right = source.left(batch.left), source.right(batch.right)
            loss = loss + info_nce(left, right, _twins(batch), config.temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if file is not None and (step + 1) % _EVERY == 0:
            _checkpoint(file, step + 1, weights, optimizer)
        progress(step + 1, config.steps, {"loss": loss.item()})


_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def _checkpoint(
    file: Path, step: int, weights: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> None:
    tensors = {name: p.detach() for name, p in weights.items()}
    for name, p in weights.items():
        tensors |= {f"{moment}/{name}": optimizer.state[p][moment] for moment in _MOMENTS}
    with atomic_path(file) as temporary:
        save_file(tensors, temporary, metadata={"step": str(step)})


def _resume(file: Path, weights: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> int:
    """Fill weights and moments from a checkpoint; return the number of steps behind it."""
    with safe_open(file, framework="pt") as kept:
        for name, p in weights.items():
            with torch.no_grad():
                p.copy_(kept.get_tensor(name))
            optimizer.state[p] = {m: kept.get_tensor(f"{m}/{name}").clone() for m in _MOMENTS}
        return int(kept.metadata()["step"])
