"""The baselines that are searched for or learn, made on training sessions.

None looks at hidden state: MMR's trade-off is searched like the best fixed mix, the bandits learn
from what they show, and the click regression from a log of sampled similarity slates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.assemble import Shop
from envs.observation import ITEM_FEATURES
from envs.progress import Progress, silent
from envs.similarity import SCORES
from envs.world import World
from experiments.config import Config
from experiments.ope.shop_log import ShopLog, log_sessions
from experiments.simulate import TRAINING_SEEDS, play
from policies.bandits import Explore, linucb, thompson, train_bandit
from policies.baselines import SlatePolicy
from policies.baselines_config import BaselinesConfig
from policies.click_regression import ClickLog, fit_click_regression
from policies.linear_scores import LinearScores
from policies.mmr import ItemLikeness, mmr_policy

#: Weights of relevance that are tried for MMR.
TRADE_OFFS = (0.3, 0.4, 0.5, 0.6, 0.8)


@dataclass(frozen=True)
class Trained:
    """A baseline and how it came about."""

    policy: SlatePolicy
    #: Figures worth telling, as JSON values.
    figures: dict[str, Any]
    #: Its weights, where it is linear.
    linear: LinearScores | None = None


@dataclass(frozen=True)
class Training:
    """Where baselines are trained, and by which settings."""

    shop: Shop
    #: The shop with the reasons that are shown in the comparison.
    world: World
    config: Config
    #: Of the learners' own coins.
    seed: int
    progress: Progress = silent

    @property
    def settings(self) -> BaselinesConfig:
        """The section ``baselines`` of the config."""
        return self.config.baselines


def train_baseline(name: str, training: Training) -> Trained:
    """Make one of `TRAINED`; the same for the same training."""
    return _MAKERS[name](training)


def _mmr(training: Training) -> Trained:
    likeness, means = ItemLikeness.of(training.shop), []
    for trade_off in TRADE_OFFS:
        policy = mmr_policy(likeness, trade_off)
        sessions = training.config.simulate.search_sessions
        means.append(play(training.world, policy, sessions, TRAINING_SEEDS).reward.mean())
        training.progress(len(means), len(TRADE_OFFS), {"return": means[-1]})
    best = TRADE_OFFS[int(np.argmax(means))]
    return Trained(mmr_policy(likeness, best), {"trade_off": best})


def _bandit(name: str, explore: Explore) -> Callable[[Training], Trained]:
    def make(training: Training) -> Trained:
        settings = training.settings
        sessions = settings.bandit_sessions or 4 * training.config.simulate.search_sessions
        found = train_bandit(
            training.world, name, explore,
            sessions=sessions, seed=TRAINING_SEEDS, rng=np.random.default_rng(training.seed),
            alpha=settings.exploration, progress=training.progress,
        )  # fmt: skip
        figures = {
            "sessions": sessions,
            "examination": found.examination.round(3).tolist(),
            "return_first": float(found.returns[0]),
            "return_last": float(found.returns[-1]),
        }
        return Trained(found.scores.policy(), figures, found.scores)

    return make


def _click_regression(training: Training) -> Trained:
    settings = training.settings
    sessions = settings.log_sessions or 2 * training.config.simulate.search_sessions
    log = similarity_log(training, sessions)
    found = fit_click_regression(log, settings.target, settings.learners, seed=training.seed)
    figures = {
        "sessions": sessions,
        "impressions": int(log.clicks.size),
        "clicks": int(log.clicks.sum()),
        "target": settings.target,
        "chosen": found.chosen,
        "log_loss": dict(found.log_loss),
    }
    return Trained(found.policy, figures, found.linear)


def similarity_log(training: Training, sessions: int) -> ClickLog:
    """Log training sessions under Plackett-Luce slates of the equal-weight similarity."""
    weight = training.config.ope.logging_weight

    def logits(observation: dict[str, np.ndarray]) -> np.ndarray:
        return weight * observation["items"][..., : len(SCORES)].mean(axis=-1)

    visitors = training.shop.visitors
    log = log_sessions(
        training.world, logits, logits,
        # The log's own target is not asked for anything here.
        sessions_count=sessions, model_slates=1, truth_slates=1,
        item_ids=visitors.catalogue.items["item_id"].tolist(),
        shopper_ids=visitors.profiles.shopper_ids, seed=TRAINING_SEEDS,
        progress=training.progress,
    )  # fmt: skip
    return click_log(log)


def click_log(log: ShopLog) -> ClickLog:
    """Return the logged pages as a click regression reads them."""
    shape, width = log.rewards.shape, len(ITEM_FEATURES)
    return ClickLog(
        context=log.logged_features[:, 0, width:],
        items=log.logged_features[..., :width],
        clicks=log.frame["click"].to_numpy(dtype=bool).reshape(shape),
        rewards=log.rewards.astype(np.float64),
        propensity=log.frame["pscore_item_position"].to_numpy(dtype=np.float64).reshape(shape),
        sessions=log.sessions,
    )


_MAKERS: dict[str, Callable[[Training], Trained]] = {
    "mmr": _mmr,
    "linucb": _bandit("linucb", linucb),
    "thompson": _bandit("thompson", thompson),
    "click_regression": _click_regression,
}
#: Names of the baselines that are made here.
TRAINED = tuple(_MAKERS)
