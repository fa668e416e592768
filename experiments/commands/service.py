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
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback need keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that answer; about one for each core.")
    ] = 1,
    store: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Where slates and feedback are kept: sqlite:///FILE, or "
            "postgresql://USER@HOST/DATABASE. Made where it is not there.",
        ),
    ] = "sqlite:///shelftalk.db",
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="API keys, as `service-key` prints their lines.  [default: the lines in the "
            "environment variable SHELFTALK_KEYS]",
        ),
    ] = None,
    explore: Annotated[
        str | None,
        typer.Option(
            metavar="RULE:NUMBER",
            help="Show shelves by chance and store with what probability: "
            "plackett_luce:TEMPERATURE, epsilon:CHANCE (of a random shelf) or explore:CHANCE (of a "
            "random item, slot by slot).  [default: the best shelf]",
        ),
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0.001, help="Requests a second for each key, over all workers.")
    ] = 1000.0,
    max_bytes: Annotated[int, typer.Option(min=1024, help="Largest body of a request.")] = 262_144,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1, help="Seconds for a request to come in, and again for it to be answered."
        ),
    ] = 5.0,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Let the bundle's language model write the reasons that the book lacks."
        ),
    ] = False,
) -> None:
    """Serve a bundle over HTTP: shelves out, feedback in, both stored before they are answered.

    `POST /v1/shelf` makes a shelf, `POST /v1/feedback` takes clicks and purchases, `/` is a page to
    try it on, `/docs` describes the rest. SIGHUP or `POST /v1/reload` changes to a new bundle
    without dropping a request; SIGTERM finishes the requests at work and stops. Logs are JSON lines
    on stderr without personal data; `/metrics` is for Prometheus. See docs/service.md.
    """
    from policies.service.settings import ServiceSettings
    from policies.service.supervisor import serve

    settings = ServiceSettings(
        bundle=bundle, host=host, port=port, workers=workers, store=store, keys=keys,
        explore=explore, rate=rate, max_bytes=max_bytes, timeout=timeout, live=live,
    )  # fmt: skip

    def announce(address: str) -> None:
        typer.echo(f"serving {bundle} at {address}", err=True)

    raise typer.Exit(serve(settings, announce))


@cli.command()
def service_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who will use it; logs show it.")],
    admin: Annotated[
        bool, typer.Option("--admin", help="May also change the bundle (`POST /v1/reload`).")
    ] = False,
) -> None:
    """Make an API key: give the first line to its user, put the second into the keys file.

    Only the second is kept, and the key cannot be found from it.
    """
    from policies.service.keys import make_key

    key, kept = make_key(name, "admin" if admin else "read")
    typer.echo(key)
    typer.echo(kept.line)
