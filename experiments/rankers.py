"""Rankers side by side: several trainings of each, and every baseline, in the same sessions.

Each training is a stage of its own, in a folder of its own, and so is each baseline, which is found
and played there. So a comparison that was killed goes on where it was, and another variant or seed
is added to what is there. A last stage plays the rankers and judges all at once.

Training n of every variant has the same seed: the same shoppers to begin with and, where the
network is the same, the same first weights. So variants are compared training by training as well
as session by session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from envs.errors import UserError
from envs.files import write_text
from envs.store import load_arrays, save_arrays
from experiments.algorithms import CpuClock
from experiments.algorithms_names import cell_name
from experiments.config import Config, layered
from experiments.config_io import validate_config
from experiments.console import Console
from experiments.pipeline import stages_for
from experiments.rankers_horizon import horizon
from experiments.rankers_names import (
    FOLDER,
    HTML,
    LONG,
    MARKDOWN,
    MYOPIC,
    SLOW,
    TABLE,
    VARIANTS,
    baseline_name,
)
from experiments.rankers_page import as_html, as_markdown
from experiments.rankers_play import Pages, Played, play_all
from experiments.rankers_table import Entry, make_table
from experiments.rounds_names import in_round
from experiments.simulate_field import CONFIG_POLICIES, Field
from experiments.stages import Stage, StageContext, run_stages, stage_seed
from experiments.steps_ranking import Opened, open_books, run_rank
from policies.baselines import ranker_policy
from policies.ranker.config import RankerConfig
from policies.ranker.scorer import load_scorer

#: Stages of the run that a comparison reads.
SOURCE = ("catalogue", "similarity", "reasons")
#: Sections of the config that a baseline may depend on.
_BASELINE_SECTIONS = ("simulate", "ope", "baselines", "constraints")
#: What a baseline came to, in its stage's folder.
_PLAYED = "played.safetensors"
#: A training: a variant, and which of its seeds.
Place = tuple[str, int]


def compare_rankers(
    config: Config, asked: Config, run: Path, variants: Sequence[str], seeds: int, console: Console
) -> dict[str, Any]:
    """Make the run's reasons if they are missing, then whatever the comparison lacks.

    Args:
        config: the run's settings.
        asked: the same settings, but for how many sessions every policy serves.
        run: the run folder; the comparison is made in its folder ``rankers``.
        variants: names among `experiments.rankers_names.VARIANTS`, each once; the first one is
            what all others are compared with.
        seeds: how often each variant is trained.
        console: shows progress.

    Returns:
        The table as plain values, see `experiments.rankers_table.make_table`, and ``horizon``: see
        `experiments.rankers_horizon.horizon`, None unless both `LONG` and `MYOPIC` take part.

    Raises:
        UserError: settings of ``rank`` that one of the variants does not take, before any work.
    """
    for name in variants:
        settings_of(name, config.rank)
    reasons = in_round("reasons", config.rounds)
    run_stages(stages_for(config), config, run, until=reasons, console=console)
    stages = comparison_stages(run, config.rounds, variants, seeds)
    metrics = run_stages(stages, asked, run / FOLDER, until=TABLE, console=console)
    table: dict[str, Any] = metrics[TABLE]
    return table


def settings_of(variant: str, config: RankerConfig) -> RankerConfig:
    """Return the settings of a variant; UserError where they do not fit together."""
    changed = layered(config.model_dump(), VARIANTS[variant])
    return validate_config(RankerConfig, changed, f"rank, as variant {variant}")


def comparison_stages(
    run: Path, rounds: int, variants: Sequence[str], seeds: int
) -> tuple[Stage, ...]:
    """Return the stages of a comparison: trainings, then baselines, then the table."""
    source = {name: run / in_round(name, rounds) for name in SOURCE}
    places = [(name, seed) for name in variants for seed in range(seeds)]
    names = [name for name in CONFIG_POLICIES if name not in SLOW]

    def stage(
        name: str, work: Callable[[StageContext], dict[str, Any]], *sections: str,
        needs: tuple[str, ...] = (),
    ) -> Stage:  # fmt: skip
        return Stage(
            name,
            lambda context: work(replace(context, inputs={**context.inputs, **source})),
            sections=("shop", *sections),
            needs=needs,
            files=lambda config: list(source.values()),
        )

    trainings = [stage(cell_name(*place), partial(_train, place), "rank") for place in places]
    baselines = [
        stage(baseline_name(name), partial(_play_baseline, name), *_BASELINE_SECTIONS)
        for name in names
    ]
    needs = tuple(one.name for one in (*trainings, *baselines))
    table = stage(TABLE, partial(_judge, places, names), "simulate", "constraints", needs=needs)
    return (*trainings, *baselines, table)


def _train(place: Place, context: StageContext) -> dict[str, Any]:
    """Train a variant once more, and say what it cost."""
    variant, seed = place
    config: Config = context.config
    settings = settings_of(variant, config.rank)
    clock = CpuClock(context.work / "cpu_seconds.json", context.progress)
    figures = run_rank(
        replace(
            context,
            config=config.model_copy(update={"rank": settings}),
            seed=stage_seed(config.seed, cell_name("ranker", seed)),
            progress=clock.report,
        )
    )
    return {**figures, "train_cpu_seconds": clock.spent()}


def _field(opened: Opened, context: StageContext) -> Field:
    """Return the run's shop and baselines, found as its own simulation finds them."""
    return Field(
        shop=opened.shop, config=context.config, books={"ppo": lambda: opened.books["ppo"]},
        scorer=None, search_seed=stage_seed(context.config.seed, "simulate"), usual=(),
        progress=context.progress,
    )  # fmt: skip


def _sessions(config: Config) -> range:
    """Return the seeds of the sessions, those of the run's own simulation."""
    return range(config.seed, config.seed + config.simulate.sessions)


def _play_baseline(name: str, context: StageContext) -> dict[str, Any]:
    """Find a baseline on training sessions and let it serve the sessions."""
    try:
        (one,) = _field(open_books(context), context).contestants([name])
    except UserError as error:  # a tiny shop's log may hold no click to learn from
        context.warn(f"left out of the comparison: {error}")
        return {"left_out": True}
    played, _ = play_all(one.world, one.policy, _sessions(context.config))
    save_arrays(played, context.out / _PLAYED)
    return {"left_out": False, "return": float(played.reward.mean())}


def _judge(places: Sequence[Place], names: Sequence[str], context: StageContext) -> dict[str, Any]:
    """Play the rankers, and write the table as Markdown and as HTML."""
    world = open_books(context).under(context.config.constraints).world
    rankers: dict[str, Entry] = {}
    pages: dict[str, list[Pages]] = {LONG: [], MYOPIC: []}
    for done, (variant, seed) in enumerate(places):
        context.progress(done, len(places), {})
        name = cell_name(variant, seed)
        policy = ranker_policy(load_scorer(context.inputs[name] / "scorer"))
        played, noted = play_all(world, policy, _sessions(context.config))
        entry = rankers.setdefault(variant, Entry(variant, [], []))
        entry.played.append(played)
        entry.trainings.append(context.metrics_of(name))
        if variant in pages:
            pages[variant].append(noted)
    context.progress(len(places), len(places), {})
    baselines = [
        Entry(name, [load_arrays(Played, context.inputs[baseline_name(name)] / _PLAYED)], [])
        for name in names
        if not context.metrics_of(baseline_name(name))["left_out"]
    ]
    table = make_table([*rankers.values(), *baselines])
    table["horizon"] = horizon(pages[LONG], pages[MYOPIC]) if all(pages.values()) else None
    write_text(context.out / MARKDOWN, as_markdown(table))
    write_text(context.out / HTML, as_html(table, context.config.name))
    return table
