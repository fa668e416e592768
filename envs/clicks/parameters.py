"""Parameters of the click models, as one section of the configuration."""

from __future__ import annotations

from pydantic import Field

from envs.settings import Settings


class ClickParameters(Settings):
    """How shoppers read a page, beyond what attracts them; each model uses its own."""

    decay: float = Field(0.6, ge=0)
    """`position`: exponent of the examination curve (1 + position)^-decay."""
