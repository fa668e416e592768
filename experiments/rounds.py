"""Rounds: reasoner and ranker trained in turn, each for what the other one does now.

Round 1 is the pipeline as it is: reasons for the places that similarity gives the items, then a
ranker in the shop that shows them. Round r asks PPO again, from the same SFT writer, for the places
that the ranker of round r - 1 gives, and trains a ranker in the shop with those reasons. Its stages
are named ``ppo2``, ``reasons2``, ``rank2``, ..., and have the seeds of round 1: where the ranker
places items as similarity does, a round is the one before over again, and what differs is the
placements' doing. A last stage, ``rounds``, plays all of them on the same sessions.

What is simulated, evaluated and exported in the end is the last round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.rounds_measure import run_rounds
from experiments.rounds_names import REPEATED, in_round
from experiments.stages import Stage, StageContext, stage_seed


def with_rounds(stages: Sequence[Stage], rounds: int) -> tuple[Stage, ...]:
    """Return the pipeline of so many rounds; with 1 round, the stages as they are.

    Args:
        stages: the pipeline of one round; it holds the stages of `REPEATED`.
        rounds: 1 or more.
    """
    if rounds == 1:
        return tuple(stages)
    by_name = {stage.name: stage for stage in stages}
    last = max(place for place, stage in enumerate(stages) if stage.name in REPEATED)
    first_round, after = stages[: last + 1], stages[last + 1 :]
    later = [_repeated(by_name[n], r) for r in range(2, rounds + 1) for n in REPEATED]
    return (
        *first_round,
        *later,
        _comparison(by_name["rank"].needs, rounds),
        *(_on_last_round(stage, rounds) for stage in after),
    )


def _repeated(stage: Stage, number: int) -> Stage:
    """Return a stage of round ``number``; its PPO knows the ranker of the round before."""
    needs = {name: in_round(name, number) for name in stage.needs}
    if stage.name == "ppo":
        needs |= {name: in_round(name, number - 1) for name in ("reasons", "rank")}
    return replace(_renamed(stage, needs), name=in_round(stage.name, number))


def _on_last_round(stage: Stage, rounds: int) -> Stage:
    """Return a stage that reads the last round in place of the first."""
    return _renamed(stage, {name: in_round(name, rounds) for name in stage.needs})


def _renamed(stage: Stage, needs: Mapping[str, str]) -> Stage:
    """Return a stage that finds the inputs ``needs[name]`` under ``name``; its seed stays."""

    def run(context: StageContext) -> Mapping[str, Any]:
        return stage.run(
            replace(
                context,
                inputs={name: context.inputs[actual] for name, actual in needs.items()},
                metrics_of=lambda name: context.metrics_of(needs.get(name, name)),
                seed=stage_seed(context.config.seed, stage.name),
            )
        )

    return replace(stage, run=run, needs=tuple(needs.values()))


def _comparison(needs: Sequence[str], rounds: int) -> Stage:
    """Return the stage that compares the rounds; ``needs`` are those of the ranker."""
    shop = [name for name in needs if name not in REPEATED]
    trained = [in_round(n, r) for r in range(1, rounds + 1) for n in ("reasons", "rank")]
    return Stage("rounds", run_rounds, sections=("shop", "simulate"), needs=(*shop, *trained))
