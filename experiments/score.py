"""`shelftalk score TEXTS`: read texts, measure them, show the figures beside their floors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console as RichConsole
from rich.table import Table

from envs.catalogue import Catalogue
from envs.errors import UserError, nearest
from experiments.console import Console
from experiments.score_input import Facts, load_facts, read_texts, rows_of
from policies.reasoner.fallback import fallback_reason
from sft.metrics.bertscore import load_encoder
from sft.metrics.figures import METRICS
from sft.metrics.meter import FAMILIES, Rows, possible_families
from sft.metrics.score import score_texts
from sft.tasks import clean, item_briefs

_FLOORS = ("fixed", "shuffled", "fallback")


def score_file(
    path: Path,
    *,
    catalogue: Path | None = None,
    columns: Mapping[str, str] | None = None,
    families: Sequence[str] | None = None,
    locale: str | None = None,
    bertscore: str | None = None,
    seed: int = 0,
    console: Console | None = None,
) -> dict[str, Any]:
    """Score a file of texts.

    Args:
        path: JSONL or Parquet with ``text`` and, where there are any, ``reference``, ``item_id``,
            ``shopper_id``, ``segment``, ``likes``, ``feature``, ``prompt``.
        catalogue: a catalogue folder, or a run, whose segments are then known.
        columns: our column name -> its name in the file.
        families: which metrics (`sft.metrics.meter.FAMILIES`); all that the file allows by default.
        locale: ``en`` or ``zh``; the catalogue's, or what the texts look like, by default.
        bertscore: path or hub id of an encoder, to have BERTScore too.
        seed: of samples, pairs and shuffles.
        console: shows progress and what was left out.

    Returns:
        ``texts``, ``locale``, ``metrics`` (see `Scores.as_dict`), ``fixed_sentence``, ``notes``.

    Raises:
        UserError: for a file, column, item or option that does not fit.
    """
    console = console or Console(quiet=True)
    if locale not in (None, "en", "zh"):
        raise UserError(f"--locale {locale}: must be en or zh")
    _known(families)
    table = read_texts(path, columns or {})
    facts = load_facts(catalogue, seed) if catalogue is not None else None
    rows, notes = rows_of(table, facts, str(path), locale)
    asked = _families(families, rows, facts, bertscore, str(path))
    rng = np.random.default_rng(seed)
    scores = score_texts(
        rows, asked, rng,
        catalogue=facts.catalogue if facts else None,
        more_floors=_fallback(rows, facts.catalogue, rng) if facts else None,
        encoder=load_encoder(bertscore) if bertscore else None,
        progress=console.progress("scoring"),
    )  # fmt: skip
    return {
        "texts": len(rows.texts),
        "locale": rows.locale,
        "metrics": scores.as_dict(),
        "fixed_sentence": scores.fixed_sentence,
        "notes": [*notes, *scores.notes],
    }


def _known(families: Sequence[str] | None) -> None:
    for family in families or ():
        if family not in FAMILIES:
            raise UserError(
                f"--metrics {family}: must be one of {', '.join(FAMILIES)}."
                f"{nearest(family, FAMILIES)}"
            )


def _families(
    asked: Sequence[str] | None, rows: Rows, facts: Facts | None, bertscore: str | None, source: str
) -> list[str]:
    able = possible_families(rows, facts.catalogue if facts else None)
    for family in asked or ():
        if family not in able:
            raise UserError(
                f"{source}: --metrics {family} needs {FAMILIES[family]}, which is not given; add "
                "it, or map it with --map, or leave the metrics out"
            )
    chosen = list(asked) if asked else able
    if bertscore and "overlap" not in chosen:
        raise UserError(
            f"{source}: --bertscore needs {FAMILIES['overlap']} and metrics overlap; give both"
        )
    return chosen


def _fallback(
    rows: Rows, catalogue: Catalogue, rng: np.random.Generator
) -> dict[str, list[str]] | None:
    """Write what the rule-based writer would say in each row's place, liked facts first."""
    if rows.items is None:
        return None
    briefs = item_briefs(catalogue)
    aspects = [clean(aspect) for aspect in catalogue.aspects]
    likes: list[list[str]] = [[] for _ in rows.texts]
    if rows.likes is not None:
        likes = [[aspects[a] for a in np.flatnonzero(row)] for row in rows.likes]
    return {
        "fallback": [
            fallback_reason(briefs[item], liked, rng) for item, liked in zip(rows.items, likes)
        ]
    }


def print_scores(result: Mapping[str, Any], title: str) -> None:
    """Print the table of `score_file`'s result on stdout: each metric beside its floors."""
    table = Table(title=f"{title}: {result['texts']:,} texts ({result['locale']})")
    metrics: Mapping[str, Any] = result["metrics"]
    floors = [f for f in _FLOORS if any(f in metric["floors"] for metric in metrics.values())]
    for column in ("metric", "better", "value", "95 %", *floors):
        table.add_column(column, justify="left" if column in ("metric", "better") else "right")
    table.add_column("what it is")
    for name, metric in metrics.items():
        span = f"{_short(metric['low'])} to {_short(metric['high'])}" if "low" in metric else ""
        beside = [_short(metric["floors"][f]) if f in metric["floors"] else "" for f in floors]
        arrow = {"higher": "up", "lower": "down", "neither": ""}[metric["better"]]
        table.add_row(
            name, arrow, _short(metric["value"]), span, *beside, METRICS[name].about
        )  # fmt: skip
    RichConsole().print(table)
    print(f"fixed sentence: {result['fixed_sentence']}")
    for note in result["notes"]:
        print(f"note: {note}")


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"
