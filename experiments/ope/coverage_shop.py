"""Logs of the simulated shop, many of them, for measuring the coverage of intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from envs.assemble import default_world
from envs.observation import ITEM_FEATURES
from envs.progress import Progress, silent
from envs.similarity import SCORES
from experiments.config import OpeConfig
from experiments.ope.shop_log import Logits, log_sessions


@dataclass(frozen=True)
class ShopWorld:
    """Sessions of the default shop under default logging, of which logs are drawn."""

    #: The log of all sessions, with target and model columns.
    frame: pd.DataFrame
    #: Mean over all slates of the target's expected reward, asked of the shop itself.
    truth: float
    logging_truth: float
    #: Sessions of one log.
    sessions: int
    #: The default shop examines by position, so all of these are unbiased.
    estimators: tuple[str, ...] = (
        "SIPS",
        "IIPS",
        "RIPS",
        "SNSIPS",
        "SNIIPS",
        "SNRIPS",
        "DR",
        "CascadeDR",
    )
    name: str = "the shop's default log"

    def logs(self, count: int, rng: np.random.Generator) -> Iterator[pd.DataFrame]:
        """Yield logs of sessions drawn without replacement, each from all that were logged."""
        session = self.frame["session_id"].to_numpy()
        for _ in range(count):
            drawn = rng.choice(session.max() + 1, size=self.sessions, replace=False)
            yield self.frame[np.isin(session, drawn)]


def shop_world(
    population: int, sessions: int, seed: int = 0, progress: Progress = silent
) -> ShopWorld:
    """Log ``population`` sessions of the default shop, for logs of ``sessions`` each.

    Logs share the population's own luck, an error of sqrt(sessions / population) standard errors:
    at 60 logs' worth that is an eighth of one, which shifts coverage by some tenths of a point.

    The logging policy is the pipeline's: Plackett-Luce over mean similarity, with the default
    weight; the target samples by popularity, with the default spread. The reward model is the mean
    reward of a position, which is wrong of every item.
    """
    config = OpeConfig()
    world = default_world(items=300, shoppers=300)
    log = log_sessions(
        world,
        _similarity(config.logging_weight),
        _popularity(config.target_spread),
        sessions_count=population,
        model_slates=1,
        truth_slates=8,
        item_ids=[str(item) for item in range(len(world.quality))],
        shopper_ids=[str(shopper) for shopper in range(world.n_shoppers)],
        seed=seed,
        progress=progress,
    )
    mean = log.frame.groupby("position")["reward"].transform("mean")
    return ShopWorld(
        log.frame.assign(q_hat=mean, v_hat=mean),
        float(log.truth.mean()),
        float(log.logging_truth.mean()),
        sessions,
    )


def _similarity(weight: float) -> Logits:
    return lambda seen: weight * seen["items"][..., : len(SCORES)].mean(axis=-1)


def _popularity(spread: float) -> Logits:
    place = ITEM_FEATURES.index("popularity")

    def logits(seen: dict[str, np.ndarray]) -> np.ndarray:
        scores = seen["items"][..., place]
        return scores * (spread / np.maximum(scores.std(axis=1, keepdims=True), 1e-6))

    return logits
