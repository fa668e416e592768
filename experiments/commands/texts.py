"""Commands about texts: writing and measuring them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from experiments.commands.common import Json, Quiet, column_pair, limit_threads
from experiments.console import Console, emit_json

cli = typer.Typer()


class Backend(StrEnum):
    """What runs a model."""

    transformers = "transformers"
    vllm = "vllm"


@cli.command()
def write(
    catalogue: Annotated[
        Path, typer.Argument(metavar="CATALOGUE", help="Catalogue folder, or folder of a run.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Book to write: a .parquet file.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="A reasoner folder (base, with or without adapter), a run, the folder or hub id "
            "of any causal language model, or `rules`.  [default: the run's own, PPO's before "
            "SFT's]"
        ),
    ] = None,
    items: Annotated[
        int | None, typer.Option(min=1, help="Write for the first so many items.  [default: all]")
    ] = None,
    best_of: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Write N texts for each, keep the one with the best reward."
        ),
    ] = 1,
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="Lower is less varied.  [default: book.temperature of the run, or 0.5]"
        ),
    ] = None,
    top_p: Annotated[
        float,
        typer.Option(
            "--top-p",
            min=0.01,
            max=1,
            help="Draw from the likeliest tokens that make up this share only.",
        ),
    ] = 1.0,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Take the likeliest token; nothing is drawn.")
    ] = False,
    backend: Annotated[
        Backend, typer.Option(help="vllm is faster on a GPU; `pip install shelftalk[vllm]`.")
    ] = Backend.transformers,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Texts written at once.  [default: book.batch_size of the run, or 256]"
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, help="Longest text, in tokens.  [default: ppo.max_new_tokens of the run, or 32]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of texts and fallbacks.")] = 0,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Write a reason for every item and every segment of shoppers: a book.

    OUT has a row for each (item_id, segment): text, source (model or fallback), claims (those the
    item supports), unsupported (their number, 0 in what is written here) and words. A text that
    must not be shown (an unsupported claim, a banned phrase, personal data ...) gives way to a
    rule-based sentence; how many did, and why, is printed. `--model rules` writes those sentences
    alone. `shelftalk score OUT --catalogue CATALOGUE` measures a book.

    A run brings its segments, its model and its settings. A catalogue's segments are found in its
    history (eight at most); without a history shoppers are simulated from its aspects. Both depend
    on --seed.

    --best-of keeps the text with the highest reward: in a run the reward that PPO maximises, else
    the number of aspects liked by the segment that true claims speak to, and -1 for a vetoed text.

    The same seed gives the same texts whatever the batch size. A killed command goes on where it
    was, when it is given again; OUT appears when it is whole.
    """
    from experiments.write import WriteOptions, print_counts, write_file

    options = WriteOptions(
        model=model, items=items, temperature=temperature, top_p=top_p, greedy=greedy,
        best_of=best_of, backend=backend.value, batch_size=batch_size,
        max_new_tokens=max_new_tokens, seed=seed,
    )  # fmt: skip
    limit_threads()
    result = write_file(catalogue, out, options, Console(quiet=quiet))
    if json is not None:
        emit_json(json, result)
    if json != Path("-"):
        print_counts(result, out)


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
        families=[name.strip() for name in metrics.split(",")] if metrics else None,
        locale=locale, bertscore=bertscore, seed=seed, console=Console(quiet=quiet),
    )  # fmt: skip
    if json is not None:
        emit_json(json, result)
    if json != Path("-"):
        print_scores(result, str(texts))
