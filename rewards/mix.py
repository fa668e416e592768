"""The reward of a reason: weighted parts under vetoes, every part kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from envs.settings import Settings
from rewards.claims import ClaimChecker, TextClaims, claim_matrix
from rewards.clicks import ClickReward, ClickRewardConfig
from rewards.guards import veto
from rewards.style import style_penalty

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


class RewardConfig(Settings):
    """What a reason is worth."""

    clicks: ClickRewardConfig = ClickRewardConfig()
    """The uplift in the shop."""
    style: float = Field(0.1, ge=0)
    """Weight of the style penalty, in spreads of the uplift over random items and true reasons."""
    veto: float = Field(2.0, ge=0)
    """A vetoed reason gets minus this, in the same spreads, instead of what it would earn."""


@dataclass(frozen=True)
class Scored:
    """Rewards of n reasons with everything that made them."""

    #: What training maximises, (n,) float32, in spreads.
    total: F32
    #: Uplift per impression in median margins, vetoes applied: a vetoed reason is not shown (0).
    uplift: F32
    #: Why each reason was vetoed, None where it was not.
    vetoes: list[str | None]
    checked: list[TextClaims]
    #: Parts by name, (n,) float32, in spreads, before the veto.
    parts: dict[str, F32]


class RewardMix:
    """Scores texts for (item, segment) pairs."""

    def __init__(
        self, checker: ClaimChecker, clicks: ClickReward, config: RewardConfig, spread: float
    ) -> None:
        """Join the parts; ``spread`` is the unit that makes rewards of order one."""
        self.checker, self._clicks, self._config = checker, clicks, config
        self.spread = spread

    def score(
        self, items: Sequence[int] | I64, segments: Sequence[int] | I64, texts: Sequence[str]
    ) -> Scored:
        """Return the rewards of n texts for items and segments given by index."""
        checked = [self.checker.check(int(item), text) for item, text in zip(items, texts)]
        claims, unsupported, words = claim_matrix(checked, self.checker.n_aspects)
        uplift = self._clicks.score(
            np.asarray(items), np.asarray(segments), claims, unsupported, words
        )
        vetoes = [veto(text, found) for text, found in zip(texts, checked)]
        vetoed = np.array([reason is not None for reason in vetoes])
        parts = {
            "clicks": uplift / np.float32(self.spread),
            "style": -np.float32(self._config.style) * style_penalty(texts),
        }
        total = np.where(vetoed, -self._config.veto, parts["clicks"] + parts["style"])
        return Scored(
            total=total.astype(np.float32),
            uplift=np.where(vetoed, 0, uplift).astype(np.float32),
            vetoes=vetoes,
            checked=checked,
            parts=parts,
        )


def uplift_spread(
    clicks: ClickReward, aspects: F32, segments: int, rng: np.random.Generator
) -> float:
    """Standard deviation of the uplift of true one-fact reasons over random items and segments.

    ``aspects`` is the catalogue's aspect matrix (I, A). It depends on the shop alone, so that a
    reward means the same whatever model is trained.
    """
    count = 2048
    items = rng.integers(len(aspects), size=count)
    claims = np.zeros((count, aspects.shape[1]), dtype=np.float32)
    held = aspects[items] > 0
    chosen = (rng.random(held.shape) * held).argmax(axis=1)
    claims[np.arange(count), chosen] = held.any(axis=1)
    ones = np.ones(count, dtype=np.float32)
    uplift = clicks.score(items, rng.integers(segments, size=count), claims, 0 * ones, 10 * ones)
    return max(float(uplift.std()), 1e-9)
