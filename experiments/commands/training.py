"""Commands that run the pipeline, or one stage of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.commands.common import (
    ConfigFile,
    Json,
    Out,
    Overrides,
    Quiet,
    RunFolder,
    Seed,
    limit_threads,
    read_config,
)
from experiments.console import Console, emit_json

cli = typer.Typer()


def _run(
    config: Path, out: Path | None, overrides: list[str] | None, seed: int | None, quiet: bool,
    json: Path | None, **how: Any,
) -> dict[str, Any]:  # fmt: skip
    # Checked before the heavy imports: a typing mistake is answered at once.
    settings = read_config(config, overrides, seed)
    from experiments.pipeline import stages_for
    from experiments.stages import run_stages

    limit_threads()
    folder = out or Path("runs") / settings.name
    console = Console(quiet=quiet)
    metrics = run_stages(stages_for(settings), settings, folder, console=console, **how)
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

        found = inspect_corpus(read_config(config, overrides, seed), Console(quiet=quiet))
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


@cli.command()
def report(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option(help="File to write.  [default: RUN/report/report.html]")
    ] = None,
) -> None:
    """Write the HTML page of a run again, from what the run holds."""
    from experiments.report import write_report

    path = out or run / "report" / "report.html"
    write_report(run, path)
    print(path)
