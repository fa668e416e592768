"""`shelftalk sft CONFIG --inspect`: look at the corpus before anything trains on it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from envs.store import load_visitors
from experiments.config import Config
from experiments.console import Console
from experiments.stages import StageContext, stage_seed
from experiments.steps_reasons import make_corpus
from experiments.steps_shop import run_catalogue
from sft.base_model import encode_completions, encode_prompts, make_tokenizer
from sft.corpus import Corpus
from sft.tasks.text import length

#: Pairs that are shown.
SHOWN = 10
#: Pairs of one task that are measured; enough for steady percentiles.
_MEASURED = 20_000


class _Row(NamedTuple):
    task: str
    side: str
    prompt: str
    completion: str


def inspect_corpus(config: Config, console: Console | None = None) -> dict[str, Any]:
    """Make the corpus that a run of ``config`` would train on, and describe it.

    Returns:
        ``tasks``: of each task the number of ``train`` and ``held`` pairs, and the lengths of
        ``prompt`` and ``target`` in words (median, p99, max; two Chinese characters make one
        word). ``tokens``: the lengths of pairs in tokens, ``max_length``, and ``too_long``, the
        training pairs that do not fit; None where the tokenizer comes with a model that is not made
        here. ``dropped``: rows left out, by reason. ``examples``: ten pairs, of every task in turn.

    Raises:
        UserError: for whatever keeps the corpus from being made.
    """
    console = console or Console(quiet=True)
    with console.stage("corpus"), tempfile.TemporaryDirectory() as folder:
        context = StageContext(
            config=config, out=Path(folder), work=Path(folder), inputs={},
            metrics_of=lambda name: {}, seed=stage_seed(config.seed, "catalogue"),
            progress=console.progress("catalogue"), say=console.say, warn=console.warn,
        )  # fmt: skip
        run_catalogue(context)
        visitors = load_visitors(Path(folder))
    corpus = make_corpus(config, visitors.catalogue, visitors.profiles)
    rows = _rows(corpus)
    return {
        "tasks": {
            task: _task_figures([row for row in rows if row.task == task])
            for task in dict.fromkeys(row.task for row in rows)
        },
        "tokens": _tokens(rows, config) if config.sft.base.model == "local" else None,
        "dropped": corpus.more.dropped,
        "examples": _examples(rows, np.random.default_rng(config.seed)),
    }


def _rows(corpus: Corpus) -> list[_Row]:
    sides = (("train", corpus.train, corpus.more.train), ("held", corpus.held, corpus.more.held))
    rows = [
        row
        for side, reasons, others in sides
        for row in (
            *(_Row("reason", side, pair.prompt, pair.completion) for pair in reasons),
            *(_Row(pair.task, side, pair.prompt, pair.completion) for pair in others),
        )
    ]
    made_up = (_Row("made-up reason", "train", p.prompt, p.completion) for p in corpus.made_up)
    return [*rows, *made_up]


def _task_figures(rows: Sequence[_Row]) -> dict[str, Any]:
    measured = rows[:_MEASURED]
    return {
        "train": sum(row.side == "train" for row in rows),
        "held": sum(row.side == "held" for row in rows),
        "prompt": _spread([length(row.prompt) for row in measured]),
        "target": _spread([length(row.completion) for row in measured]),
    }


def _spread(lengths: Sequence[int]) -> dict[str, float]:
    median, high = np.percentile(lengths, [50, 99])
    return {"median": float(median), "p99": float(high), "max": int(max(lengths))}


def _tokens(rows: Sequence[_Row], config: Config) -> dict[str, Any]:
    """Measure training pairs with the tokenizer that the training would make of them."""
    train = [row for row in rows if row.side == "train"]
    texts = [f"{row.prompt} {row.completion}" for row in train]
    tokenizer = make_tokenizer(texts, config.sft.base.vocab_size)
    lengths = [
        len(prompt) + len(target)
        for prompt, target in zip(
            encode_prompts(tokenizer, [row.prompt for row in train]),
            encode_completions(tokenizer, [row.completion for row in train]),
            strict=True,
        )
    ]
    limit = config.sft.max_length
    too_long = sum(tokens > limit for tokens in lengths)
    return {**_spread(lengths), "max_length": limit, "too_long": too_long}


def _examples(rows: Sequence[_Row], rng: np.random.Generator) -> list[dict[str, str]]:
    """Draw pairs of every task in turn."""
    by_task: dict[str, list[_Row]] = {}
    for row in (rows[int(place)] for place in rng.permutation(len(rows))):
        by_task.setdefault(row.task, []).append(row)
    shown: list[_Row] = []
    for turn in range(SHOWN):
        shown += [drawn[turn] for drawn in by_task.values() if turn < len(drawn)]
    return [row._asdict() for row in shown[:SHOWN]]


def inspection_lines(result: Mapping[str, Any]) -> list[str]:
    """Return what `inspect_corpus` found as lines of plain text."""
    lines = []
    for number, pair in enumerate(result["examples"], start=1):
        lines += [f"{number}. {pair['task']} ({pair['side']})", f"   {pair['prompt']}"]
        lines += [f"   {pair['completion']}", ""]
    lines.append("lengths in words: median / 99 % / longest")
    for task, found in result["tasks"].items():
        lines.append(
            f"  {task}: {found['train']:,} train, {found['held']:,} held-out; "
            f"prompt {_short(found['prompt'])}; target {_short(found['target'])}"
        )
    tokens = result["tokens"]
    if tokens is None:
        lines.append("lengths in tokens: known once the model's tokenizer is loaded")
    else:
        lines.append(
            f"lengths in tokens: {_short(tokens)}; sft.max_length {tokens['max_length']}; "
            f"{tokens['too_long']:,} training pairs are longer and would be left out"
        )
    lines += [f"left out: {count:,} rows ({why})" for why, count in result["dropped"].items()]
    return lines


def _short(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:.0f} / {spread['p99']:.0f} / {spread['max']:.0f}"
