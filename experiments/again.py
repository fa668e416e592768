"""What can be done with a finished run: simulate it anew, export it.

The stages bring every training library along, so they are imported only where there is a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from envs.errors import UserError
from envs.files import read_json
from experiments.config import Config
from experiments.config_io import validate_config, with_overrides
from experiments.console import Console
from experiments.rounds_names import in_round
from experiments.run_folder import METRICS, finished, read_run
from experiments.simulate_field import Field, OpenBook, field_of_config, shop_config
from experiments.stages import StageContext
from policies.ranker.scorer import load_scorer


def open_run(run: Path, needs: Sequence[str], console: Console | None = None) -> StageContext:
    """Return a context that reads the finished stages of a run; it writes nowhere.

    Raises:
        UserError: the folder is no run, or a needed stage is not finished.
    """
    config = validate_config(Config, read_run(run)["config"], str(run))
    # The last round is what a run has come to.
    folders = {name: run / in_round(name, config.rounds) for name in needs}
    for folder in folders.values():
        record = folder / "stage.json"
        if not record.is_file() or not finished(folder, read_json(record)["inputs_hash"]):
            raise UserError(
                f"{run}: stage {folder.name!r} is not finished or damaged; run "
                f"`shelftalk run CONFIG --out {run}` to the end first"
            )
    console = console or Console(quiet=True)
    return StageContext(
        config=config, out=run, work=run, inputs=folders,
        metrics_of=lambda name: read_json(folders[name] / "stage.json")["metrics"],
        seed=config.seed, progress=console.progress("again"), say=console.say, warn=console.warn,
    )  # fmt: skip


def _needs(stage: str) -> tuple[str, ...]:
    from experiments.pipeline import STAGES

    return next(known.needs for known in STAGES if known.name == stage)


def open_field(
    source: Path | None,
    preset: str | None,
    locale: str | None,
    overrides: Sequence[str],
    console: Console,
) -> Field:
    """Open what ``shelftalk simulate`` was given: a run, a config file, or nothing.

    Raises:
        UserError: a mistake in the source or the options; a run's shop takes none but constraints.
    """
    if source is None or not source.is_dir():
        return field_of_config(shop_config(source, preset, locale, overrides), console)
    rules = [override for override in overrides if override.startswith("constraints.")]
    given = {"--preset": preset, "--locale": locale, "--set": len(overrides) > len(rules)}
    for option, value in given.items():
        if value:
            raise UserError(
                f"{option}: {source} is a run, and its shop is what it was trained in; leave "
                f"{option} out, or name a config file to simulate another shop"
            )
    field = field_of_run(source, console)
    # Policies were trained without the rules, so that any may be tried on them.
    return replace(field, config=with_overrides(field.config, rules, str(source)))


def field_of_run(run: Path, console: Console | None = None) -> Field:
    """Open the shop of a run with its ranker and the reasons that it wrote, PPO's first."""
    from experiments.steps_ranking import open_books

    context = open_run(run, _needs("simulate"))
    opened = open_books(context)
    books: dict[str, OpenBook] = {
        "ppo": lambda: opened.books["ppo"],
        "sft": lambda: opened.books["sft"],
        "none": lambda: None,
    }
    return Field(
        shop=opened.shop, config=context.config, books=books,
        scorer=load_scorer(context.inputs["rank"] / "scorer"), search_seed=context.seed,
        usual=("similarity", "random", "popularity", "best_mix", "ranker", "oracle"),
        progress=(console or Console(quiet=True)).progress("baselines"),
    )  # fmt: skip


def export_run(
    run: Path,
    out: Path,
    ranker: str | None = None,
    reasoner: str | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Write the bundle of a finished run to ``out``, in other forms than its config's if given."""
    from experiments.steps_export import export_bundle_of

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is not empty; choose another folder")
    context = open_run(run, _needs("export"), console)
    forms = {"ranker": ranker, "reasoner": reasoner}
    overrides = [f"export.{part}={form}" for part, form in forms.items() if form is not None]
    changed = replace(context, config=with_overrides(context.config, overrides, str(run)))
    return export_bundle_of(changed, out, read_json(run / METRICS))
