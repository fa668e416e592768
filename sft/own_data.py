"""Supervised pairs from the user's own file: some columns make the prompt, one is the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import Field

from envs.errors import UserError
from envs.settings import Settings
from sft.corpus_split import TaskPair, check_split, split_rows, without_known_prompts
from sft.review_aspects import AspectFinder
from sft.table_file import read_rows, require_columns, texts_of
from sft.tasks.text import clean, length, line, shorten


class OwnDataConfig(Settings):
    """A JSONL or Parquet file of your own, and which of its columns are what."""

    path: Path
    """The file, relative to where the command runs."""
    prompt: tuple[str, ...] = Field(min_length=1)
    """Columns that the prompt shows, the most important first: where they do not fit into
    `prompt_words`, the last ones are cut, after a whole sentence."""
    target: str
    """Column of the text to write."""
    item: str | None = None
    """Column that tells items apart; without it, every prompt is an item of its own."""
    shopper: str | None = None
    """Column that tells shoppers apart, where there is one."""
    held: Path | None = None
    """A file of the same columns to measure on, instead of a share of the first one."""
    task: str = "text"
    """What the text is called; the prompt ends in it."""
    prompt_words: int = Field(80, ge=8)
    """Longest prompt, in words; two Chinese characters count as one."""
    target_words: int = Field(60, ge=4)
    """Longest target, in words; a longer one is cut after a whole sentence."""


@dataclass(frozen=True)
class TaskCorpus:
    """Pairs of tasks beside the reason; training and held-out pairs share nothing."""

    train: list[TaskPair] = field(default_factory=list)
    held: list[TaskPair] = field(default_factory=list)
    #: Rows that were left out, by reason.
    dropped: dict[str, int] = field(default_factory=dict)
    #: Finds in a text the aspects that the pairs' reviews are about; None without reviews.
    finder: AspectFinder | None = None


class OwnTask:
    """Named fields become a text; the form of every prompt is the shop's own."""

    def __init__(self, name: str, prompt_words: int, target_words: int) -> None:
        self.name = name
        self._prompt_words, self._target_words = prompt_words, target_words

    def prompt(self, given: Sequence[tuple[str, str]]) -> str:
        """Return ``key: value | key: value | task ->`` of fields, the most important first."""
        room = self._prompt_words - length(self.name)
        parts = []
        for key, value in given:
            said = shorten(clean(value), room - length(key))
            if said:
                parts.append(f"{clean(key)}: {said}")
                room -= length(parts[-1])
        return line([*parts, clean(self.name)])

    def target(self, told: str) -> str:
        """Return the text on one line, cut after a whole sentence where it is long."""
        return shorten(" ".join(told.split()), self._target_words)


def read_own(config: OwnDataConfig, path: Path) -> tuple[list[TaskPair], dict[str, int]]:
    """Read a file as pairs; return them and how many rows were left out, by reason.

    Raises:
        UserError: for a file or column that is missing, or a file without a usable row.
    """
    frame = read_rows(path)
    named = {"target": config.target, **{f"prompt {c}": c for c in config.prompt}}
    named |= {k: c for k, c in (("item", config.item), ("shopper", config.shopper)) if c}
    require_columns(frame, named, path)
    fields = [texts_of(frame, column) for column in config.prompt]
    targets, shoppers = texts_of(frame, config.target), texts_of(frame, config.shopper)
    items = texts_of(frame, config.item)
    task = OwnTask(config.task, config.prompt_words, config.target_words)
    pairs, dropped = [], {"no target": 0, "no prompt": 0}
    for row, target in enumerate(targets):
        given = [(key, column[row]) for key, column in zip(config.prompt, fields)]
        if not target:
            dropped["no target"] += 1
        elif not any(value for _, value in given):
            dropped["no prompt"] += 1
        else:
            prompt = task.prompt(given)
            pairs.append(
                TaskPair(
                    config.task, prompt, task.target(target),
                    (items[row] or prompt,), (shoppers[row],) if shoppers[row] else (),
                )
            )  # fmt: skip
    if not pairs:
        raise UserError(
            f"{path}: none of its {len(frame):,} rows has both a text in column {config.target!r} "
            f"and one in {', '.join(map(repr, config.prompt))}; map other columns"
        )
    return pairs, {reason: count for reason, count in dropped.items() if count}


def own_corpus(config: OwnDataConfig, share: float, rng: np.random.Generator) -> TaskCorpus:
    """Read the user's pairs and split them by item and by shopper.

    Args:
        config: the files and their columns.
        share: share of rows to hold out where there is no held-out file.
        rng: draws what is held out.

    Raises:
        UserError: for what `read_own` finds, too few rows to split, or a held-out file that shares
            an item, a shopper or a prompt with the first one.
    """
    pairs, dropped = read_own(config, config.path)
    if config.held is not None:
        held, more = read_own(config, config.held)
        check_split(pairs, held, f"{config.path} and {config.held}")
        return TaskCorpus(
            pairs, held, {r: dropped.get(r, 0) + more.get(r, 0) for r in dropped | more}
        )
    shoppers = [pair.shoppers[0] if pair.shoppers else "" for pair in pairs]
    split = split_rows([pair.items[0] for pair in pairs], shoppers, share, rng)
    held = [pairs[row] for row in split.held]
    train, alike = without_known_prompts([pairs[row] for row in split.train], held)
    if not train or not held:
        raise UserError(
            f"{config.path}: its {len(pairs):,} rows cannot be split by item and shopper, since "
            "they are all about the same; add rows, or give a `held` file"
        )
    check_split(train, held, str(config.path))
    lost = {"item or shopper held out": len(split.dropped), "prompt held out": alike}
    return TaskCorpus(train, held, dropped | {r: n for r, n in lost.items() if n})
