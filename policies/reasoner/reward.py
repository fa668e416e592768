"""The seam between a reward and the trainers: what it may return, and what it may not.

A reward is any callable; what TRL sees is a wrapper that decodes the completions, lets nothing
broken through, and logs the figures that the alarms and the report read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import torch.distributed
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from envs.errors import UserError
from rewards.column import finite_column
from rewards.words import tokens
from sft.base_model import decode_completions
from sft.metrics.variety import distinct
from sft.ranks import processes

F64 = NDArray[np.float64]

#: Called as ``reward(prompts, completions, columns)`` with B of each; returns ``(B,)`` finite
#: numbers, or an object with ``total (B,)`` and, where it has them, ``parts`` (name -> ``(B,)``)
#: and ``vetoed (B,) bool`` or ``vetoes`` (B reasons, None where there is none), which are logged.
#: A reward that follows the policy has a method ``learn`` of the same form, which is called
#: instead on what the policy writes in training; ``state()``, arrays by name, and ``load(state)``
#: let it travel in the checkpoints.
Reward = Callable[[list[str], list[str], dict[str, list[Any]]], Any]

#: What comes before the name of a part in the logs.
PART = "part/"


@dataclass(frozen=True)
class Scores:
    """Rewards of B completions, checked."""

    #: What training maximises, (B,) float64.
    total: F64
    #: What it is made of, (B,) float64 each, by name.
    parts: Mapping[str, F64] = field(default_factory=dict)
    #: Whether a rule struck the completion out, (B,) bool; None where the reward has no vetoes.
    vetoed: NDArray[np.bool_] | None = None


def reward_name(reward: Reward) -> str:
    """Return what messages and logs call a reward."""
    return getattr(reward, "__name__", type(reward).__name__)


def ask(
    reward: Reward,
    rows: Sequence[Mapping[str, Any]],
    completions: Sequence[str],
    name: str | None = None,
) -> Scores:
    """Return the checked scores of one completion for each row; ``name`` is for the messages.

    Raises UserError that names the reward when it raises, when a shape is wrong and when a
    number is not finite.
    """
    name = name or reward_name(reward)
    columns = [key for key in rows[0] if key != "prompt"]
    prompts = [row["prompt"] for row in rows]
    try:
        answer = reward(
            prompts, list(completions), {key: [row[key] for row in rows] for key in columns}
        )
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"ppo: reward {name!r} raised {reason} (for {len(prompts)} completions, the first of "
            f"them {completions[0]!r}): mend the reward."
        ) from error
    has_parts = hasattr(answer, "total")
    parts = getattr(answer, "parts", None) or {}
    vetoed = getattr(answer, "vetoed", None)
    if vetoed is None and hasattr(answer, "vetoes"):
        vetoed = [why is not None for why in answer.vetoes]
    total = _column(answer.total if has_parts else answer, name, prompts, completions)
    return Scores(
        total,
        {
            part: _column(values, f"{name}: {part}", prompts, completions)
            for part, values in parts.items()
        },
        None if vetoed is None else _column(vetoed, f"{name}: vetoed", prompts, completions) > 0,
    )


def _column(values: Any, name: str, prompts: Sequence[str], texts: Sequence[str]) -> F64:
    return finite_column(
        values, f"ppo: reward {name!r}", len(texts), "completions",
        lambda row: f"the completion {texts[row]!r} of the prompt {prompts[row]!r}",
    )  # fmt: skip


def figures(completions: Sequence[str], scores: Scores) -> dict[str, float]:
    """Return what the curve shows of a cycle's completions, by name of the log."""
    found = {
        "distinct2": distinct([tokens(text) for text in completions], 2),
        "unique_share": len(set(completions)) / len(completions),
        "reward_range": float(np.ptp(scores.total)),
    }
    found |= {f"{PART}{name}": float(part.mean()) for name, part in scores.parts.items()}
    if scores.vetoed is not None:
        found["vetoed"] = float(scores.vetoed.mean())
    return found


def _of_all_processes(texts: list[str], rows: list[int]) -> tuple[list[str], list[int], slice]:
    """Join what the processes of a launch wrote; the slice is this process's part of it."""
    if processes() == 1:
        return texts, rows, slice(None)
    everyone: list[Any] = [None] * processes()
    torch.distributed.all_gather_object(everyone, (texts, rows))
    first = sum(len(written) for written, _ in everyone[: torch.distributed.get_rank()])
    joined, asked = (list(chain.from_iterable(part)) for part in zip(*everyone))
    return joined, asked, slice(first, first + len(texts))


def trl_reward(
    reward: Reward, prompts: Sequence[Mapping[str, Any]], tokenizer: PreTrainedTokenizerBase
) -> Callable[..., list[float]]:
    """Return ``reward`` as a TRL reward function that is checked and logs its figures.

    Of a launch, each process asks for the completions of all: that costs little, a reward that
    compares or learns sees the whole batch, and it stays the same in every process.

    Raises UserError as :func:`ask` does, and when every completion of a cycle is empty.
    """
    learn: Reward = getattr(reward, "learn", reward)

    def score(
        completion_ids: list[list[int]],
        row: list[int],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float]:
        written = decode_completions(tokenizer, completion_ids)
        texts, rows, own = _of_all_processes(written, row)
        if not any(texts):
            raise UserError(
                f"ppo: all {len(texts)} completions of a cycle are empty, so there is nothing to "
                "learn from: train sft longer, or lower ppo.learning_rate if they were not empty "
                "at first."
            )
        scores = ask(learn, [prompts[index] for index in rows], texts, reward_name(reward))
        for name, value in figures(texts, scores).items():
            log_metric(name, value)
        return scores.total[own].tolist()

    score.__name__ = reward_name(reward)
    return score
