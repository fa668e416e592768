"""The simulated shop as a source of many independent logs, each with the value to be found.

An estimate's error is counted against the target's expected reward on the very pages of its log:
given a page, weighted rewards have that mean, so their error has mean 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs.behaviour import ShopConfig
from envs.world import World
from experiments.ope.shop_log import Logits
from experiments.ope.shop_logs import BATCH, popularity_logits, seeded_logs, similarity_logits
from experiments.ope.text_actions import fit_claim_model
from experiments.ope.text_shop import Writer, log_texts, with_claims

F64 = NDArray[np.float64]

#: What theory says of an estimator in a world: no bias at all, one that vanishes as logs grow, one
#: that stays; or unbiased, but with weights so heavy that no number of logs at hand shows it.
Theory = Literal["unbiased", "consistent", "biased", "heavy"]
#: A log and what its estimates should find: a number, with the number's own standard error.
Drawn = tuple[pd.DataFrame, float, float]


class ErrorWorld(Protocol):
    """Where logs come from."""

    @property
    def name(self) -> str:
        """What results call it."""

    @property
    def theory(self) -> Mapping[str, Theory]:
        """Estimators to ask, and what is known of each."""

    def logs(self, count: int, seed: int) -> Iterator[Drawn]:
        """Yield independent logs."""


@dataclass(frozen=True)
class SlateErrors:
    """Logs of slates in one shop; a crude reward model stands in for a fitted one."""

    name: str
    world: World
    theory: Mapping[str, Theory]
    sessions: int = 400

    def logs(self, count: int, seed: int) -> Iterator[Drawn]:
        """Yield logs of ``sessions`` sessions, seeds ``seed, seed + sessions, ...``."""
        for log in seeded_logs(
            self.world, similarity_logits(4.0), popularity_logits(0.8), count, self.sessions, seed
        ):
            # Wrong of every item, and from no reward of the log: unbiasedness must not need it.
            yield log.frame.assign(q_hat=0.01, v_hat=0.01), float(log.truth.mean()), 0.0


@dataclass(frozen=True)
class SessionErrors:
    """Logs of short sessions whose value is that of the whole session under the target.

    Its truth needs sessions played by the target itself: a mean over many, with an error.
    """

    name: str
    world: World
    theory: Mapping[str, Theory]
    sessions: int = 400
    played: int = 40_000

    def logs(self, count: int, seed: int) -> Iterator[Drawn]:
        """Yield logs of ``sessions`` sessions; the target's own have seeds far from theirs."""
        logging, target = similarity_logits(2.0), popularity_logits(0.4)
        returns, to_go = self._played(target, seed + 10_000_000)
        truth, error = float(returns.mean()), float(returns.std(ddof=1) / np.sqrt(len(returns)))
        for log in seeded_logs(self.world, logging, target, count, self.sessions, seed):
            # The mean reward to go by page: right on average, blind to what is shown.
            known = to_go[log.frame["step"].to_numpy()]
            yield log.frame.assign(q_hat_session=known, v_hat_session=known), truth, error

    def _played(self, target: Logits, seed: int) -> tuple[F64, F64]:
        """Sessions of the target: expected return of each, and mean reward to go by page."""
        pages = self.world.config.max_pages
        returns, totals, met = [], np.zeros(pages), np.zeros(pages)
        for log in seeded_logs(self.world, target, target, self.played // BATCH, BATCH, seed):
            returns.append(np.bincount(log.sessions, weights=log.logging_truth))
            step = log.frame["step"].to_numpy()[:: self.world.config.slots]
            totals += np.bincount(step, weights=log.logging_truth, minlength=pages)
            met += np.bincount(step, minlength=pages)
        earned = totals[::-1].cumsum()[::-1]
        return np.concatenate(returns), earned / np.maximum(met, 1)


@dataclass(frozen=True)
class TextErrors:
    """Logs of reasons that are chosen claim by claim and word by word."""

    name: str
    world: World
    theory: Mapping[str, Theory]
    logging: Writer
    target: Writer
    sessions: int = 400

    def logs(self, count: int, seed: int) -> Iterator[Drawn]:
        """Yield logs of ``sessions`` sessions with claim models fitted out of fold."""
        claims = np.eye(len(self.target.claims))
        for number in range(count):
            log = log_texts(
                self.world, self.logging, self.target, self.sessions, seed + number * self.sessions
            )
            model = fit_claim_model(
                log.context, claims, log.claims, log.frame["reward"].to_numpy(),
                np.tile(self.target.claims, (len(log.claims), 1)),
                log.frame["session_id"].to_numpy(), rng=np.random.default_rng(seed + number),
                learner="ridge",
            )  # fmt: skip
            yield log.frame.assign(**model.columns()), float(log.truth.mean()), 0.0


_SLATES: Mapping[str, Theory] = {
    "SIPS": "unbiased", "RIPS": "unbiased", "DR": "unbiased", "CascadeDR": "unbiased",
    "SNSIPS": "consistent", "SNRIPS": "consistent",
}  # fmt: skip


def error_worlds(world: World) -> list[ErrorWorld]:
    """Return the worlds of the study: one shop, read and asked in five ways.

    Args:
        world: the shop without reasons, such as ``default_world()``.
    """
    shop = partial(_shop, world)
    return [
        # Positions alone decide what is examined, so item-position weights are enough.
        SlateErrors(
            "slates, position-based clicks", shop(),
            {**_SLATES, "IIPS": "unbiased", "SNIIPS": "consistent"},
        ),
        SlateErrors(
            "slates, cascade clicks", shop(click_model="cascade", bias=-3.0),
            {**_SLATES, "IIPS": "biased", "SNIIPS": "biased"},
        ),
        SlateErrors(
            "single items", shop(slots=1),
            {
                "IPS": "unbiased", "DR": "unbiased", "SNIPS": "consistent", "SNDR": "consistent",
                "ClippedIPS@2": "biased", "SwitchDR@2": "biased", "DRos@2": "biased",
                "DM": "biased",
            },
        ),
        SessionErrors(
            "sessions of 3 pages", shop(slots=2, candidates=6, max_pages=3, bias=-3.5),
            {
                "TIS": "unbiased", "PDIS": "unbiased", "SDR": "unbiased",
                "SNTIS": "consistent", "SNPDIS": "consistent", "SNSDR": "consistent",
            },
        ),
        TextErrors(
            "reasons of 30 tokens", with_claims(world, 4),
            {
                "ClaimIPS": "unbiased", "ClaimDR": "unbiased", "SNClaimIPS": "consistent",
                "KernelIPS": "biased", "TextIPS": "heavy", "SNTextIPS": "heavy",
            },
            Writer(np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.5, 0.3, 0.2]), 30),
            Writer(np.array([0.2, 0.2, 0.3, 0.3]), np.array([0.35, 0.3, 0.35]), 30),
        ),
    ]  # fmt: skip


def _shop(world: World, **changes: Any) -> World:
    return world.with_config(ShopConfig.model_validate(changes))
