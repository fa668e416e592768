"""What is looked at before anything trains: mistakes end the run, doubts are told in a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from transformers.integrations import INTEGRATION_TO_CALLBACK

from envs.errors import UserError, nearest
from sft.ranks import processes
from sft.train_config import VIRTUAL, SftConfig

#: Called with one line that the user should read.
Warn = Callable[[str], None]

#: Share of pairs that may be too long before it is worth a warning.
TOO_LONG_SHARE = 0.05
#: Peak learning rates with AdamW outside of which a training rarely goes well, by what is trained.
#: Made from scratch; full training of a model that knows language already (its usual rates are
#: 1e-5 to 1e-4); low-rank updates (1e-4 to 1e-3; Hu et al. 2021, table 11); virtual tokens (5e-5
#: in Li and Liang 2021, 0.3 in Lester et al. 2021).
SANE_RATES = {
    "scratch": (1e-4, 1e-2),
    "full": (1e-7, 3e-4),
    "low-rank": (1e-5, 1e-2),
    "virtual tokens": (1e-5, 0.5),
}


def unheard(line: str) -> None:
    """Tell nobody."""


def check_settings(config: SftConfig, warn: Warn) -> None:
    """Check what needs neither the model nor the data; raises UserError or warns."""
    pairs_at_once(config)
    check_trackers(config.report_to)
    if config.gradient_checkpointing and config.adapter.kind == "prefix":
        raise UserError(
            "sft.gradient_checkpointing is true, but PEFT cannot train a prefix so: set it to "
            "false or choose another sft.adapter.kind."
        )
    check_rates(config, warn)


def check_rates(config: SftConfig, warn: Warn) -> None:
    """Warn of learning rates that rarely work for what they train."""
    local, kind = config.base.model == "local", config.adapter.kind
    what = "low-rank"
    if kind == "full":
        what = "scratch" if local else "full"
    elif kind in VIRTUAL:
        what = "virtual tokens"
    rates = [("adapter_lr", config.adapter_lr, what, f"adapter.kind {kind}")]
    if local and config.base_steps:
        rates.append(("base_lr", config.base_lr, "scratch", "a model made from scratch"))
    for name, rate, family, shown in rates:
        low, high = SANE_RATES[family]
        if not low <= rate <= high:
            effect = "learns next to nothing" if rate < low else "often diverges"
            warn(
                f"sft.{name} is {rate:g}, which {effect} with {shown}; usual is {low:g} to {high:g}"
            )


def check_trackers(names: Sequence[str]) -> None:
    """Raise UserError for a tracker that is unknown or not installed."""
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            known = sorted(INTEGRATION_TO_CALLBACK)
            raise UserError(
                f"sft.report_to: {name!r} is no tracker; there are {', '.join(known)}."
                f"{nearest(name, known)}"
            )
        try:
            INTEGRATION_TO_CALLBACK[name]()
        except (RuntimeError, ImportError):
            raise UserError(
                f"sft.report_to: {name} is not installed: pip install {name}, or take it out."
            ) from None


def check_lengths(
    name: str, lengths: Sequence[int], max_length: int, context: int | None, warn: Warn
) -> None:
    """Raise UserError when none of the pairs ``name`` fits, warn when many do not.

    ``lengths`` count prompt and completion, in tokens; ``context`` is what the model can read.
    """
    fitting, shortest = int(np.sum(np.array(lengths) <= max_length)), min(lengths)
    if not fitting:
        if context is not None and shortest > context:
            rule = f"the model reads at most {context}: shorten the prompts or choose another model"
        else:
            rule = "raise sft.max_length or shorten the prompts"
        raise UserError(
            f"sft: no {name} pair fits max_length {max_length}, the shortest has {shortest} "
            f"tokens: {rule}."
        )
    left_out = len(lengths) - fitting
    if left_out > TOO_LONG_SHARE * len(lengths):
        warn(
            f"{left_out:,} of {len(lengths):,} {name} pairs are longer than sft.max_length "
            f"{max_length} and are left out; 99 % have at most "
            f"{int(np.quantile(lengths, 0.99))} tokens"
        )


def check_batch(config: SftConfig, phase: str, pairs: int) -> None:
    """Raise UserError when the ``pairs`` that fit cannot fill one update of the training."""
    if pairs < config.batch_size:
        raise UserError(
            f"sft: batch_size {config.batch_size} is larger than the {pairs} pairs that the "
            f"{phase} is trained on: lower sft.batch_size to at most {pairs}, or give more pairs."
        )


def pairs_at_once(config: SftConfig) -> int:
    """Return how many pairs one process reads at once, its share of an update's part.

    Raises UserError when ``batch_size`` cannot be shared out evenly.
    """
    parts = processes() * config.accumulate
    if config.batch_size % parts:
        raise UserError(
            f"sft: batch_size {config.batch_size} cannot be shared by {processes()} processes "
            f"that read it in {config.accumulate} parts each: make it a multiple of {parts}."
        )
    return config.batch_size // parts


def tokens_needed(config: SftConfig) -> int:
    """Return the longest sequence that a training shows the model, virtual tokens included."""
    virtual = config.adapter.virtual_tokens if config.adapter.kind in VIRTUAL else 0
    return config.max_length + virtual
