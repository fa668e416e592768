"""The command line. Heavy libraries are imported only by the commands that need them."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from experiments.commands import (
    benchmarks,
    bundles,
    comparison,
    data,
    loop,
    offline,
    ranking,
    service,
    simulation,
    texts,
    training,
    tuning,
)
from experiments.console import run_cli

cli = typer.Typer(
    name="shelftalk",
    help="A shop shelf that orders itself and tells each shopper why.\n\n"
    "Start with `shelftalk run experiments/configs/demo.yaml`. Exit codes: 0 done, 2 your input "
    "needs mending (one line says how), 3 a verdict of no under --strict, 1 our bug.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"shelftalk {version('shelftalk')}")
        raise typer.Exit


@cli.callback()
def _root(
    wanted: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


# Nameless groups add their commands to this one, in the order in which people meet them.
for room in (
    training, comparison, ranking, tuning, data, simulation, offline, texts, bundles, service, loop,
    benchmarks,
):  # fmt: skip
    cli.add_typer(room.cli)


def app() -> None:
    """Run the command line; the entry point of the installed command."""
    run_cli(cli)
