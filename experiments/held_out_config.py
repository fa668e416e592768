"""Settings of the held-out shops; light to import, so that a command line can read them at once."""

from __future__ import annotations

from pydantic import Field, field_validator

from envs.clicks import ClickModelName
from envs.settings import Settings


class HeldOutConfig(Settings):
    """The held-out shops that a trained writer is judged in once more; no training sees them."""

    click_models: tuple[ClickModelName, ...] = ("dbn", "cascade", "ubm")
    """How a page is read there: one held-out shop for each click model that is not the training
    shop's own. Two at least."""
    weight_spread: float = Field(0.3, ge=0)
    """Log-scale standard deviation of the random factor on each behaviour weight; with 0.3 nineteen
    of twenty factors lie between 0.55 and 1.8."""
    taste_spread: float = Field(0.35, ge=0)
    """Log-scale standard deviation of the new shoppers' tastes around what their observed profile
    shows."""
    other_phrases: float = Field(1.0, ge=0, le=1)
    """Chance that a fact is told by another of its phrases, where the catalogue has one."""

    @field_validator("click_models")
    @classmethod
    def _several(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < max(2, len(value)):
            raise ValueError("name two or more click models, each once: the shop's own is left out")
        return value
