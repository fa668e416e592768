"""`shelftalk write CATALOGUE OUT`: fill a reason book, in chunks that survive a kill."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import UserError
from experiments.console import Console
from experiments.run_folder import hold
from experiments.stages import library_versions
from experiments.write_source import (
    RULES,
    Source,
    find_model,
    model_digest,
    open_reward,
    open_source,
    open_writer,
)
from policies.reasoner.backends import TextBackend
from policies.reasoner.best_of import BestOf, RowReward, best_of
from policies.reasoner.book import every_pair, prompts_for, save_book, write_book
from policies.reasoner.resume import rows_kept, write_in_chunks
from policies.reasoner.sampling import Sampling
from rewards.claims import ClaimChecker

I64 = NDArray[np.int64]

#: Batches in a chunk: what a kill loses at most. Prompts are sorted by length within one.
_BATCHES = 4
#: Texts on their way to a book, as they are kept until it is whole.
_KEPT = "texts.jsonl"


@dataclass(frozen=True)
class WriteOptions:
    """How a book is written; None is what the run says, or a run's default for a catalogue."""

    model: str | None = None
    items: int | None = None
    temperature: float | None = None
    top_p: float = 1.0
    greedy: bool = False
    best_of: int = 1
    backend: str = "transformers"
    batch_size: int | None = None
    max_new_tokens: int | None = None
    seed: int = 0

    def check(self) -> None:
        """Raise UserError for options that contradict each other."""
        if self.greedy and self.best_of > 1:
            raise UserError(
                f"--best-of {self.best_of}: greedy writing has one text for each prompt; leave out "
                "--greedy or --best-of"
            )
        if self.greedy and (self.temperature is not None or self.top_p < 1):
            raise UserError(
                "--greedy: takes the likeliest token, so --temperature and --top-p mean nothing; "
                "leave them out"
            )
        if self.model == RULES and self.best_of > 1:
            raise UserError(
                f"--best-of {self.best_of}: the rules write one text for each prompt; name a model"
            )


def write_file(
    source: Path, out: Path, options: WriteOptions | None = None, console: Console | None = None
) -> dict[str, Any]:
    """Write a reason for every item and segment, and save them as a book.

    Args:
        source: a catalogue folder or a run.
        out: Parquet file, written at once when the book is whole. Until then texts are kept in a
            folder beside it, from which the same call goes on after a kill.
        options: who writes, and how.
        console: shows progress.

    Returns:
        ``texts``, ``items``, ``segments``, ``by_model``, ``by_fallback``, ``vetoes`` (texts of the
        model by reason), ``model``, ``backend``, ``seed`` and, where there were several texts to
        choose from, ``best_of`` (``n``, ``reward``: its name, ``chosen`` and ``first``: means,
        ``by_count``: mean of the best of the first 1 ... n).

    Raises:
        UserError: for a source, model, option or file that does not fit, before writing begins.
    """
    options, console = options or WriteOptions(), console or Console(quiet=True)
    options.check()
    _check_out(out)
    opened = open_source(source, options.seed)
    model = find_model(options.model, opened)
    items = np.arange(min(opened.catalogue.n_items, options.items or opened.catalogue.n_items))
    checker = ClaimChecker(opened.catalogue)
    result: dict[str, Any] = {
        "items": len(items), "segments": opened.profiles.n_segments, "model": str(model),
        "backend": None if model == RULES else options.backend, "seed": options.seed,
    }  # fmt: skip
    job = None if model == RULES else _job(opened, model, options, checker, items)
    work = out.with_name(f".{out.name}.work")
    with hold(work):
        texts = None
        if job is not None:
            texts, result["best_of"] = job.run(work / _KEPT, console)
        book, counts = write_book(
            opened.catalogue, opened.profiles, checker,
            None if texts is None else lambda _: texts, items,
            np.random.default_rng(options.seed),
        )  # fmt: skip
        save_book(book, out)
        shutil.rmtree(work)
    vetoes = {why: count for why, count in counts["vetoes"].items() if why != "no model"}
    return {
        "texts": counts["texts"],
        "by_model": counts["texts"] - counts["fallbacks"],
        "by_fallback": counts["fallbacks"],
        "vetoes": vetoes,
        **{name: value for name, value in result.items() if value is not None},
    }


def _check_out(out: Path) -> None:
    if out.suffix != ".parquet" or out.is_dir():
        raise UserError(f"{out}: a book is a Parquet file; give a file name that ends in .parquet")


@dataclass(frozen=True)
class _Job:
    """The texts that a model is to write, chunk by chunk."""

    write: TextBackend
    prompts: list[str]
    n: int
    reward: RowReward | None
    reward_name: str
    inputs: str
    chunk: int

    def run(self, kept: Path, console: Console) -> tuple[list[str], dict[str, Any] | None]:
        """Return a text for each prompt, and figures of the choice where there was one."""
        before = rows_kept(kept, self.inputs)
        if before:
            console.say(f"going on after {before:,} of {len(self.prompts):,} texts")
        with console.stage("writing"):
            rows = write_in_chunks(
                kept, self.inputs, len(self.prompts), self.chunk, self._chunk,
                console.progress("writing"),
            )  # fmt: skip
        texts = [text for text, _ in rows]
        if self.reward is None:
            return texts, None
        rewards = np.array([row_rewards for _, row_rewards in rows])
        best = BestOf(texts, rewards.argmax(axis=1), rewards)
        return texts, {
            "n": self.n,
            "reward": self.reward_name,
            "chosen": float(best.reward.mean()),
            "first": float(rewards[:, 0].mean()),
            "by_count": best.by_count.tolist(),
        }

    def _chunk(self, rows: range) -> list[Any]:
        """Return text and rewards (none where nothing was chosen) of each row."""
        prompts = self.prompts[rows.start : rows.stop]
        if self.reward is None:
            return [[texts[0], None] for texts in self.write(prompts, rows)]
        best = best_of(self.write, self.reward, prompts, self.n, rows)
        return [list(pair) for pair in zip(best.texts, best.rewards.tolist())]


def _job(
    source: Source, model: Path | str, options: WriteOptions, checker: ClaimChecker, items: I64
) -> _Job:
    config, n = source.config, options.best_of
    sampling = Sampling(
        max_new_tokens=options.max_new_tokens or config.ppo.max_new_tokens,
        temperature=options.temperature or config.book.temperature,
        top_p=options.top_p,
        greedy=options.greedy,
        seed=options.seed,
    )
    rows, segments = every_pair(items, source.profiles.n_segments)
    prompts = prompts_for(source.catalogue, source.profiles, rows, segments)
    reward, name, rewarded = None, "", None
    if n > 1:
        reward, name, rewarded = open_reward(source, checker, rows, segments)
    batch_size = options.batch_size or config.book.batch_size
    inputs = {
        "prompts": prompts, "model": model_digest(model), "backend": options.backend, "n": n,
        "sampling": asdict(sampling), "reward": rewarded, "versions": library_versions(),
    }  # fmt: skip
    return _Job(
        write=open_writer(model, options.backend, sampling, batch_size, prompts),
        prompts=prompts,
        n=n,
        reward=reward,
        reward_name=name,
        inputs=hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest(),
        chunk=max(1, _BATCHES * batch_size // n),
    )


def print_counts(result: Mapping[str, Any], out: Path) -> None:
    """Print the result of `write_file` on stdout."""
    print(f"book: {out}")
    print(
        f"texts: {result['texts']:,} ({result['items']:,} items, {result['segments']} segments), "
        + (
            "all by the rules"
            if result["model"] == RULES
            else f"{result['by_model']:,} by {result['model']}, "
            f"{result['by_fallback']:,} by the fallback"
        )
    )
    vetoes = ", ".join(f"{why} {count:,}" for why, count in result["vetoes"].items())
    if result["by_model"] or vetoes:
        print(f"vetoes: {vetoes or 'none'}")
    if "best_of" in result:
        best = result["best_of"]
        print(
            f"best of {best['n']}: mean reward {best['chosen']:.3f}, of the first text "
            f"{best['first']:.3f} ({best['reward']})"
        )
