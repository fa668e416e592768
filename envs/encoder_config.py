"""Which text encoder the `text` score is made by, and whether it is tuned on what shoppers did."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from envs.settings import Settings


class TuneConfig(Settings):
    """Tuning the text encoder on items that the same shoppers met, by LoRA."""

    steps: int = Field(0, ge=0)
    """Steps of training; 0 leaves the encoder as it is, 400 take some seconds with `tfidf`."""
    batch: int = Field(256, ge=2)
    """Pairs in a step; each is told apart from all others in it."""
    lr: float = Field(1e-3, gt=0)
    """Adam's step size, which falls to zero in a straight line."""
    rank: int = Field(16, ge=1)
    """Rank of the low-rank change of each tuned matrix."""
    temperature: float = Field(0.05, gt=0)
    """Divides the cosines: lower looks at the nearest wrong items alone."""
    held_out: float = Field(0.1, gt=0, lt=1)
    """Share of items that training does not see and that it is measured on."""
    clicks: Path | None = None
    """A feedback log (file or folder): the items clicked in answer to a query train too. Queries
    that people judged never do, so that what they judged stays a test."""


class TextConfig(Settings):
    """The text encoder."""

    encoder: str = "tfidf"
    """`tfidf` is fitted on the catalogue; `local` is a small transformer made on the spot, which
    knows nothing until it is tuned; else the folder or hub id of a transformer, whose token vectors
    are averaged."""
    tune: TuneConfig = TuneConfig()

    @property
    def fitted(self) -> bool:
        """Whether the catalogue's texts alone make the encoder."""
        return self.encoder == "tfidf" and not self.tune.steps
