"""Settings of the supervised corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from envs.settings import Settings
from sft.own_data import OwnDataConfig


class ReviewsConfig(Settings):
    """A JSONL or Parquet file of real reviews, for the tasks `review` and `review_summary`."""

    path: Path
    """The file, relative to where the command runs."""
    text: str = "text"
    """Column of the review."""
    rating: str = "rating"
    """Column of the rating, 1 to 5."""
    item: str | None = None
    """Column that tells items apart, where there is one."""
    shopper: str | None = None
    """Column that tells shoppers apart, where there is one."""
    title: str | None = None
    """Column of the item's title, where there is one."""
    labels: str | None = None
    """Column with an object aspect -> 1 (praised), -1 (criticised) or 0, where reviews are
    labelled; without it, aspects are found by their words."""
    aspects: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Aspect -> further words that name it; without any, aspects are learned from the reviews.
    With `labels`: aspect -> the labels that are called so; a label that is not listed keeps its
    name."""
    learn: int = Field(20, ge=1)
    """How many aspects are learned."""
    locale: Literal["en", "zh"] = "en"
    """Language of the reviews."""


class CorpusConfig(Settings):
    """The supervised corpus."""

    pairs: int = Field(24_000, ge=10)
    """Prompt and reason pairs to write."""
    held_out: float = Field(0.1, gt=0, lt=0.5)
    """Share of items kept out of training: their pairs measure, they never train."""
    fit: float = Field(0.6, ge=0, le=1)
    """Share of reasons that state what the reader likes."""
    generic: float = Field(0.25, ge=0, le=1)
    """Share of reasons that state any fact of the item."""
    overclaim: float = Field(0.05, ge=0, le=1)
    """Share of reasons that state a fact of another item; what remains states nothing."""
    made_up: float = Field(0.4, ge=0, le=1)
    """Pairs about made-up facts, as a share of `pairs`, added to the base's training only: a shop
    has so few distinct facts that a small model would rather remember than read them."""
    shuffle_facts: bool = True
    """Show facts that the reader has no known liking for in random order."""
    synonyms: float = Field(0.0, ge=0, le=1)
    """Chance that a fact is told by another of its phrases, in the prompt and in the reason."""
    drop_facts: float = Field(0.0, ge=0, lt=1)
    """Chance that a fact of an item is left out of a pair; one fact always stays."""
    scenes: float = Field(0.0, ge=0, le=1)
    """Share of prompts that show where the reason stands: under a search, whose aspects then come
    first, or beside another item."""
    tags: float = Field(0.0, ge=0, le=4)
    """Pairs of the task `tags`, as a share of `pairs`, and so below."""
    description: float = Field(0.0, ge=0, le=4)
    """Pairs of the task `description`: facts and the catalogue's own description."""
    review: float = Field(0.0, ge=0, le=4)
    """Pairs of the task `review`: rating and points, and a shopper's review marked as generated."""
    review_summary: float = Field(0.0, ge=0, le=4)
    """Pairs of the task `review_summary`: counted points of many reviews, and pros and cons."""
    quotes: int = Field(0, ge=0)
    """Sentences that a summary's prompt quotes; for models that read long prompts."""
    reviews: ReviewsConfig | None = None
    """Your own reviews; without them the review tasks use the catalogue's."""
    own: OwnDataConfig | None = None
    """Your own prompts and targets, added to the others."""

    @model_validator(mode="after")
    def _shares(self) -> CorpusConfig:
        if self.fit + self.generic + self.overclaim > 1 + 1e-9:
            raise ValueError("fit + generic + overclaim must not exceed 1")
        return self
