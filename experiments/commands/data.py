"""Commands that bring real sources in."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from envs.errors import UserError
from experiments.commands.common import Json, Quiet, column_pair
from experiments.console import Console, emit_json

cli = typer.Typer()


class Source(StrEnum):
    """What `import` can read."""

    icecat = "icecat"
    open_bandit = "open_bandit"
    table = "table"


@cli.command("import")
def import_(
    kind: Annotated[Source, typer.Argument(help="What SRC is.")],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder or file to read.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.")],
    limit: Annotated[
        int | None, typer.Option(min=1, help="icecat: read only so many items.")
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="ours=theirs", help="table: name of a column in the file."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="uniform|FOLDER",
            help="open_bandit: write a target policy beside the log: `uniform`, or the shares of "
            "items in another policy's folder.",
        ),
    ] = None,
    drop: Annotated[
        bool,
        typer.Option(
            "--drop",
            help="open_bandit, table: leave out rows that break a rule, with the rest of their "
            "slates, and count them by reason, instead of refusing the first.",
        ),
    ] = False,
    estimate_propensities: Annotated[
        bool,
        typer.Option(
            "--estimate-propensities",
            help="table: the log has none; estimate them, cross-fitted. Results say so.",
        ),
    ] = False,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="With --estimate-propensities: columns known before the page was shown.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="With --estimate-propensities: seed of the folds.")
    ] = 0,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Turn a real source into a catalogue folder or a feedback log.

    `icecat` reads product.tsv and, where there are any, query.tsv and label.tsv, into a catalogue:
    use it with `catalogue: {kind: folder, path: OUT}`.

    `open_bandit` reads a folder of one policy of the Open Bandit Dataset, and `table` any .csv,
    .tsv, .jsonl or .parquet with one row an impression, into a log for `shelftalk ope`; docs/ope.md
    says what each column means. What was dropped and why is printed.
    """
    console = Console(quiet=quiet)
    given = {
        "--limit": (limit is not None, ("icecat",)),
        "--map": (bool(map_), ("table",)),
        "--target": (target is not None, ("open_bandit",)),
        "--drop": (drop, ("open_bandit", "table")),
        "--estimate-propensities": (estimate_propensities, ("table",)),
        "--features": (features is not None, ("table",)),
    }
    for option, (is_given, kinds) in given.items():
        if is_given and kind.value not in kinds:
            raise UserError(f"{option}: is for import {' and '.join(kinds)}, not for {kind.value}")
    if kind is Source.icecat:
        _import_icecat(source, out, limit, console, json)
        return
    from experiments.ope.imported import check_out, open_bandit_log, table_log, write_imported

    check_out(out)
    if kind is Source.open_bandit:
        log = open_bandit_log(source, target=target, drop=drop)
    else:
        log = table_log(
            source, dict(column_pair(entry) for entry in map_ or []),
            estimate=estimate_propensities, drop=drop, seed=seed,
            features=[name.strip() for name in features.split(",")] if features else [],
        )  # fmt: skip
    for line in log.summary_lines():
        console.say(line)
    write_imported(log, out)
    console.say(f"log: {out}")
    if json is not None:
        emit_json(json, log.counts())


def _import_icecat(
    source: Path, out: Path, limit: int | None, console: Console, json: Path | None
) -> None:
    from envs.catalogue import save_catalogue
    from envs.importers.icecat import import_icecat

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
