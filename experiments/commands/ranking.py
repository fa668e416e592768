"""The command that trains rankers over and over, and plays them against every baseline."""

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
from experiments.rankers_names import FOLDER, HTML, LONG, MARKDOWN, MYOPIC, TABLE, read_variants

cli = typer.Typer()


@cli.command()
def rankers(
    config: ConfigFile,
    seeds: Annotated[int, typer.Option(min=1, help="How often each ranker is trained.")] = 3,
    variants: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Which rankers: long (as the config says), myopic_trained (gamma 0: for the page "
            "at hand), undiscounted (gamma 1), attention, linear (rank.scorer.kind). The first is "
            "compared with all others.",
        ),
    ] = f"{LONG},{MYOPIC}",
    sessions: Annotated[
        int | None,
        typer.Option(
            min=20, help="Sessions that every policy serves.  [default: simulate.sessions]"
        ),
    ] = None,
    out: Out = None,
    overrides: Overrides = None,
    seed: Seed = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Compare rankers, each trained several times, with every baseline in the same sessions.

    The table has the return, clicks, purchases, pages and trust of each, the share of the way from
    similarity to the best page for one who knows the shoppers, and the paired differences from the
    first ranker, with 95 % intervals for another training in other sessions. Where long and
    myopic_trained take part it shows page by page what looking ahead does.

    The stages up to reasons are run first where they are not finished. Each training is finished
    once and kept in OUT/rankers, so a killed comparison goes on where it was: give the same
    command again. The table is printed, and written to OUT/rankers/table as Markdown and HTML;
    --json gets all figures.
    """
    # Checked before the heavy imports: a typing mistake is answered at once.
    names = read_variants(variants)
    settings = read_config(config, overrides, seed)
    given = [] if sessions is None else [f"simulate.sessions={sessions}"]
    asked = read_config(config, [*(overrides or []), *given], seed)
    from experiments.rankers import compare_rankers

    limit_threads()
    run, console = out or Path("runs") / settings.name, Console(quiet=quiet)
    table = compare_rankers(settings, asked, run, names, seeds, console)
    written = run / FOLDER / TABLE
    if json is not None:
        emit_json(json, table)
    if json != Path("-"):
        print((written / MARKDOWN).read_text(encoding="utf-8"), end="")
    console.say(f"table: {written / HTML}")
