"""Commands of the loop: learning from what came back, and going around once in a simulated shop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.commands.common import BundleFolder, Json, Quiet, RunFolder, limit_threads
from experiments.console import Console, emit_json

if TYPE_CHECKING:
    from experiments.retrain import RetrainOptions

cli = typer.Typer()

HeldOut = Annotated[
    float, typer.Option(min=0.05, max=0.95, help="Share of the visits that is held out.")
]
Temperature = Annotated[
    float | None,
    typer.Option(
        help="Slates are valued as sampled by Plackett-Luce at this temperature.  [default: that "
        "of the log, else 1]"
    ),
]
Estimator = Annotated[str, typer.Option(help="Values the rankers; docs/ope.md has them all.")]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the log.")]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Write nothing and exit with 3 unless the new ranker is shown to be better.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Of the split, the fit and the intervals.")]


@cli.command()
def retrain(
    bundle: BundleFolder,
    log: Annotated[
        Path,
        typer.Argument(metavar="LOG", help="Feedback log, as `feedback export` writes it."),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the new bundle.")],
    held_out: HeldOut = 0.3,
    temperature: Temperature = None,
    estimator: Estimator = "SNIIPS",
    epochs: Epochs = 10,
    strict: Strict = False,
    seed: Seed = 0,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Fit a bundle's ranker to what a feedback log earned, and write a new bundle with it.

    Each page is rebuilt as it was (scene, query or item, the visit so far, the candidates); pages
    that cannot be are counted and left out. Both rankers are valued off-policy on visits that are
    held out; manifest and model card say what came of it. See docs/loop.md.
    """
    from experiments.retrain import retrain as learn_again

    limit_threads()
    options = _options(held_out, temperature, estimator, epochs, strict, seed)
    found = learn_again(bundle, log, out, options, Console(quiet=quiet))
    if json is not None:
        emit_json(json, found)
    if json != Path("-"):
        _print_retrained(found)
        typer.echo(f"bundle: {out}")


@cli.command()
def loop(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="New folder for both bundles, store and log.")],
    sessions: Annotated[int, typer.Option(min=100, help="Shoppers before the retraining.")] = 8_000,
    later: Annotated[int, typer.Option(min=1, help="Shoppers from the reload on.")] = 2_000,
    simulated: Annotated[
        int, typer.Option(min=2, help="Sessions of the paired simulation of both rankers.")
    ] = 4_000,
    connections: Annotated[
        int, typer.Option(min=1, max=64, help="Connections to the service at a time.")
    ] = 8,
    weight: Annotated[
        float,
        typer.Option(
            min=0, help="Logit between a similarity of 0 and 1 of the plain ranker: less explores."
        ),
    ] = 6.0,
    held_out: HeldOut = 0.3,
    temperature: Temperature = None,
    estimator: Estimator = "SNIIPS",
    epochs: Epochs = 10,
    strict: Strict = False,
    seed: Annotated[int, typer.Option(min=0, help="Of shoppers, split, fit and intervals.")] = 0,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Close the loop once: serve, visit, export, evaluate, retrain, check, reload, visit again.

    It starts `shelftalk serve` on a loopback port over a deliberately plain bundle of the run's
    shop (similarity as its ranker) that explores; simulated shoppers visit over HTTP and click. The
    log is exported, a ranker fitted to it and valued, the running service changed to the new
    bundle, and both rankers play the same sessions in the simulated shop. See docs/loop.md.
    """
    from experiments.loop import LoopOptions, run_loop

    limit_threads()
    fit = _options(held_out, temperature, estimator, epochs, strict, seed)
    options = LoopOptions(sessions, later, simulated, connections, weight, fit, seed)
    found = run_loop(run, out, options, Console(quiet=quiet))
    if json is not None:
        emit_json(json, found)
    if json != Path("-"):
        _print_loop(found)


def _options(
    held_out: float, temperature: float | None, estimator: str, epochs: int, strict: bool, seed: int
) -> RetrainOptions:
    from experiments.ope.evaluate import check_choices
    from experiments.retrain import RetrainOptions
    from policies.ranker.config import WarmStartConfig

    check_choices([estimator], "bootstrap", 0.95)
    fit = WarmStartConfig(epochs=epochs)
    return RetrainOptions(held_out, temperature, estimator, fit, seed, strict)


def _print_retrained(found: Mapping[str, Any]) -> None:
    dropped = ", ".join(f"{count:,} {why}" for why, count in found["dropped"].items())
    typer.echo(
        f"{found['pages']:,} pages ({dropped or 'none'} left out): learned from "
        f"{found['learned_from']:,} visits, {found['held_out']:,} held out"
    )
    typer.echo(f"slates are valued as sampled at temperature {found['temperature']:g}")
    compared = found["comparison"]
    for one in compared["policies"]:
        typer.echo(
            f"  {one['target']:>7}  {one['value']:.4f} [{one['low']:.4f}, {one['high']:.4f}] a "
            f"page  ess {one['ess']:,.0f}"
        )
        for warning in one["warnings"]:
            typer.echo(f"           {warning}")
    typer.echo(f"by {compared['estimator']}: {found['verdict']}")


def _print_loop(found: Mapping[str, Any]) -> None:
    http = found["http"]
    answers = ", ".join(f"{count:,} x {what}" for what, count in sorted(http["answers"].items()))
    typer.echo(f"HTTP: {answers}; {http['requests_per_second']:.0f} requests/s with the shop")
    log = found["log"]
    typer.echo(
        f"log: {log['impressions']:,} impressions in {log['slates']:,} slates of "
        f"{log['sessions']:,} visits; {log['clicks']:,} clicked, {log['purchases']:,} bought"
    )
    _print_retrained(found["retrain"])
    for name, one in found["truth"].items():
        typer.echo(f"  true value of {name}: {one['value']:.4f} a page ({one['pages']:,} pages)")
    reload = found["reload"]
    typer.echo(
        f"reload: {reload['seconds']:.1f} s, {reload['requests_meanwhile']:.0f} requests answered "
        "meanwhile"
    )
    for name, one in found["visits"].items():
        typer.echo(f"  earned over HTTP {name}: {_interval(one['earned'])} a shopper")
    for name, one in found["simulated"]["policies"].items():
        typer.echo(f"  simulated return {name}: {_interval(one['return'])}")
    for pair in found["simulated"]["paired"]:
        if pair["metric"] == "return":
            typer.echo(
                f"  {pair['a']} minus {pair['b']}: {pair['diff']:+.4f} "
                f"[{pair['low']:+.4f}, {pair['high']:+.4f}]"
            )


def _interval(figure: Mapping[str, float]) -> str:
    return f"{figure['mean']:.4f} [{figure['low']:.4f}, {figure['high']:.4f}]"
