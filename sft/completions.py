"""Prompt and completion pairs as a trainer reads them: the loss is of completions only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from trl import SFTTrainer

from sft.adapters import orthogonality
from sft.base_model import encode_completions, encode_prompts

#: Label that the loss ignores (PyTorch's convention).
IGNORED = -100


class Pair(NamedTuple):
    """A prompt and the text that should follow it."""

    prompt: str
    completion: str


def encode_pairs(tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair]) -> Dataset:
    """Return ``input_ids``, ``labels`` and ``length`` of each pair.

    The labels of prompt tokens are IGNORED; the length counts prompt and completion.
    """
    prompts = encode_prompts(tokenizer, [pair.prompt for pair in pairs])
    completions = encode_completions(tokenizer, [pair.completion for pair in pairs])
    both = list(zip(prompts, completions, strict=True))
    return Dataset.from_dict(
        {
            "input_ids": [p + c for p, c in both],
            "labels": [[IGNORED] * len(p) + c for p, c in both],
            "length": [len(p) + len(c) for p, c in both],
        }
    )


class CompletionTrainer(SFTTrainer):
    """SFTTrainer whose head and softmax run on completion tokens only.

    TRL's fused head scores every position where Triton is missing; on a CPU the prompt's share
    of it is about half the time of a step of the small model.
    """

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the mean negative log-likelihood of the labelled tokens, in nats.

        ``num_items_in_batch`` counts the labelled tokens of all processes and of all parts of the
        update; the mean is then over them.
        """
        labels = inputs["labels"][:, 1:]
        # The head of a causal LM keeps the positions it is told to: here, from the first label on.
        first = int((labels != IGNORED).any(dim=0).nonzero()[0])
        logits = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            logits_to_keep=inputs["input_ids"].size(1) - first,
            use_cache=False,
        ).logits[:, :-1]
        targets = labels[:, first:]
        kept = targets != IGNORED
        reduction = "mean" if num_items_in_batch is None else "sum"
        loss = torch.nn.functional.cross_entropy(
            logits[kept].float(), targets[kept], reduction=reduction
        )
        if num_items_in_batch is not None:
            # The gradients of processes are averaged, but it is their sum that is wanted.
            loss = loss / num_items_in_batch * self.accelerator.num_processes
        # Only training pays it: held-out losses of all kinds of adapters stay comparable.
        parts = self.args.gradient_accumulation_steps
        return loss + orthogonality(self.model) / parts if model.training else loss


def length_grouped(
    lengths: Sequence[int], batch_size: int, batches: int, rng: np.random.Generator
) -> list[int]:
    """Return ``batch_size * batches`` row numbers, in batches of like lengths in random order.

    Every row is used once before any is used again. The whole order is drawn at once, so that a
    resumed training meets the very batches that it would have met.
    """
    order: list[int] = []
    while len(order) < batch_size * batches:
        rows = rng.permutation(len(lengths))
        # Sorting within a window keeps batches varied from one pass to the next.
        windows = [rows[i : i + 50 * batch_size] for i in range(0, len(rows), 50 * batch_size)]
        rows = np.concatenate([w[np.argsort(np.take(lengths, w), kind="stable")] for w in windows])
        chunks = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
        # A short last chunk would shift the batches after it: it goes last.
        whole = [chunks[i] for i in rng.permutation(len(rows) // batch_size)]
        order += [int(row) for chunk in [*whole, *chunks[len(whole) :]] for row in chunk]
    return order[: batch_size * batches]
