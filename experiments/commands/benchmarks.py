"""The command that measures speed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from envs.errors import UserError, nearest
from experiments.benchmarks import SUBJECTS, run_subject
from experiments.commands.common import Json
from experiments.console import Console, emit_json

cli = typer.Typer()


@cli.command()
def bench(
    subject: Annotated[
        str,
        typer.Argument(help=f"{', '.join(SUBJECTS)} or all."),
    ],
    repeats: Annotated[int, typer.Option(min=1, help="Repeats; the median is reported.")] = 5,
    coverage: Annotated[
        bool,
        typer.Option(
            "--coverage",
            help="With ope: how often the intervals hold the truth, instead of speed (minutes).",
        ),
    ] = False,
    errors: Annotated[
        bool,
        typer.Option(
            "--errors",
            help="With ope: bias, spread and coverage of every family of estimators against the "
            "simulated shop's own answer, instead of speed (minutes).",
        ),
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="With --coverage or --errors: logs of each world.  [default: 1000; 200]",
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="With serve: the bundle to serve.  [default: one made on the spot]"),
    ] = None,
    json: Json = None,
) -> None:
    """Measure speed on this machine: medians of repeats with their least and largest value."""
    if subject not in (*SUBJECTS, "all"):
        raise UserError(
            f"bench {subject}: no such subject; there are {', '.join(SUBJECTS)} and all."
            f"{nearest(subject, SUBJECTS)}"
        )
    for option, given in {"--coverage": coverage, "--errors": errors}.items():
        if given and subject != "ope":
            raise UserError(f"{option}: is a study of ope, not of {subject}")
    if coverage and errors:
        raise UserError("--coverage and --errors are two studies; name one at a time")
    if seeds is not None and not (coverage or errors):
        raise UserError("--seeds: goes with --coverage or --errors; leave it out")
    if bundle is not None and subject != "serve":
        raise UserError(f"--bundle: goes with serve, not with {subject}; leave it out")
    if coverage:
        from experiments.benchmarks.ope import measure_coverage

        rows = measure_coverage(seeds or 1_000, Console().progress("coverage"))
    elif errors:
        from experiments.ope.errors import measure_errors

        rows = measure_errors(seeds or 200, Console().progress("errors"))
    elif bundle is not None:
        from experiments.benchmarks.serve import measure

        rows = measure(repeats, bundle)
    else:
        rows = [
            row
            for name in (SUBJECTS if subject == "all" else [subject])
            for row in run_subject(name, repeats)
        ]
    if json is not None:
        emit_json(json, rows)
    if json != Path("-"):
        for row in rows:
            print(
                f"{row['name']}: {row['metric']} {row['value']:,.3f} {row['unit']} "
                f"({row['min']:,.3f} to {row['max']:,.3f})  {row['config']}"
            )
