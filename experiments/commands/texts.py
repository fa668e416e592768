"""Commands about texts: measuring them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.commands.common import Json, Quiet, column_pair
from experiments.console import Console, emit_json

cli = typer.Typer()


@cli.command()
def score(
    texts: Annotated[
        Path, typer.Argument(metavar="TEXTS", help="JSONL or Parquet with column text; see above.")
    ],
    catalogue: Annotated[
        Path | None,
        typer.Option(help="Catalogue or run folder that the texts are about: for claims."),
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="ours=theirs", help="Name of a column in the file."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: overlap, variety, features, claims, personal, form.  "
            "[default: all that the file allows]"
        ),
    ] = None,
    locale: Annotated[
        str | None,
        typer.Option(help="en or zh.  [default: the catalogue's, or what it looks like]"),
    ] = None,
    bertscore: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Encoder by path or hub id: adds BERTScore.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of samples, pairs and shuffles.")] = 0,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Measure texts, beside the floors that a metric must beat to mean anything.

    TEXTS has `text` and, where there are any, `reference` (BLEU, chrF, ROUGE), `feature` and
    `prompt` (FMR, FCR, DIV), and with --catalogue `item_id` (claims) and `likes`, `segment` or
    `shopper_id` (profile match, swap tests). The floors are one fixed sentence, references given
    to other rows, and the rule-based fallback.
    """
    from experiments.score import print_scores, score_file

    columns = dict(column_pair(entry) for entry in map_ or [])
    result = score_file(
        texts, catalogue=catalogue, columns=columns,
        families=metrics.split(",") if metrics else None, locale=locale, bertscore=bertscore,
        seed=seed, console=Console(quiet=quiet),
    )  # fmt: skip
    if json is not None:
        emit_json(json, result)
    if json != Path("-"):
        print_scores(result, str(texts))
