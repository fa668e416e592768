"""Settings of the baselines that learn."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from envs.settings import Settings


class BaselinesConfig(Settings):
    """The baselines that learn, each on training sessions before the comparison."""

    bandit_sessions: int | None = Field(None, ge=20)
    """Training sessions that LinUCB and Thompson sampling serve while they learn, the first tenth
    at random; null for four times `simulate.search_sessions`."""
    exploration: float = Field(1.0, ge=0)
    """How much their uncertainty counts: standard errors that LinUCB adds to a score, and the
    spread of Thompson's draws."""
    log_sessions: int | None = Field(None, ge=20)
    """Training sessions in the click regression's log; null for twice
    `simulate.search_sessions`."""
    target: Literal["click", "reward"] = "click"
    """What the click regression predicts: a `click`, or a click in proportion to what it earned
    (`reward`), so that purchases and margins count."""
    learners: tuple[Literal["logistic", "boosting"], ...] = Field(
        ("logistic", "boosting"), min_length=1
    )
    """What competes to be the click regression, by log loss on held-out sessions: `logistic` is
    kept as weights, `boosting` lives in memory only."""
