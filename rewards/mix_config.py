"""Settings of the reward of a reason."""

from __future__ import annotations

from pydantic import Field

from envs.settings import Settings
from rewards.clicks import ClickRewardConfig


class RewardConfig(Settings):
    """What a reason is worth."""

    clicks: ClickRewardConfig = ClickRewardConfig()
    """The uplift in the shop."""
    style: float = Field(0.1, ge=0)
    """Weight of the style penalty, in spreads of the uplift over random items and true reasons."""
    veto: float = Field(2.0, ge=0)
    """A vetoed reason gets minus this, in the same spreads, instead of what it would earn."""
    naturalness: float = Field(0.0, ge=0)
    """Weight, in spreads, of the log-odds (within -1 and 1) that a discriminator takes the wording
    for that of the corpus; 0 trains no discriminator."""
    refit_every: int = Field(5, ge=1)
    """Batches that the policy writes between two trainings of that discriminator."""
    variety: float = Field(0.15, ge=0)
    """Price, in spreads, of a wording that all other texts of the batch use (their share counts)
    or that the corpus never uses; 0 leaves variety to chance."""
