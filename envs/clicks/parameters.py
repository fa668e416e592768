"""Parameters of the click models, as one section of the configuration."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field, field_validator

from envs.settings import Settings


class ClickParameters(Settings):
    """How shoppers read a page, beyond what attracts them; each model uses its own.

    All but `decay` and `ubm_decay` are probabilities. The lists let a model that was fitted to a
    log (`envs.clicks.fit`) be written into a configuration.
    """

    decay: float = Field(0.6, ge=0)
    """`position`: exponent of the examination curve (1 + position)^-decay."""
    theta: tuple[float, ...] = ()
    """`position`: examination of each position from the top, in place of the curve."""

    continuation: float | tuple[float, ...] = 0.7
    """`dcm`: reading on after a click, alike on all positions or one number for each but the
    last."""

    gamma: float = Field(0.9, ge=0, le=1)
    """`dbn`: reading on after an item that did not satisfy (`sdbn` has 1)."""
    satisfaction: float = Field(0.4, ge=0, le=1)
    """`dbn`, `sdbn`: being satisfied by a clicked item, which ends the reading."""

    ubm_decay: float = Field(0.6, ge=0)
    """`ubm`: exponent of the examination curve d^-ubm_decay over the distance d from the click
    above (from the top of the page where there is none)."""
    ubm_gamma: tuple[tuple[float, ...], ...] = ()
    """`ubm`: examination in place of the curve: for position r = 1..k, r numbers by the position
    of the click above (none, 1, ..., r - 1)."""

    tau1: float = Field(0.9, ge=0, le=1)
    """`ccm`: reading on after an item that was not clicked."""
    tau2: float = Field(0.8, ge=0, le=1)
    """`ccm`: reading on after a click on an item of attraction 0."""
    tau3: float = Field(0.4, ge=0, le=1)
    """`ccm`: reading on after a click on an item of attraction 1."""

    @field_validator("theta", "continuation", "ubm_gamma")
    @classmethod
    def _probabilities(cls, value: Any) -> Any:
        rows = value if isinstance(value, tuple) else (value,)
        numbers = np.concatenate([np.zeros(0), *map(np.atleast_1d, rows)])
        bad = numbers[~((numbers >= 0) & (numbers <= 1))]
        if bad.size:
            raise ValueError(f"probabilities lie between 0 and 1, got {bad[0]:g}")
        return value
