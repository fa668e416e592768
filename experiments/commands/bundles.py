"""Commands about bundles: exporting, checking, asking for a shelf."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from experiments.commands.common import BundleFolder, Json, Quiet, RunFolder
from experiments.console import Console, emit_json

cli = typer.Typer()


@cli.command()
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Bundle folder to write.")],
    ranker: Annotated[
        Literal["full", "linear", "pruned"] | None,
        typer.Option(
            help="As trained, distilled to a linear one, or with hidden units cut off; what that "
            "costs is measured.  [default: the config's]"
        ),
    ] = None,
    reasoner: Annotated[
        Literal["adapter", "merged", "int8", "none"] | None,
        typer.Option(
            help="The language model as base and adapter, merged, with weights of eight bits (what "
            "that costs is measured), or left out.  [default: the config's]"
        ),
    ] = None,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Export the tuned policies of a finished run as a bundle that needs neither Ray nor TRL.

    The folder holds the ranker (safetensors and ONNX), the language model, the reasons that it
    wrote, similarity tables, a self-test, a model card, and a manifest with the SHA-256 of every
    file.
    """
    from experiments.again import export_run

    console = Console(quiet=quiet)
    summary = export_run(run, out, ranker, reasoner, console)
    console.say(f"bundle: {out}")
    if json is not None:
        emit_json(json, summary)


@cli.command()
def check(bundle: BundleFolder) -> None:
    """Check a bundle: digests, kinds of files, its self-test, and what its reasons claim."""
    from policies.bundle_check import check_whole

    checked = check_whole(bundle)
    print(
        f"{bundle}: intact, {checked.files} files, schema {checked.schema}; the self-test's "
        f"{checked.requests} answers are the same; the claims of {checked.reasons:,} reasons hold"
    )


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
    item: Annotated[
        str | None, typer.Option(help="Item id: a shelf to stand beside that item.")
    ] = None,
    k: Annotated[int | None, typer.Option("-k", "--k", min=1, help="Items to show.")] = None,
    min_price: Annotated[float | None, typer.Option(help="Leave cheaper items out.")] = None,
    max_price: Annotated[float | None, typer.Option(help="Leave dearer items out.")] = None,
    out_of_stock: Annotated[
        str | None, typer.Option(help="Comma-separated ids of items that cannot be had now.")
    ] = None,
    ranker: Annotated[
        Literal["tuned", "similarity"], typer.Option(help="The exported one or the plain mean.")
    ] = "tuned",
    reasons: Annotated[
        Literal["tuned", "before", "none"], typer.Option(help="Those of PPO, of SFT, or none.")
    ] = "tuned",
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
        item=item, ranker=ranker, reasons=reasons,
    )  # fmt: skip
    if json is not None:
        emit_json(json, asdict(shelf))
    if json != Path("-"):
        for note in shelf.notes:
            print(f"note: {note}")
        for shown in shelf.items:
            print(f"{shown.position + 1}. {shown.title}  ({shown.price:.2f})  [{shown.item_id}]")
            print(f"   {shown.reason}")
            print(f"   supported: {'; '.join(shown.claims) or 'claims nothing'}")
