"""Whether another round helped: every round's ranker and reasons on the same sessions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from scipy import stats

from envs.store import load_shop
from experiments.config import Config
from experiments.rounds_names import in_round
from experiments.rounds_ranker import current_ranker
from experiments.shop_reward import PLACEMENT_SESSIONS
from experiments.simulate import TRAINING_SEEDS, Contestant, compare, examination_under
from experiments.stages import StageContext


def run_rounds(context: StageContext) -> dict[str, Any]:
    """Play round after round; report each against the one before, and whose doing it was.

    Returns:
        ``policies``: figures of each pair of ranker and reasons, named ``ranker2+reasons1``;
        ``paired``: differences with intervals over the same sessions; ``steps``: for each round
        from the second on its ``gain`` in return a session over the round before, the part of the
        ``reasons`` (under the old ranker), the part of the ``ranker`` (with the new reasons),
        whether the round ``helped``, and how alike both rankers place items (``placement``: rank
        correlation over items of how likely they are examined).
    """
    config: Config = context.config
    shop = load_shop(context.inputs["catalogue"], context.inputs["similarity"])
    count = sum(name.startswith("rank") for name in context.inputs)
    placed = [current_ranker(_at_round(context, number), shop) for number in range(1, count + 1)]
    numbers = range(2, count + 1)
    sides = [(n, n) for n in range(1, count + 1)] + [(n - 1, n) for n in numbers]
    field = [
        Contestant(_named(*side), placed[side[0] - 1][1], placed[side[1] - 1][0]) for side in sides
    ]
    pairs = [pair for number in numbers for pair in _pairs(number).values()]
    figures, differences = compare(
        field, pairs, config.simulate.sessions, config.seed, context.progress
    )
    returns = {(d["a"], d["b"]): d for d in differences if d["metric"] == "return"}
    examined = [
        examination_under(world, policy, PLACEMENT_SESSIONS, TRAINING_SEEDS)
        for world, policy in placed
    ]
    steps = []
    for number in numbers:
        found = {part: returns[pair] for part, pair in _pairs(number).items()}
        gain = found["gain"]
        both = stats.spearmanr(*examined[number - 2 : number])
        steps.append(
            {
                "round": number,
                **found,
                "helped": gain["low"] > 0,
                "placement": float(both.statistic),
            }
        )
        if gain["low"] <= 0:
            context.warn(
                f"round {number} is not shown to help: {gain['diff']:+.4f} in return a session "
                f"over round {number - 1} (95 % {gain['low']:+.4f} to {gain['high']:+.4f})"
            )
    return {
        "sessions": config.simulate.sessions,
        "policies": figures,
        "paired": differences,
        "steps": steps,
    }


def _at_round(context: StageContext, number: int) -> StageContext:
    """Return the context in which a round's reasons and ranker go by their plain names."""
    inputs = {name: context.inputs[in_round(name, number)] for name in ("reasons", "rank")}
    return replace(context, inputs=inputs)


def _named(ranker: int, reasons: int) -> str:
    return f"ranker{ranker}+reasons{reasons}"


def _pairs(number: int) -> dict[str, tuple[str, str]]:
    """Return who is compared with whom to tell what a round brought."""
    before, between, after = (
        _named(number - 1, number - 1), _named(number - 1, number), _named(number, number)
    )  # fmt: skip
    return {"gain": (after, before), "reasons": (between, before), "ranker": (after, between)}
