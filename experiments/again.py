"""What can be done with a finished run: simulate it anew, export it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from envs.errors import UserError, nearest
from envs.files import read_json
from experiments.config import Config
from experiments.config_io import validate_config
from experiments.console import Console
from experiments.pipeline import STAGES
from experiments.run_folder import METRICS, finished, read_run
from experiments.simulate import compare
from experiments.stages import StageContext
from experiments.steps_export import export_bundle_of
from experiments.steps_ranking import contestants, open_books
from policies.ranker.scorer import load_scorer


def open_run(run: Path, needs: Sequence[str]) -> StageContext:
    """Return a context that reads the finished stages of a run; it writes nowhere.

    Raises:
        UserError: the folder is no run, or a needed stage is not finished.
    """
    config = validate_config(Config, read_run(run)["config"], str(run))
    for name in needs:
        record = run / name / "stage.json"
        if not record.is_file() or not finished(run / name, read_json(record)["inputs_hash"]):
            raise UserError(
                f"{run}: stage {name!r} is not finished or damaged; run "
                f"`shelftalk run CONFIG --out {run}` to the end first"
            )
    console = Console(quiet=True)
    return StageContext(
        config=config, out=run, work=run, inputs={name: run / name for name in needs},
        metrics_of=lambda name: read_json(run / name / "stage.json")["metrics"],
        seed=config.seed, progress=console.progress("again"), say=console.say, warn=console.warn,
    )  # fmt: skip


def _needs(stage: str) -> tuple[str, ...]:
    return next(known.needs for known in STAGES if known.name == stage)


def simulate_run(
    run: Path, names: Sequence[str] | None, sessions: int, seed: int, console: Console
) -> dict[str, Any]:
    """Compare the named policies of a run on fresh sessions, each against the first."""
    context = open_run(run, _needs("simulate"))
    opened = open_books(context)
    scorer = load_scorer(context.inputs["rank"] / "scorer")
    rng = np.random.default_rng(context.seed)
    field = {one.name: one for one in contestants(opened, scorer, context.config, rng)}
    for alias in ("similarity+ppo", "ranker+ppo"):
        field[alias] = field[alias.removesuffix("+ppo")]
    chosen = list(names or [name for name in field if not name.endswith("+ppo")])
    for name in chosen:
        if name not in field:
            raise UserError(
                f"--policies {name}: no such policy; there are {', '.join(sorted(field))}."
                f"{nearest(name, field)}"
            )
    figures, pairs = compare(
        [field[name] for name in chosen],
        [(field[name].name, field[chosen[0]].name) for name in chosen[1:]],
        sessions, seed, console.progress("simulate"),
    )  # fmt: skip
    return {"sessions": sessions, "seed": seed, "policies": figures, "paired": pairs}


def export_run(run: Path, out: Path) -> dict[str, Any]:
    """Write the bundle of a finished run to ``out``."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is not empty; choose another folder")
    context = open_run(run, _needs("export"))
    return export_bundle_of(context, out, read_json(run / METRICS))
