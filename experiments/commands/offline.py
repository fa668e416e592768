"""The command that evaluates a policy on a log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envs.errors import UserError, nearest
from experiments.commands.common import Json, Quiet, column_pair
from experiments.console import Console, StrictVerdict, emit_json

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

cli = typer.Typer()


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
            "(all item ids that a page could have shown), as `simulate --log` writes it.",
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="With --target: its slates are sampled at this temperature.  [default: that of "
            "the log, where a service sampled it; else 1]"
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN|CONFIG",
            help="With --target, for a log of `simulate --log`: the shop that wrote it, which is "
            "then asked for the true value.",
        ),
    ] = None,
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
            "more in docs/ope.md. NAME@10 fixes a weight limit.  [default: the usual ones that fit]"
        ),
    ] = None,
    clip: Annotated[
        float | None, typer.Option(help="Largest weight that counts, for IPS, SIPS and DR.")
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(
            help="skew (corrected for skewness and heavy tails), bootstrap or bca (by session), "
            "delta, student, hoeffding, bernstein, or sequence (holds at every time at once); "
            "--targets has the bootstrap alone.  [default: skew]"
        ),
    ] = None,
    level: Annotated[float, typer.Option(min=0.5, max=0.999, help="Level of the interval.")] = 0.95,
    reward_range: Annotated[
        str | None,
        typer.Option(metavar="LEAST,MOST", help="Of a row; hoeffding, bernstein and sequence."),
    ] = None,
    chunk: Annotated[
        int | None,
        typer.Option(min=1, metavar="ROWS", help="Hold only so many rows in memory at once."),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="With --chunk: chunks to read at a time, a process each.")
    ] = 1,
    address: Annotated[
        str | None,
        typer.Option(
            help="With --chunk: a running Ray cluster that reads them; every node needs Shelftalk "
            "and sees LOG under the same path."
        ),
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
    from experiments.ope.evaluate import INTERVALS, RECOMMENDED, evaluate
    from experiments.ope.printed import print_comparison, print_estimates

    if sum((target is not None, target_columns, targets is not None)) != 1:
        raise UserError(
            "ope: say where the target policy is, once: --target-columns reads eval_pscore* from "
            "the log, --targets A,B reads A_pscore* and B_pscore*, --target asks a bundle"
        )
    kind = next((known for known in INTERVALS if known == (interval or RECOMMENDED)), None)
    if kind is None:
        raise UserError(
            f"--interval {interval}: must be one of {', '.join(INTERVALS)}."
            f"{nearest(interval or '', INTERVALS)}"
        )
    unused = {
        "--truth": (truth, target, "--target"),
        "--forest": (forest, targets, "--targets"),
        "--chunk": (chunk, target_columns or None, "--target-columns"),
        "--workers": (None if workers == 1 else workers, chunk, "--chunk"),
        "--address": (address, chunk, "--chunk"),
    }
    for option, (given, needed, other) in unused.items():
        if given is not None and needed is None:
            raise UserError(f"{option}: goes with {other} alone; leave it out, or give {other}")
    if targets is not None and (interval not in (None, "bootstrap") or reward_range is not None):
        raise UserError("--targets: policies are compared by the bootstrap; leave --interval out")
    columns = dict(column_pair(entry) for entry in map_ or [])
    if model_columns is not None:
        columns |= options.model_columns(model_columns)
    names = [name.strip() for name in estimators.split(",")] if estimators else None
    if clip is not None:
        names = options.clipped(names or ["SIPS"], clip)
    bounds = None if reward_range is None else options.reward_bounds(reward_range)
    rng, console = np.random.default_rng(seed), Console(quiet=quiet)
    result: Any
    if targets is not None:
        from experiments.ope.compare import compare
        from experiments.ope.forest import check_forest_path, write_forest

        if forest is not None:
            check_forest_path(forest)
        if names is not None and len(names) > 1:
            raise UserError("--targets: policies are compared by one estimator; name one")
        compared = compare(
            read_feedback(log, column_map=columns), options.target_names(targets),
            names[0] if names else None, rng=rng, level=level,
        )  # fmt: skip
        if forest is not None:
            write_forest(compared, forest)
            console.say(f"forest plot: {forest}")
        result, conclusive = compared.as_dict(), compared.conclusive
        if json != Path("-"):
            print_comparison(compared, str(log))
    else:
        true_value = None
        if target is None:
            found = options.evaluate_log(
                log, names, column_map=columns, interval=kind, level=level,
                reward_range=bounds, chunk_rows=chunk, workers=workers, address=address, seed=seed,
                progress=console.progress("ope"),
            )  # fmt: skip
        else:
            options.check_choices(names or (), kind, level)
            # Draws of its own: asking for the truth leaves the estimates as they are.
            draws = np.random.default_rng((seed, 1))
            frame, true_value = _with_bundle(
                log, columns, target, temperature, truth, draws, console
            )
            found = evaluate(
                frame, names, rng=rng, interval=kind, level=level,
                reward_range=bounds,
            )  # fmt: skip
        known = {} if true_value is None else {"truth": true_value}
        result = [estimate.as_dict() | known for estimate in found]
        conclusive = all(estimate.conclusive for estimate in found)
        if json != Path("-"):
            print_estimates(found, str(log))
            if true_value is not None:
                print(f"true value per slate, asked of the simulated shop: {true_value:.5f}")
    if json is not None:
        emit_json(json, result)
    if strict and not conclusive:
        raise StrictVerdict(f"{log}: not enough overlap to conclude; see the warnings")


def _with_bundle(
    log: Path,
    columns: dict[str, str],
    target: Path,
    temperature: float | None,
    truth: Path | None,
    rng: np.random.Generator,
    console: Console,
) -> tuple[pd.DataFrame, float | None]:
    """Return the log with a bundle's propensities, and its true value where ``truth`` is a shop."""
    from envs.feedback import read_feedback
    from experiments.ope.bundle_target import bundle_target, served_temperature
    from experiments.ope.bundle_truth import bundle_truth, log_seed
    from policies.bundle import load_bundle
    from policies.logging_policies import PlackettLuce

    if temperature is not None:
        PlackettLuce(temperature)  # a mistake is told before anything is read
    seed = None if truth is None else log_seed(log)
    bundle, frame = load_bundle(target), read_feedback(log, column_map=columns)
    rule = PlackettLuce(temperature or served_temperature(frame) or 1.0)
    if temperature is None:
        console.say(f"slates of {target} are sampled at temperature {rule.temperature:g}")
    frame = bundle_target(frame, bundle, rule, progress=console.progress("ope"))
    if truth is None or seed is None:
        return frame, None
    from experiments.again import open_field
    from experiments.ope.impressions import ShopNames

    with console.stage("shop"):
        field = open_field(truth, None, None, [], console)
    value = bundle_truth(
        frame, [field.reasons(name)[0] for name in field.books],
        ShopNames.of(field.shop.visitors), bundle, rule,
        seed=seed, rng=rng, progress=console.progress("truth"),
    )  # fmt: skip
    return frame, value
