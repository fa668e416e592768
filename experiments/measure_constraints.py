"""What rules of the shelf cost: one policy with and without them, on the same sessions.

``python -m experiments.measure_constraints RUN`` prints the table of docs/constraints.md. Reasons
shown are those of the run (PPO's); differences are paired by session, with 95 % intervals.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs import sessions
from envs.catalogue import Catalogue
from envs.files import write_json
from envs.world import World
from experiments.again import field_of_run
from experiments.console import Console
from experiments.simulate import Sessions, Turn, interval, joined, parts_of, play_part
from policies.baselines import SlatePolicy
from policies.constraints import ConstraintsConfig, ShelfRules, shelf_rules, with_rules
from policies.constraints_page import world_rules


def cases(catalogue: Catalogue, popularity: np.ndarray) -> dict[str, ConstraintsConfig]:
    """Return the rules of the table by name; prices and stock are those of the catalogue."""
    ids = catalogue.items["item_id"].to_numpy()
    best = ids[np.argsort(-popularity, kind="stable")]
    median = float(catalogue.items["price"].median())
    return {
        "3 classes at least": ConstraintsConfig(min_groups=3),
        "4 classes at least": ConstraintsConfig(min_groups=4),
        "2 of a class at most": ConstraintsConfig(max_per_group=2),
        "1 of a class at most": ConstraintsConfig(max_per_group=1),
        "1 new item at least": ConstraintsConfig(min_new=1),
        "2 new items at least": ConstraintsConfig(min_new=2),
        "2 of a class, 1 new": ConstraintsConfig(max_per_group=2, min_new=1),
        "the dearer half is left out": ConstraintsConfig(max_price=median),
        "the 10 % most popular are out of stock": ConstraintsConfig(
            out_of_stock=tuple(best[: len(best) // 10])
        ),
    }


@dataclass
class Shown:
    """What the pages of some sessions held, counted as they are played."""

    #: Read groups and new items by these, whether or not the shop keeps them.
    rules: ShelfRules
    pages: int = 0
    groups: float = 0.0
    fresh: float = 0.0
    #: Pages where something gave way.
    relaxed: int = 0

    def __call__(self, turn: Turn) -> None:
        """Count one page of each session that is on."""
        page, live = turn.page, turn.live
        _, items = sessions.candidates(page.world, page.state)
        shown = np.take_along_axis(items, turn.slates, axis=1)[live]
        kinds = np.sort(self.rules.group[shown], axis=1)
        self.pages += len(shown)
        self.groups += float((np.diff(kinds, axis=1) > 0).sum() + len(shown))
        self.fresh += float(self.rules.new[shown].sum())
        kept = world_rules(page.world, page.state, page.observation["mask"])
        if kept is not None:
            gave = kept.fewer_new | kept.fewer_groups | kept.limit_raised
            self.relaxed += int(gave[live].sum())


def serve(
    world: World, policy: SlatePolicy, rules: ShelfRules, seeds: range
) -> tuple[Sessions, Shown]:
    """Play the sessions of ``seeds`` and count what was shown."""
    shown = Shown(rules)
    return joined(play_part(world, policy, part, shown) for part in parts_of(seeds)), shown


def cost(
    world: World, policy: SlatePolicy, catalogue: Catalogue,
    asked: Mapping[str, ConstraintsConfig], seeds: range, console: Console,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return a row for each of the rules and one without, as JSON values.

    ``return`` is the mean; ``diff, low, high`` the paired difference to no rules; ``pages`` the
    length of a session; ``groups`` and ``new`` are means of a slate; ``relaxed`` is the share of
    pages that could not keep the rules.
    """
    slots = world.config.slots
    plain = shelf_rules(ConstraintsConfig(), catalogue, world.popularity, slots)
    base, shown = serve(with_rules(world, None), policy, plain, seeds)
    rows = [_row("no rules", base, base, shown)]
    for name, config in asked.items():
        rules = shelf_rules(config, catalogue, world.popularity, slots)
        played, shown = serve(with_rules(world, rules), policy, rules, seeds)
        rows.append(_row(name, played, base, shown))
        console.say(f"{name}: {rows[-1]['diff']:+.4f}")
    return rows


def _row(name: str, played: Sessions, base: Sessions, shown: Shown) -> dict[str, Any]:
    gap = interval(played.reward - base.reward)
    return {
        "rules": name,
        "return": float(played.reward.mean()),
        "diff": gap["mean"], "low": gap["low"], "high": gap["high"],
        "pages": float(played.pages.mean()),
        "ctr": float(played.clicks.sum() / played.impressions.sum()),
        "groups": shown.groups / shown.pages,
        "new": shown.fresh / shown.pages,
        "relaxed": shown.relaxed / shown.pages,
    }  # fmt: skip


def as_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    base = rows[0]["return"]
    lines = [
        "| rules | return | change (95 %) | | pages | CTR | classes | new | not kept |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['rules']} | {row['return']:.3f} | {row['diff']:+.3f} ({row['low']:+.3f} to "
            f"{row['high']:+.3f}) | {100 * row['diff'] / base:+.1f} % | "
            f"{row['pages']:.2f} | {row['ctr']:.4f} | "
            f"{row['groups']:.2f} | {row['new']:.2f} | {100 * row['relaxed']:.1f} % |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(prog="python -m experiments.measure_constraints")
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--policy", default="ranker", help="as `shelftalk simulate` names it")
    parser.add_argument("--sessions", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the rows here too")
    given = parser.parse_args(arguments)
    opened = field_of_run(given.run)
    contestant = opened.contestants([given.policy])[0]
    catalogue = opened.shop.visitors.catalogue
    rows = cost(
        contestant.world, contestant.policy, catalogue,
        cases(catalogue, contestant.world.popularity),
        range(given.seed, given.seed + given.sessions), Console(),
    )  # fmt: skip
    if given.json is not None:
        write_json(given.json, rows)
    print(as_markdown(rows))


if __name__ == "__main__":
    main()
