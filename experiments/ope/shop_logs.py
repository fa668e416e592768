"""Many logs of the simulated shop, each of seeds of its own, and the two policies they are made by.

Session n of seed s is the shop's session of seed s + n, so consecutive blocks of one long log are
logs of their own seeds. Sessions are played many at a time and let go of after each block: memory
does not grow with the number of logs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs.observation import ITEM_FEATURES
from envs.similarity import SCORES
from envs.world import World
from experiments.ope.shop_log import Logits, log_sessions

#: Sessions that are played side by side, and so the most that one log of a block has.
BATCH = 4_000


@dataclass(frozen=True)
class SeededLog:
    """One log: what `ShopLog` holds of it, S slates."""

    frame: pd.DataFrame
    #: Expected reward of the target and of the logging policy on each page, (S,).
    truth: NDArray[np.float64]
    logging_truth: NDArray[np.float64]
    #: Session of each slate, (S,) from 0 on.
    sessions: NDArray[np.int64]


def seeded_logs(
    world: World,
    logging: Logits,
    target: Logits,
    count: int,
    sessions: int,
    seed: int,
    truth_slates: int = 8,
) -> Iterator[SeededLog]:
    """Yield ``count`` logs of the sessions of seeds ``seed, seed + sessions, ...``.

    Args:
        world: the shop.
        logging: logits of the policy that serves.
        target: logits of the policy in question.
        count: how many logs.
        sessions: of each log.
        seed: of the first session.
        truth_slates: target slates drawn on each page for its expected reward.
    """
    together = max(BATCH // sessions, 1)
    for first in range(0, count, together):
        blocks = min(together, count - first)
        log = log_sessions(
            world, logging, target,
            sessions_count=blocks * sessions, model_slates=1, truth_slates=truth_slates,
            item_ids=[str(item) for item in range(len(world.quality))],
            shopper_ids=[str(shopper) for shopper in range(world.n_shoppers)],
            seed=seed + first * sessions,
        )  # fmt: skip
        block = log.sessions // sessions
        rows = np.repeat(block, world.config.slots)
        for number in range(blocks):
            here = block == number
            yield SeededLog(
                log.frame[rows == number], log.truth[here], log.logging_truth[here],
                log.sessions[here] % sessions,
            )  # fmt: skip


def similarity_logits(weight: float) -> Logits:
    """Return the pipeline's logging policy: ``weight`` times the mean similarity of an item."""
    return lambda seen: weight * seen["items"][..., : len(SCORES)].mean(axis=-1)


def popularity_logits(spread: float) -> Logits:
    """Return a target: popularity, scaled to the standard deviation ``spread`` over a page."""
    place = ITEM_FEATURES.index("popularity")

    def logits(seen: dict[str, np.ndarray]) -> np.ndarray:
        scores = seen["items"][..., place]
        return scores * (spread / np.maximum(scores.std(axis=1, keepdims=True), 1e-6))

    return logits
