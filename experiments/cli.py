"""The command line. Heavy libraries are imported only by the commands that need them."""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console as RichConsole
from rich.table import Table

from envs.errors import UserError, nearest
from experiments.console import Console, StrictVerdict, emit_json, run_cli

if TYPE_CHECKING:
    from experiments.config import Config

cli = typer.Typer(
    name="shelftalk",
    help="A shop shelf that orders itself and tells each shopper why.\n\n"
    "Start with `shelftalk run experiments/configs/demo.yaml`. Exit codes: 0 done, 2 your input "
    "needs mending (one line says how), 3 a verdict of no under --strict, 1 our bug.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)


def app() -> None:
    """Run the command line; the entry point of the installed command."""
    run_cli(cli)


ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="YAML file; docs/config.md explains every key.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]
BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of a bundle.")]
Out = Annotated[Path | None, typer.Option(help="Run folder.  [default: runs/NAME]")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=c", help="Override a setting; may be repeated."),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Override the seed of the config.")]
Json = Annotated[
    Path | None,
    typer.Option("--json", metavar="PATH", help="Write the result as JSON; - is stdout."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")]


def _config(path: Path, overrides: list[str] | None, seed: int | None) -> Config:
    from experiments.config import Config
    from experiments.config_io import load_config

    changed = [*(overrides or []), *([] if seed is None else [f"seed={seed}"])]
    return load_config(Config, path, changed)


def _run(
    config: Path, out: Path | None, overrides: list[str] | None, seed: int | None, quiet: bool,
    json: Path | None, **how: Any,
) -> dict[str, Any]:  # fmt: skip
    # Checked before the heavy imports: a typing mistake is answered at once.
    settings = _config(config, overrides, seed)
    import torch

    from experiments.pipeline import STAGES
    from experiments.stages import run_stages

    # Small models gain nothing from more threads, and spinning ones cost.
    torch.set_num_threads(min(4, torch.multiprocessing.cpu_count()))
    folder = out or Path("runs") / settings.name
    console = Console(quiet=quiet)
    metrics = run_stages(STAGES, settings, folder, console=console, **how)
    if json is not None:
        emit_json(json, metrics)
    if (folder / "report" / "report.html").exists() and how.get("until") is None:
        console.say(f"report: {folder / 'report' / 'report.html'}")
    return metrics


@cli.command()
def run(
    config: ConfigFile,
    out: Out = None,
    overrides: Overrides = None,
    only: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Run this stage again, and no other.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over, checkpoints included.")
    ] = False,
    seed: Seed = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Run the whole pipeline, from a catalogue to a report and an exported bundle.

    The stages are catalogue, similarity, sft, ppo, reasons, rank, simulate, ope, export, report.
    A stage that is finished and whose inputs did not change is kept, so a killed run goes on where
    it was: give the same command again.
    """
    _run(config, out, overrides, seed, quiet, json, only=only, fresh=fresh)


def _until(stage: str) -> Any:
    def command(
        config: ConfigFile, out: Out = None, overrides: Overrides = None, seed: Seed = None,
        json: Json = None, quiet: Quiet = False,
    ) -> None:  # fmt: skip
        metrics = _run(config, out, overrides, seed, quiet, None, until=stage)
        if json is not None:
            emit_json(json, metrics[stage])

    return command


@cli.command()
def sft(
    config: ConfigFile, out: Out = None, overrides: Overrides = None, seed: Seed = None,
    inspect: Annotated[
        bool,
        typer.Option(
            "--inspect", help="Train nothing: print ten pairs and the lengths of the corpus."
        ),
    ] = False,
    json: Json = None, quiet: Quiet = False,
) -> None:  # fmt: skip
    """Train the reason writer on the catalogue's facts (TRL's SFTTrainer, a PEFT adapter).

    Stages that it needs are run first where they are not finished. --json gets the stage's metrics.
    """
    if inspect:
        from experiments.inspect_corpus import inspect_corpus, inspection_lines

        found = inspect_corpus(_config(config, overrides, seed), Console(quiet=quiet))
        if json is not None:
            emit_json(json, found)
        if json != Path("-"):
            print("\n".join(inspection_lines(found)))
        return
    metrics = _run(config, out, overrides, seed, quiet, None, until="sft")
    if json is not None:
        emit_json(json, metrics["sft"])


for _stage, _help in {
    "ppo": "Optimise the reason writer against simulated clicks (PPO on TRL's online trainer).",
    "rank": "Train the ranker in the simulated shop (RLlib PPO over Plackett-Luce slates).",
}.items():
    _until_stage = _until(_stage)
    _until_stage.__doc__ = (
        f"{_help}\n\nStages that it needs are run first where they are not finished. "
        "--json gets the stage's metrics."
    )
    cli.command(_stage)(_until_stage)


class Source(StrEnum):
    """What `import` can read."""

    icecat = "icecat"


@cli.command("import")
def import_(
    kind: Annotated[Source, typer.Argument(help="What SRC is.")],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder to read.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Catalogue folder to write.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Read only so many items.")] = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Turn a real source into a catalogue folder.

    `icecat` reads product.tsv and, where there are any, query.tsv and label.tsv. What was dropped
    and why is printed. Use the result with `catalogue: {kind: folder, path: OUT}`.
    """
    from envs.catalogue import save_catalogue
    from envs.importers.icecat import import_icecat

    console = Console(quiet=quiet)
    result = import_icecat(source, limit=limit)
    for line in result.summary_lines():
        console.say(line)
    save_catalogue(result.catalogue, out)
    console.say(f"catalogue: {out}")
    if json is not None:
        emit_json(
            json,
            {**result.catalogue.summary(), "dropped": result.dropped, "poor": result.poor},
        )


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
            "run), and those that look at hidden state: myopic, oracle, rollout (slow: seconds for "
            "a hundred sessions). +REASONS chooses the reasons shown: ppo, sft or none in a run "
            "(ppo where nothing is said), none or rules in a config's shop (none).  "
            "[default: all but myopic and rollout]"
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


@cli.command()
def ope(
    log: Annotated[
        Path,
        typer.Argument(metavar="LOG", help="Feedback log: Parquet file or folder of them."),
    ],
    target: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE",
            help="An exported bundle as the target; the log then needs a column `candidates` "
            "(all item ids that a page could have shown).",
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="With --target: its slates are sampled at this temperature.")
    ] = 1.0,
    target_columns: Annotated[
        bool,
        typer.Option(
            "--target-columns",
            help="The target's propensities stand in the log: eval_pscore, eval_pscore_cascade, "
            "eval_pscore_item_position.",
        ),
    ] = False,
    targets: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Compare several targets with each other and with the logging policy: A stands "
            "for the columns A_pscore, A_pscore_cascade, A_pscore_item_position.",
        ),
    ] = None,
    forest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --targets: draw them, as svg, png or pdf."),
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="ours=theirs", help="Name of a column in the log."),
    ] = None,
    model_columns: Annotated[
        str | None,
        typer.Option(
            metavar="Q,V",
            help="Columns of a reward model: its prediction for the logged item, and its "
            "expectation under the target.  [default: q_hat,v_hat]",
        ),
    ] = None,
    estimators: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: IPS, SNIPS, ClippedIPS, SIPS, IIPS, RIPS, SNSIPS, SNIIPS, "
            "SNRIPS; with columns q_hat and v_hat also DM, DR, SNDR, SwitchDR, DRos, SGDR, "
            "CascadeDR; of sessions TIS, PDIS, SNTIS, SNPDIS and, with a model, SDR, MAGIC, FQE; "
            "more in docs. NAME@10 fixes a weight limit.  [default: the usual ones that fit]"
        ),
    ] = None,
    clip: Annotated[
        float | None, typer.Option(help="Largest weight that counts, for IPS, SIPS and DR.")
    ] = None,
    interval: Annotated[
        str,
        typer.Option(
            help="bootstrap or bca (by session), delta, student, hoeffding, bernstein, or sequence "
            "(holds at every time at once)."
        ),
    ] = "bootstrap",
    level: Annotated[float, typer.Option(min=0.5, max=0.999, help="Level of the interval.")] = 0.95,
    reward_range: Annotated[
        str | None,
        typer.Option(metavar="LEAST,MOST", help="Of a row; hoeffding, bernstein and sequence."),
    ] = None,
    chunk: Annotated[
        int | None,
        typer.Option(min=1, metavar="ROWS", help="Hold only so many rows in memory at once."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 where the log has not enough overlap.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Estimate what another policy would have earned on a log, without showing it to anybody.

    The log has one row an impression: slate_id, position (0-based), item_id, reward, pscore (whole
    slate), pscore_cascade, pscore_item_position; session_id where a session has several slates.
    Say where the target is: --target-columns, --targets or --target.
    """
    import numpy as np

    from envs.feedback import read_feedback
    from experiments.ope import options
    from experiments.ope.evaluate import INTERVALS, evaluate
    from experiments.ope.printed import print_comparison, print_estimates

    if sum((target is not None, target_columns, targets is not None)) != 1:
        raise UserError(
            "ope: say where the target policy is, once: --target-columns reads eval_pscore* from "
            "the log, --targets A,B reads A_pscore* and B_pscore*, --target asks a bundle"
        )
    if interval not in INTERVALS:
        raise UserError(
            f"--interval {interval}: must be one of {', '.join(INTERVALS)}."
            f"{nearest(interval, INTERVALS)}"
        )
    columns = dict(_pair(entry) for entry in map_ or [])
    if model_columns is not None:
        columns |= options.model_columns(model_columns)
    names = [name.strip() for name in estimators.split(",")] if estimators else None
    if clip is not None:
        names = options.clipped(names or ["SIPS"], clip)
    bounds = None if reward_range is None else options.reward_bounds(reward_range)
    rng, console = np.random.default_rng(seed), Console(quiet=quiet)
    if targets is not None:
        from experiments.ope.compare import compare
        from experiments.ope.forest import check_forest_path, write_forest

        if forest is not None:
            check_forest_path(forest)
        if names is not None and len(names) > 1:
            raise UserError("--targets: policies are compared by one estimator; name one")
        frame = read_feedback(log, column_map=columns)
        compared = compare(
            frame, options.target_names(targets), names[0] if names else None, rng=rng, level=level
        )
        if forest is not None:
            write_forest(compared, forest)
        if json is not None:
            emit_json(json, compared.as_dict())
        if json != Path("-"):
            print_comparison(compared, str(log))
        conclusive = compared.conclusive
    else:
        if target is None:
            found = options.evaluate_log(
                log, names, column_map=columns, interval=interval,
                level=level, reward_range=bounds, chunk_rows=chunk, seed=seed,
                progress=console.progress("ope"),
            )  # fmt: skip
        else:
            from experiments.ope.bundle_target import bundle_target
            from policies.bundle import load_bundle
            from policies.logging_policies import PlackettLuce

            frame = read_feedback(log, column_map=columns)
            frame = bundle_target(
                frame, load_bundle(target), PlackettLuce(temperature),
                progress=console.progress("ope"),
            )  # fmt: skip
            found = evaluate(
                frame, names, rng=rng, interval=interval,
                level=level, reward_range=bounds,
            )  # fmt: skip
        if json is not None:
            emit_json(json, [estimate.as_dict() for estimate in found])
        if json != Path("-"):
            print_estimates(found, str(log))
        conclusive = all(estimate.conclusive for estimate in found)
    if strict and not conclusive:
        raise StrictVerdict("not enough overlap to conclude; see the warnings")


def _pair(entry: str) -> tuple[str, str]:
    ours, equals, theirs = entry.partition("=")
    if not (ours and equals and theirs):
        raise UserError(
            f"--map {entry}: must have the form ours=theirs, for example item_id=action"
        )
    return ours, theirs


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

    columns = dict(_pair(entry) for entry in map_ or [])
    result = score_file(
        texts, catalogue=catalogue, columns=columns,
        families=metrics.split(",") if metrics else None, locale=locale, bertscore=bertscore,
        seed=seed, console=Console(quiet=quiet),
    )  # fmt: skip
    if json is not None:
        emit_json(json, result)
    if json != Path("-"):
        print_scores(result, str(texts))


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
    json: Json = None,
) -> None:
    """Order items for a shopper and print the reasons, from a bundle alone."""
    from dataclasses import asdict

    from policies.bundle import load_bundle

    shelf = load_bundle(bundle).recommend(
        shopper, query=query, candidates=candidates.split(",") if candidates else None, k=k
    )
    if json is not None:
        emit_json(json, asdict(shelf))
    if json != Path("-"):
        for note in shelf.notes:
            print(f"note: {note}")
        for place, item in enumerate(shelf.items, start=1):
            print(f"{place}. {item.title}  ({item.price:.2f})  [{item.item_id}]")
            print(f"   {item.reason}")
            print(f"   supported: {'; '.join(item.claims) or 'claims nothing'}")


@cli.command()
def report(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option(help="File to write.  [default: RUN/report.html]")
    ] = None,
) -> None:
    """Write the HTML page of a run again, from what the run holds."""
    from experiments.report import write_report

    path = out or run / "report.html"
    write_report(run, path)
    print(path)


@cli.command()
def bench(
    subject: Annotated[str, typer.Argument(help="simulator, rewards, metrics, ope or all.")],
    repeats: Annotated[int, typer.Option(min=1, help="Repeats; the median is reported.")] = 5,
    coverage: Annotated[
        bool,
        typer.Option(
            "--coverage",
            help="With ope: how often the intervals hold the truth, instead of speed (minutes).",
        ),
    ] = False,
    json: Json = None,
) -> None:
    """Measure speed on this machine: medians of repeats with their least and largest value."""
    from experiments.benchmarks import SUBJECTS, run_subject

    if subject not in (*SUBJECTS, "all"):
        raise UserError(
            f"bench {subject}: no such subject; there are {', '.join(SUBJECTS)} and all."
            f"{nearest(subject, SUBJECTS)}"
        )
    if coverage and subject != "ope":
        raise UserError(f"--coverage: is a study of ope, not of {subject}")
    if coverage:
        from experiments.benchmarks.ope import measure_coverage

        rows = measure_coverage(progress=Console().progress("coverage"))
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
