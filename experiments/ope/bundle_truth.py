"""A bundle's true value on a log that ``shelftalk simulate --log`` wrote: the shop is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from envs.errors import UserError
from envs.feedback import read_description
from envs.progress import Progress, silent
from envs.world import World
from experiments.ope.bundle_target import bundle_policy, bundle_world
from experiments.ope.impressions import ShopNames
from experiments.ope.replay import replay_truth
from policies.bundle import Bundle
from policies.logging_policies import LoggingPolicy

SEED = "seed"


def log_seed(path: Path) -> int:
    """Return the seed of a simulated log.

    Raises:
        UserError: ``path`` is no log of the simulated shop.
    """
    found = read_description(path).get(SEED) if path.is_dir() else None
    if not isinstance(found, int):
        raise UserError(
            f"{path}: only a log folder that `shelftalk simulate --log` wrote can be played again "
            "for the true value; leave --truth out"
        )
    return found


def bundle_truth(
    frame: pd.DataFrame,
    worlds: Sequence[World],
    names: ShopNames,
    bundle: Bundle,
    rule: LoggingPolicy,
    *,
    seed: int,
    rng: np.random.Generator,
    progress: Progress = silent,
) -> float:
    """Return the mean expected reward of the bundle's slates on the logged pages.

    Args:
        frame: the log.
        worlds: the shop with each reason book that it may have shown: the log does not say which,
            but played again, only the right one leads to the logged clicks.
        names: what the shop's rows are called.
        bundle: the target.
        rule: how its logits become slates.
        seed: the log's.
        rng: draws slates of the target.
        progress: called with sessions done and sessions in all.

    Raises:
        UserError: the log was written in none of these shops.
    """
    refused: UserError | None = None
    for world in worlds:
        world = bundle_world(bundle, world, names)
        policy = bundle_policy(bundle, world, names)
        try:
            truth = replay_truth(
                frame, world, names.items.to_pylist(), policy, rule,
                seed=seed, rng=rng, progress=progress,
            )  # fmt: skip
        except UserError as error:
            refused = error
            continue
        return float(truth.mean())
    raise refused or UserError("there is no shop to ask for the true value")
