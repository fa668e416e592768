"""The configuration of a run: one section a stage, all with defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from envs.behaviour import ShopConfig
from envs.presets import PRESETS, preset_overrides
from envs.settings import Settings
from envs.shoppers import ShopperConfig
from envs.similarity import SCORES, SimilarityConfig
from envs.synthetic import SyntheticConfig
from experiments.held_out_config import HeldOutConfig
from policies.baselines_config import BaselinesConfig
from policies.constraints import ConstraintsConfig
from policies.ranker.config import RankerConfig, ScorerConfig
from policies.reasoner.config import PpoConfig
from rewards.mix_config import RewardConfig
from sft.corpus import CorpusConfig
from sft.train_config import SftConfig


class SyntheticCatalogue(SyntheticConfig):
    """The embedded default shop, made up from a seed."""

    kind: Literal["synthetic"] = "synthetic"


class FolderCatalogue(Settings):
    """A catalogue folder: your own, or what `shelftalk import` wrote."""

    kind: Literal["folder"]
    path: Path
    """The folder, relative to where the command runs."""


class IcecatCatalogue(Settings):
    """A folder with Icecat's product.tsv and, where there are any, query.tsv and label.tsv."""

    kind: Literal["icecat"]
    path: Path
    """The folder, relative to where the command runs."""
    limit: int | None = Field(None, ge=20)
    """Read the first so many products only."""


CatalogueConfig = Annotated[
    SyntheticCatalogue | FolderCatalogue | IcecatCatalogue, Field(discriminator="kind")
]


class BookConfig(Settings):
    """Writing the reason books."""

    temperature: float = Field(0.5, gt=0)
    """Sampling temperature of the reasons that are shown."""
    batch_size: int = Field(256, ge=1)
    """Reasons written at once."""


class MeasureConfig(Settings):
    """Measuring the reasoner on held-out items."""

    prompts: int = Field(384, ge=8)
    """Held-out prompts, each an (item, segment) that no training saw."""
    samples: int = Field(4, ge=1)
    """Fresh samples of each prompt and policy."""


class SimulateConfig(Settings):
    """The paired simulation."""

    sessions: int = Field(20_000, ge=20)
    """Sessions that every policy serves."""
    search_sessions: int = Field(5_000, ge=20)
    """Training sessions that each tried mix and oracle setting serves."""
    search_mixes: int = Field(32, ge=1)
    """Random fixed mixes that are tried."""
    shelves: int = Field(6, ge=0)
    """Shelves shown before and after in the report."""


class OpeConfig(Settings):
    """Off-policy evaluation of the trained ranker from a simulated log."""

    sessions: int = Field(6_000, ge=20)
    """Sessions in the log."""
    logging_weight: float = Field(4.0, ge=0)
    """Logit of the logging policy between mean similarity 0 and 1: higher explores less."""
    target_spread: float = Field(0.8, gt=0)
    """The target samples slates from the ranker's scores, scaled to this standard deviation over
    a page: the less it explores, the less its slates overlap with the log."""
    model_slates: int = Field(4, ge=1)
    """Target slates drawn on each logged page for the reward model."""
    truth_slates: int = Field(16, ge=1)
    """Target slates drawn on each logged page for the true value."""
    estimators: tuple[str, ...] = ("SNIPS", "RIPS", "SNRIPS", "DM", "DR", "CascadeDR")
    """Names as `shelftalk ope --help` lists them."""


class ExportConfig(Settings):
    """The exported bundle."""

    pool: int = Field(60, ge=2)
    """Candidates that the bundle's ranker orders for a request."""
    ranker: Literal["full", "linear", "pruned"] = "full"
    """The ranker as it was trained, distilled to a `linear` one, or `pruned` of hidden units."""
    keep: float = Field(0.5, gt=0, le=1)
    """Share of the hidden units that a `pruned` ranker keeps."""
    reasoner: Literal["adapter", "merged", "int8", "none"] = "adapter"
    """The language model as base and adapter, as one, with weights of eight bits, or left out."""
    sessions: int = Field(4_000, ge=20)
    """Sessions in which a smaller ranker is compared with the full one."""
    prompts: int = Field(256, ge=8)
    """Held-out prompts on which a smaller reasoner is compared with the full one."""


def layered(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested mappings; where both have a value, the one of ``above`` stands."""
    merged = {**below, **above}
    for key, inner in below.items():
        upper = above.get(key)
        if isinstance(inner, Mapping) and isinstance(upper, Mapping):
            merged[key] = layered(inner, upper)
    return merged


class Config(Settings):
    """A run of the whole pipeline."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run; its folder is runs/NAME unless --out says otherwise."""
    seed: int = Field(0, ge=0)
    """Seed of everything random."""
    preset: Literal["browsing", "mission", "sceptical"] | None = None
    """Named kind of shop (envs/presets.py); what the file itself sets wins over the preset."""
    rounds: int = Field(1, ge=1)
    """How often reasoner and ranker are trained in turn: each further round trains the reasoner for
    the places that the last ranker gives the items, then a ranker beside those reasons."""
    catalogue: CatalogueConfig = SyntheticCatalogue()
    shoppers: ShopperConfig = ShopperConfig()
    similarity: SimilarityConfig = SimilarityConfig()
    shop: ShopConfig = ShopConfig()
    corpus: CorpusConfig = CorpusConfig()
    sft: SftConfig = SftConfig()
    reward: RewardConfig = RewardConfig()
    ppo: PpoConfig = PpoConfig()
    measure: MeasureConfig = MeasureConfig()
    held_out: HeldOutConfig = HeldOutConfig()
    book: BookConfig = BookConfig()
    rank: RankerConfig = RankerConfig(
        scorer=ScorerConfig(baseline_features=SCORES), iterations=40, lr=3e-4
    )
    constraints: ConstraintsConfig = ConstraintsConfig()
    simulate: SimulateConfig = SimulateConfig()
    baselines: BaselinesConfig = BaselinesConfig()
    ope: OpeConfig = OpeConfig()
    export: ExportConfig = ExportConfig()

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, data: Any) -> Any:
        """Lay what is given over the preset, and that over the defaults.

        A section that is given in part would else have its settings' own defaults in the rest, not
        those that it has here.
        """
        if not isinstance(data, dict):
            return data
        # A name that is none is left for the field's own check, which says which there are.
        name = data.get("preset")
        preset = preset_overrides(name) if isinstance(name, str) and name in PRESETS else {}
        ours = {
            section: info.default.model_dump(exclude_unset=True)
            for section, info in cls.model_fields.items()
            if isinstance(info.default, BaseModel) and section != "catalogue"
        }
        below = {section: values for section, values in ours.items() if values}
        return layered(below, layered(preset, data))

    @model_validator(mode="after")
    def _fits(self) -> Config:
        if self.shop.candidates > self.similarity.pool:
            raise ValueError(
                f"shop.candidates ({self.shop.candidates}) must not exceed similarity.pool "
                f"({self.similarity.pool})"
            )
        if why := self.constraints.contradiction(self.shop.slots):
            raise ValueError(f"constraints.{why}")
        return self
