"""Commands of the HTTP service: serving a bundle, keys, and the log of what came back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.commands.common import BundleFolder

cli = typer.Typer()


@cli.command()
def serve(
    bundle: BundleFolder,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    store: Annotated[
        str, typer.Option(metavar="URL", help="sqlite:///FILE or postgresql://USER@HOST/DATABASE.")
    ] = "sqlite:///shelftalk.db",
    keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Lines that `service-key` prints.")
    ] = None,
    explore: Annotated[
        str | None,
        typer.Option(metavar="RULE:NUMBER", help="plackett_luce:TEMPERATURE or epsilon:CHANCE."),
    ] = None,
) -> None:
    """Serve a bundle over HTTP: shelves out, feedback in."""
    from policies.service.settings import ServiceSettings, bind
    from policies.service.worker import run

    settings = ServiceSettings(
        bundle=bundle, host=host, port=port, store=store, keys=keys, explore=explore
    )
    listening = bind(host, port)
    typer.echo(f"serving on http://{host}:{listening.getsockname()[1]}/", err=True)
    run(settings, listening)
