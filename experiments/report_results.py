"""Tables and charts of the simulation and of the offline evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from experiments.charts import Bar, forest_plot
from experiments.report_parts import Interval, Ope, Paired, Simulation
from experiments.report_words import (
    METRICS,
    decimals_for,
    decimals_of,
    number,
    oriented,
    pair_label,
    span,
)

#: Without further words a policy shows the PPO reasons.
_PLAIN = {"similarity": "similarity+ppo", "ranker": "ranker+ppo"}


def ranking(simulate: Simulation) -> list[tuple[str, dict[str, Interval]]]:
    """Return the policies from the highest mean return to the lowest.

    Of two names for one policy, with and without its PPO reasons, the shorter is kept.
    """
    twins = {twin for plain, twin in _PLAIN.items() if plain in simulate.policies}
    named = [(name, met) for name, met in simulate.policies.items() if name not in twins]

    def earned(entry: tuple[str, dict[str, Interval]]) -> float:
        found = entry[1].get("return")
        return found.mean if found and found.mean is not None else -math.inf

    return sorted(named, key=earned, reverse=True)


def metric_scales(simulate: Simulation) -> dict[str, int]:
    """Return the decimals of each metric that the simulation measured."""
    met = {
        metric: [found[metric] for found in simulate.policies.values() if metric in found]
        for metric in METRICS
    }
    return {metric: decimals_of(metric, found) for metric, found in met.items() if found}


def pair_table(simulate: Simulation) -> dict[tuple[str, str], dict[str, Paired]]:
    """Return every paired difference, oriented, by its two policies and its metric."""
    table: dict[tuple[str, str], dict[str, Paired]] = {}
    for pair in oriented(simulate):
        table.setdefault((pair.a, pair.b), {})[pair.metric] = pair
    return table


def pair_chart(pairs: Sequence[Paired]) -> Markup | None:
    """Draw the paired return differences."""
    if not pairs:
        return None
    decimals = decimals_for(pairs)
    bars = [
        Bar(
            pair_label(pair),
            pair.diff,
            pair.low,
            pair.high,
            f"{number(pair.diff, decimals, signed=True)} ({span(pair, decimals)})",
        )
        for pair in pairs
    ]
    return forest_plot(
        bars,
        title="Paired differences in return per session, with 95\u00a0% intervals",
        reference=0.0,
        reference_label="no difference",
    )


_REASONS = ("sft", "ppo")


@dataclass(frozen=True)
class TwoByTwo:
    """Return of {similarity, ranker} x {SFT, PPO} reasons, and the paired effects."""

    cells: dict[str, Interval]
    """By policy name, such as ``ranker+sft``."""
    effects: dict[str, Paired]
    """Paired differences by the name of the row or column that they belong to."""
    decimals: int


def two_by_two(simulate: Simulation) -> TwoByTwo | None:
    """Return the 2x2 of rankers and reasons, or None if no cell was simulated."""
    names = [f"{ranker}+{reasons}" for ranker in ("similarity", "ranker") for reasons in _REASONS]
    cells = {
        name: simulate.policies[name]["return"]
        for name in names
        if "return" in simulate.policies.get(name, {})
    }
    wanted = {
        "similarity": ("similarity+ppo", "similarity+sft"),
        "ranker": ("ranker+ppo", "ranker+sft"),
        "sft": ("ranker+sft", "similarity+sft"),
        "ppo": ("ranker+ppo", "similarity+ppo"),
        "both": ("ranker+ppo", "similarity+sft"),
    }
    met = {
        (_PLAIN.get(pair.a, pair.a), _PLAIN.get(pair.b, pair.b)): pair
        for pair in simulate.paired
        if pair.metric == "return"
    }
    # A pair counts from either side.
    met = {(b, a): pair.against(pair.a) for (a, b), pair in met.items()} | met
    effects = {key: met[names] for key, names in wanted.items() if names in met}
    if not cells:
        return None
    return TwoByTwo(cells, effects, decimals_for([*cells.values(), *effects.values()]))


def ope_chart(ope: Ope) -> Markup | None:
    """Draw each estimate against the truth."""
    whole = [one for one in ope.estimates if None not in (one.value, one.low, one.high)]
    if not whole or ope.truth is None:
        return None
    decimals = decimals_for(whole)
    bars = []
    for one in whole:
        assert one.value is not None
        assert one.low is not None
        assert one.high is not None
        text = f"{number(one.value, decimals)} ({span(one, decimals)})"
        bars.append(Bar(one.estimator, one.value, one.low, one.high, text))
    low, high = ope.truth_low, ope.truth_high
    return forest_plot(
        bars,
        title="Offline estimates of the target policy's value per slate, with 95\u00a0% intervals",
        reference=ope.truth,
        reference_label=f"truth {number(ope.truth, decimals)}",
        reference_band=None if low is None or high is None else (low, high),
    )
