"""Relevance and revenue in search without a writer: the table of the stage `search`, in minutes.

Usage::

    python -m experiments.measure_search_rules CONFIG RUN [TRAININGS]

The catalogue and the similarity of the run are made where they are missing; its reasons are
rule-based ones, and the ranker is trained beside those, as often as asked for (once). A training
that was finished is kept.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from envs.errors import UserError
from envs.files import write_json
from envs.shop import ShopVectorEnv
from envs.store import load_shop
from experiments.config import Config
from experiments.config_io import load_config
from experiments.console import Console
from experiments.measure_search import FOLDS, judged_queries
from experiments.measure_search_stage import (
    MATCHING,
    SESSIONS,
    matching,
    measure_search,
    table_lines,
)
from experiments.pipeline import stages_for
from experiments.stages import run_stages, stage_seed
from policies.baselines import ranker_policy
from policies.ranker.scorer import save_scorer
from policies.ranker.train import train_ranker
from policies.reasoner.book import write_book
from rewards.claims import ClaimChecker

#: What is kept in the run's folder: the training, the ranker and the figures.
FOLDER = "search_rules"


def measure(config: Config, run: Path, trainings: int, console: Console) -> dict[str, Any]:
    """Train rankers beside rule-based reasons; return what `measure_search` says of them."""
    run_stages(stages_for(config), config, run, until="similarity", console=console)
    shop = load_shop(run / "catalogue", run / "similarity")
    catalogue = shop.visitors.catalogue
    judged, _ = judged_queries(catalogue)
    if len(judged) < FOLDS:
        raise UserError(f"{run}: {len(judged)} queries have enough judgements, {FOLDS} are needed")
    book, _ = write_book(
        catalogue, shop.visitors.profiles, ClaimChecker(catalogue), None,
        np.unique(shop.pools.items).astype(np.int64), np.random.default_rng(config.seed),
    )  # fmt: skip
    world = shop.world(config.shop).with_reasons(book.arrays)
    rankers = []
    for number in range(1, trainings + 1):
        name = "ranker" if number == 1 else f"ranker_{number}"
        found = train_ranker(
            lambda count, seed: ShopVectorEnv(world, count, seed), config.rank,
            run / FOLDER / name, console.progress(name),
            stage_seed(config.seed, "rank") + number - 1,
        )  # fmt: skip
        save_scorer(found.scorer, run / FOLDER / name / "scorer")
        rankers.append(ranker_policy(found.scorer, name))
    first, *others = rankers
    measured = measure_search(
        world, shop.index, judged, [*others, *(matching(first, w) for w in MATCHING), first],
        sessions=SESSIONS, seed=stage_seed(config.seed, "search"),
        progress=console.progress("search"),
    )  # fmt: skip
    write_json(run / FOLDER / "search.json", measured)
    return measured


def main(arguments: list[str]) -> None:
    """Print the table, and by how much the ranker differs from each."""
    if len(arguments) not in (2, 3):
        raise SystemExit("usage: python -m experiments.measure_search_rules CONFIG RUN [TRAININGS]")
    config, run = load_config(Config, Path(arguments[0])), Path(arguments[1])
    found = measure(config, run, int(arguments[2]) if len(arguments) == 3 else 1, Console())
    for line in table_lines(found):
        print(line)
    for pair in found["paired"]:
        if pair["a"] == "ranker" and pair["metric"] in ("ndcg", "return"):
            print("{a} - {b}, {metric}: {diff:+.3f} ({low:+.3f} to {high:+.3f})".format(**pair))


if __name__ == "__main__":
    main(sys.argv[1:])
