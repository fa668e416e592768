"""The command that compares policies in a shop, or writes a log of one."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console as RichConsole
from rich.table import Table

from experiments.commands.common import Json, Overrides, Quiet
from experiments.console import Console, emit_json

cli = typer.Typer()


@cli.command()
def simulate(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN|CONFIG]",
            help="Folder of a run, or a YAML file whose catalogue, shoppers, similarity and shop "
            "sections say which shop.  [default: the embedded shop]",
        ),
    ] = None,
    policies: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated names: random, popularity, similarity, best_mix, ranker (of a "
            "run), mmr, linucb, thompson, click_regression (trained first), and those that look "
            "at hidden state: myopic, oracle, rollout (slow: seconds for a hundred sessions). "
            "+REASONS chooses the reasons shown: ppo, sft or none in a run (ppo where nothing is "
            "said), none or rules in a config's shop (none).  [default: a few of them; nothing "
            "that is trained first, no myopic and rollout]"
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Kind of shop: browsing, mission or sceptical.")
    ] = None,
    locale: Annotated[
        str | None, typer.Option(help="Language of the made-up shop: en or zh.")
    ] = None,
    overrides: Overrides = None,
    sessions: Annotated[
        int, typer.Option(min=20, help="Sessions that every policy serves.")
    ] = 20_000,
    seed: Annotated[
        int,
        typer.Option(min=0, help="Seed of the first session; the shop's own is `--set seed=N`."),
    ] = 0,
    workers: Annotated[
        int,
        typer.Option(
            min=1, help="Processes (Ray tasks) that share the sessions; results are the same."
        ),
    ] = 1,
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster to use; every node needs Shelftalk.  [default: none]"),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="HTML", help="Write a page with the figures and one session to see."),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write a feedback log of the first policy named, instead of comparing.",
        ),
    ] = None,
    logging: Annotated[
        str,
        typer.Option(
            help="With --log, how scores become slates: plackett_luce, epsilon or explore."
        ),
    ] = "plackett_luce",
    temperature: Annotated[
        float, typer.Option(help="With --log: lower explores less (plackett_luce).")
    ] = 0.25,
    epsilon: Annotated[
        float, typer.Option(help="With --log: chance of exploring, by page or by slot (explore).")
    ] = 0.1,
    impressions: Annotated[
        int, typer.Option(min=1, help="With --log: rows to write; more continue a log.")
    ] = 100_000,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Compare policies in a shop: same shoppers, candidates and coin flips for each.

    Differences are reported with 95 % intervals against the first policy named. The report shows
    one session under the first two policies, page by page.

    With --log, one policy serves sessions and every impression is written with its exact
    propensities, as Parquet parts. The same command again goes on where a killed one stopped.
    """
    from experiments.again import open_field
    from experiments.simulate import play_here
    from experiments.simulate_field import (
        CONFIG_BOOKS,
        CONFIG_POLICIES,
        RUN_BOOKS,
        RUN_POLICIES,
        check_names,
        simulate_field,
    )

    console = Console(quiet=quiet)
    names = [name.strip() for name in policies.split(",")] if policies else None
    of_run = source is not None and source.is_dir()
    check_names(
        names or [],
        RUN_POLICIES if of_run else CONFIG_POLICIES,
        RUN_BOOKS if of_run else CONFIG_BOOKS,
    )
    if workers > 1 or address is not None:
        from experiments.simulate_workers import on_workers

        player = on_workers(workers, address)
    else:
        player = play_here
    with console.stage("shop"):
        field = open_field(source, preset, locale, overrides or [], console)
        chosen = field.contestants(names or field.usual)
    if log is not None:
        from experiments.config_io import validate_config
        from experiments.ope.impressions import ShopNames
        from experiments.ope.log_shop import LogConfig, write_log

        how = {
            "logging": logging, "temperature": temperature, "epsilon": epsilon,
            "impressions": impressions,
        }  # fmt: skip
        settings = validate_config(LogConfig, how, "--log")
        with console.stage("log"):
            counts = write_log(
                chosen[0].world, chosen[0].policy, settings, log,
                names=ShopNames.of(field.shop.visitors), seed=seed,
                progress=console.progress("log"),
            )  # fmt: skip
        console.say(f"log: {log} ({counts['impressions']:,} impressions)")
        if json is not None:
            emit_json(json, counts)
        return
    with console.stage("simulate"):
        found = simulate_field(
            field, chosen, range(seed, seed + sessions), player, console.progress("simulate")
        )
    metrics = found.as_json()
    if report is not None:
        from experiments.session_report import write_session_report

        write_session_report(found, report, shlex.join(["shelftalk", *sys.argv[1:]]))
        console.say(f"report: {report}")
    if json is not None:
        emit_json(json, metrics)
    if json != Path("-"):
        _print_policies(metrics)


def _print_policies(metrics: dict[str, Any]) -> None:
    table = Table(title=f"{metrics['sessions']:,} paired sessions, 95 % intervals")
    for column in ("policy", "return", "ctr", "purchases", "session length"):
        table.add_column(column, justify="left" if column == "policy" else "right")
    ordered = sorted(metrics["policies"].items(), key=lambda kv: -kv[1]["return"]["mean"])
    for name, figures in ordered:
        cells = [figures[m] for m in ("return", "ctr", "purchases", "session_length")]
        table.add_row(
            name, *(f"{c['mean']:.3f} ({c['low']:.3f} to {c['high']:.3f})" for c in cells)
        )
    RichConsole().print(table)
    for pair in metrics["paired"]:
        if pair["metric"] == "return":
            print(
                f"{pair['a']} - {pair['b']}: {pair['diff']:+.3f} "
                f"({pair['low']:+.3f} to {pair['high']:+.3f})"
            )
