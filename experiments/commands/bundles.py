"""Commands about bundles: exporting, checking, asking for a shelf."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.commands.common import BundleFolder, Json, Quiet, RunFolder
from experiments.console import Console, emit_json

cli = typer.Typer()


@cli.command()
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Bundle folder to write.")],
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Export the tuned policies of a finished run as a bundle that needs neither Ray nor TRL.

    The folder holds the ranker (safetensors and ONNX), the reasoner (base and PEFT adapter), the
    reason book, similarity tables, a model card, and a manifest with the SHA-256 of every file.
    """
    from experiments.again import export_run

    summary = export_run(run, out)
    Console(quiet=quiet).say(f"bundle: {out}")
    if json is not None:
        emit_json(json, summary)


@cli.command()
def check(bundle: BundleFolder) -> None:
    """Check a bundle: every file's SHA-256, nothing missing, nothing foreign, a known schema."""
    from policies.bundle import check_bundle

    manifest = check_bundle(bundle)
    print(f"{bundle}: intact, {len(manifest.files)} files, schema {manifest.schema_version}")


@cli.command()
def recommend(
    bundle: BundleFolder,
    shopper: Annotated[
        str | None, typer.Option(help="Shopper id; none is the average one.")
    ] = None,
    query: Annotated[
        str | None, typer.Option(help="Search words; without them the home shelf.")
    ] = None,
    candidates: Annotated[
        str | None,
        typer.Option(help="Comma-separated item ids to order.  [default: the best pool]"),
    ] = None,
    k: Annotated[int | None, typer.Option("-k", min=1, help="Items to show.")] = None,
    min_price: Annotated[float | None, typer.Option(help="Leave cheaper items out.")] = None,
    max_price: Annotated[float | None, typer.Option(help="Leave dearer items out.")] = None,
    out_of_stock: Annotated[
        str | None, typer.Option(help="Comma-separated ids of items that cannot be had now.")
    ] = None,
    json: Json = None,
) -> None:
    """Order items for a shopper and print the reasons, from a bundle alone.

    The shelf keeps the rules that the bundle was exported with (`constraints` in the config).
    """
    from dataclasses import asdict

    from policies.bundle import Filters, load_bundle

    shelf = load_bundle(bundle).recommend(
        shopper, query=query, candidates=candidates.split(",") if candidates else None, k=k,
        filters=Filters(min_price, max_price, out_of_stock.split(",") if out_of_stock else ()),
    )  # fmt: skip
    if json is not None:
        emit_json(json, asdict(shelf))
    if json != Path("-"):
        for note in shelf.notes:
            print(f"note: {note}")
        for place, item in enumerate(shelf.items, start=1):
            print(f"{place}. {item.title}  ({item.price:.2f})  [{item.item_id}]")
            print(f"   {item.reason}")
            print(f"   supported: {'; '.join(item.claims) or 'claims nothing'}")
