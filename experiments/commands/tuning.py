"""The command that searches the ranker's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.commands.common import (
    ConfigFile,
    Json,
    Out,
    Overrides,
    Quiet,
    Seed,
    limit_threads,
    read_config,
)
from experiments.console import Console, emit_json

cli = typer.Typer()


@cli.command()
def tune(
    config: ConfigFile,
    sweep: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="YAML file that says how each setting is drawn.  "
            "[default: experiments/configs/sweep.yaml]",
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Settings to draw.  [default: as the sweep says]")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Ray cluster to search on (auto: the one of this machine).  "
            "[default: a Ray of its own, a trial on each core]",
        ),
    ] = None,
    out: Out = None,
    overrides: Overrides = None,
    seed: Seed = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Search better settings of the ranker: random draws under Ray Tune, each paired with CONFIG.

    Every trial trains a ranker in the run's shop with its own settings and serves the same
    sessions as the ranker of the config as it is. The best is chosen on training sessions, and
    the table says what each came to on evaluation sessions, with 95 % intervals. The stages that
    a ranker needs are run first where they are not finished. Trials are kept in OUT/tuning, so a
    search that was killed goes on where it was, and --trials adds to it: give the command again.
    OUT/tuning/best.yaml is a config with the best settings, ready for `shelftalk run`.
    """
    # Checked before the heavy imports: a typing mistake is answered at once.
    settings = read_config(config, overrides, seed)
    from experiments.tune_sweep import DEFAULT_SWEEP, read_sweep

    drawn = read_sweep(sweep or DEFAULT_SWEEP, settings)
    from experiments.tune import table_text, tune_ranker

    limit_threads()
    run, console = out or Path("runs") / settings.name, Console(quiet=quiet)
    table = tune_ranker(settings, run, drawn, trials or drawn.trials, address, console)
    if json is not None:
        emit_json(json, table)
    if json != Path("-"):
        print(table_text(table, run), end="")
