"""Commands of the HTTP service: serving a bundle, keys, and the log of what came back."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from envs.errors import UserError
from experiments.commands.common import BundleFolder, Json, Quiet
from experiments.console import Console, emit_json

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
    live_deadline: Annotated[
        float,
        typer.Option(
            min=0.001,
            max=5,
            help="With --live: seconds that a shelf waits for such reasons; after that the "
            "rule-based ones are shown, and the written ones from the next request on.",
        ),
    ] = 0.15,
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
        live_deadline=live_deadline,
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


feedback = typer.Typer(no_args_is_help=True, help="What came back to a service.")
cli.add_typer(feedback, name="feedback")


@feedback.command("export")
def export(
    store: Annotated[
        str, typer.Argument(metavar="STORE", help="URL as in `serve --store`, or a SQLite file.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the log; a new one.")],
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Slates shown from this ISO time (UTC) on.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Slates shown before this ISO time (UTC).")
    ] = None,
    hash_shoppers: Annotated[
        bool,
        typer.Option(
            "--hash-shoppers",
            help="Name shoppers by an HMAC under the environment variable SHELFTALK_LOG_KEY (a "
            "random key where it is not set). A bundle then takes each for the average shopper.",
        ),
    ] = False,
    w_click: Annotated[float, typer.Option(help="Reward of a click.")] = 0.2,
    w_buy: Annotated[
        float, typer.Option(help="Reward of a purchase that earns one median margin.")
    ] = 1.0,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Write what a service showed and what came back as a feedback log.

    One row an impression, with clicks, purchases, reward and the three propensities: what
    `shelftalk ope OUT --target BUNDLE` evaluates another bundle on. The service may go on
    meanwhile.
    """
    from policies.service.export import ExportOptions, export_log

    if "://" not in store:
        store = f"sqlite:///{store}"
    options = ExportOptions(
        _time("--since", since), _time("--until", until), w_click, w_buy,
        _hash_key() if hash_shoppers else None,
    )  # fmt: skip
    console = Console(quiet=quiet)
    counts = export_log(store, out, options, console.progress("export"))
    if json is not None:
        emit_json(json, counts)
    if json != Path("-"):
        typer.echo(
            f"{out}: {counts['impressions']} impressions in {counts['slates']} slates of "
            f"{counts['sessions']} sessions; {counts['clicks']} clicked, "
            f"{counts['purchases']} bought, reward {counts['reward']:.2f}"
        )


def _time(option: str, text: str | None) -> float | None:
    """Return the Unix seconds of an ISO time, which is UTC where it names no zone."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"{option} {text}: must be an ISO time such as 2026-11-27 or 2026-11-27T13:00:00Z"
        ) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _hash_key() -> bytes:
    from policies.service.logs import VARIABLE

    return os.environ.get(VARIABLE, "").encode() or secrets.token_bytes(32)
