"""Commands that bring real sources in."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from experiments.commands.common import Json, Quiet
from experiments.console import Console, emit_json

cli = typer.Typer()


class Source(StrEnum):
    """What `import` can read."""

    icecat = "icecat"


@cli.command("import")
def import_(
    kind: Annotated[Source, typer.Argument(help="What SRC is.")],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder to read.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Catalogue folder to write.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Read only so many items.")] = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Turn a real source into a catalogue folder.

    `icecat` reads product.tsv and, where there are any, query.tsv and label.tsv. What was dropped
    and why is printed. Use the result with `catalogue: {kind: folder, path: OUT}`.
    """
    from envs.catalogue import save_catalogue
    from envs.importers.icecat import import_icecat

    console = Console(quiet=quiet)
    result = import_icecat(source, limit=limit)
    for line in result.summary_lines():
        console.say(line)
    save_catalogue(result.catalogue, out)
    console.say(f"catalogue: {out}")
    if json is not None:
        emit_json(
            json,
            {**result.catalogue.summary(), "dropped": result.dropped, "poor": result.poor},
        )
