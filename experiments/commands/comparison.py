"""The command that compares algorithms of reinforcement learning, and what needs no training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from envs.errors import UserError
from experiments.algorithms_names import FOLDER, HTML, MARKDOWN, TABLE, read_algorithms
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
def compare(
    config: ConfigFile,
    seeds: Annotated[int, typer.Option(min=1, help="How often each algorithm is trained.")] = 3,
    algorithms: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Which: ppo, grpo, rloo, best_of (of 16 SFT texts, by the reward), rules.",
        ),
    ] = "ppo,grpo,rloo,best_of,rules",
    cycles: Annotated[
        int | None, typer.Option(min=1, help="Cycles of each training.  [default: ppo.cycles]")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Seconds of each training, in place of a number of cycles."),
    ] = None,
    out: Out = None,
    overrides: Overrides = None,
    seed: Seed = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Compare ways to better reasons: PPO, GRPO, RLOO, best of n, rules; all from one SFT writer.

    All have the same budget, settings, reward and held-out prompts; each is compared with the SFT
    writer's own texts, paired by prompt. The stages up to sft are run first where they are not
    finished. Each algorithm and seed is finished once and kept in OUT/comparison, so a killed
    comparison goes on where it was: give the same command again. The table is printed, and written
    to OUT/comparison/table as Markdown and HTML; --json gets all figures.
    """
    if cycles is not None and seconds is not None:
        raise UserError("--cycles, --seconds: two budgets; give one of them.")
    # Checked before the heavy imports: a typing mistake is answered at once.
    names = read_algorithms(algorithms)
    settings = read_config(config, overrides, seed)
    given: list[str] = []
    if cycles is not None:
        given = [f"ppo.cycles={cycles}", "ppo.seconds=null"]
    elif seconds is not None:
        given = [f"ppo.seconds={seconds}", "ppo.cycles=null"]
    budget = read_config(config, [*(overrides or []), *given], seed)
    from experiments.algorithms import compare_algorithms

    limit_threads()
    run, console = out or Path("runs") / settings.name, Console(quiet=quiet)
    table = compare_algorithms(settings, budget, run, names, seeds, console)
    written = run / FOLDER / TABLE
    if json is not None:
        emit_json(json, table)
    if json != Path("-"):
        print((written / MARKDOWN).read_text(encoding="utf-8"), end="")
    console.say(f"table: {written / HTML}")
