"""Algorithms side by side: every way to better reasons from one SFT writer, over several seeds.

Each (algorithm, seed) is a stage of its own, in a folder of its own, so a comparison that was
killed goes on where it was, and another algorithm or seed is added to what is there. All of them
start from the run's SFT writer, earn the run's reward, have the same budget and settings (those of
``ppo`` in the config), and write for the same panel of held-out prompts. A last stage judges all
texts at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from envs.files import read_json, write_json, write_text
from envs.progress import Progress
from experiments.algorithms_bench import CELL_SECTIONS, SOURCE, TABLE_SECTIONS, Bench, open_bench
from experiments.algorithms_names import (
    BASELINE,
    FOLDER,
    HTML,
    MARKDOWN,
    TABLE,
    TRAINED,
    cell_name,
)
from experiments.algorithms_table import Cell, as_html, as_markdown, make_table
from experiments.algorithms_write import by_choice, by_rules, by_sampling
from experiments.config import Config
from experiments.config_io import validate_config
from experiments.console import Console
from experiments.measure_panel import Said
from experiments.pipeline import stages_for
from experiments.shop_training import train_in_shop, training_rows
from experiments.stages import Stage, StageContext, run_stages
from policies.reasoner.config import PpoConfig


def compare_algorithms(
    config: Config, budget: Config, run: Path, algorithms: Sequence[str], seeds: int,
    console: Console,
) -> dict[str, Any]:  # fmt: skip
    """Make the run's SFT writer if it is missing, then whatever the comparison lacks.

    Args:
        config: the run's settings.
        budget: the same settings, but for the budget of ``ppo``.
        run: the run folder; the comparison is made in its folder ``comparison``.
        algorithms: names among `experiments.algorithms_names.ALGORITHMS`, each once.
        seeds: how often each is trained, or writes.
        console: shows progress.

    Returns:
        The table as plain values, see `experiments.algorithms_table.make_table`.

    Raises:
        UserError: settings of ``ppo`` that one of the algorithms does not take, before any work.
    """
    for name in set(algorithms) & set(TRAINED):
        settings_of(name, budget.ppo)
    for stage in SOURCE[1:]:  # with what each of them needs
        run_stages(stages_for(config), config, run, until=stage, console=console)
    stages = comparison_stages(run, algorithms, seeds)
    metrics = run_stages(stages, budget, run / FOLDER, until=TABLE, console=console)
    table: dict[str, Any] = metrics[TABLE]
    return table


def settings_of(algorithm: str, config: PpoConfig) -> PpoConfig:
    """Return the settings with another algorithm; UserError where it does not take them."""
    changed = {**config.model_dump(), "algorithm": algorithm}
    return validate_config(PpoConfig, changed, f"ppo, with algorithm {algorithm}")


def comparison_stages(run: Path, algorithms: Sequence[str], seeds: int) -> tuple[Stage, ...]:
    """Return the stages of a comparison: a cell for each algorithm and seed, then the table."""
    places = [(name, seed) for name in (BASELINE, *algorithms) for seed in range(seeds)]
    cells = [cell_stage(run, name, seed) for name, seed in places]
    table = Stage(
        TABLE,
        lambda context: _run_table(context, run, places),
        sections=TABLE_SECTIONS,
        needs=tuple(cell.name for cell in cells),
        files=source_files(run),
    )
    return (*cells, table)


def source_files(run: Path) -> Any:
    """Return what a stage of a comparison depends on beside its sections: the run's writer."""
    return lambda config: [run / name for name in SOURCE]


def cell_stage(run: Path, algorithm: str, seed: int) -> Stage:
    """Return the stage that trains an algorithm with a seed and lets it write for the panel."""

    def write(context: StageContext) -> dict[str, Any]:
        return _run_cell(context, open_bench(context.config, run), algorithm)

    return Stage(
        cell_name(algorithm, seed),
        write,
        sections=CELL_SECTIONS,
        files=source_files(run),
    )


def _run_cell(context: StageContext, bench: Bench, algorithm: str) -> dict[str, Any]:
    """Train where there is something to train, write for the panel, and say what it cost."""
    settings, writer = context.config.ppo, bench.sft
    figures: dict[str, Any] = {"train_cpu_seconds": 0.0}
    if algorithm in TRAINED:
        own = settings_of(algorithm, settings)
        rows = training_rows(bench.shop.visitors, bench.corpus, np.random.default_rng(context.seed))
        clock = CpuClock(context.work / "cpu_seconds.json", context.progress)
        timed = replace(context, progress=clock.report)
        figures["training"] = train_in_shop(timed, bench.sft, rows, bench.home, own)
        figures["train_cpu_seconds"] = clock.spent()
        writer = context.out
    context.say(f"{algorithm}: writing for {bench.panel.count:,} held-out prompts")
    if algorithm == "rules":
        written = by_rules(bench, context.seed)
    elif algorithm == "best_of":
        written = by_choice(bench, writer, settings, context.seed)
    else:
        written = by_sampling(bench, writer, settings, context.seed)
    said = written.said
    write_json(context.out / "said.json", {"own": said.texts, "other": said.other_texts})
    texts = len(said.texts) + len(said.other_texts)
    return {**figures, "kl": written.kl, "cpu_ms_per_text": 1000 * written.cpu_seconds / texts}


def _run_table(
    context: StageContext, run: Path, places: Sequence[tuple[str, int]]
) -> dict[str, Any]:
    """Judge all texts and write the table as Markdown and as HTML."""
    bench = open_bench(context.config, run)
    cells = []
    for algorithm, seed in places:
        name = cell_name(algorithm, seed)
        said = read_json(context.inputs[name] / "said.json")
        figures = context.metrics_of(name)
        cells.append(Cell(algorithm, seed, Said(said["own"], said["other"]), figures))
    table = make_table(bench, cells, context.progress)
    write_text(context.out / MARKDOWN, as_markdown(table))
    write_text(context.out / HTML, as_html(table, context.config.name))
    return table


class CpuClock:
    """CPU seconds of this process, and of those before it that were killed at the same work."""

    def __init__(self, path: Path, progress: Progress) -> None:
        """Start; ``path`` keeps what was spent, ``progress`` is reported on to."""
        self._path, self._progress = path, progress
        self._before = float(read_json(path)) if path.exists() else 0.0
        self._started = time.process_time()

    def spent(self) -> float:
        """Return the seconds so far."""
        return self._before + time.process_time() - self._started

    def report(self, done: int, total: int, figures: Mapping[str, float]) -> None:
        """Keep what was spent, and report on."""
        write_json(self._path, self.spent())
        self._progress(done, total, figures)
