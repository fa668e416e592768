"""Settings of supervised training."""

from __future__ import annotations

from pydantic import Field

from envs.settings import Settings
from sft.adapters import AdapterConfig
from sft.base_model import BaseModelConfig


class SftConfig(Settings):
    """Supervised training of the reasoner."""

    base: BaseModelConfig = BaseModelConfig()
    """The language model to start from."""
    base_steps: int = Field(640, ge=0)
    """Updates that train a locally made model in full; a model by path or hub id takes none."""
    base_lr: float = Field(3e-3, gt=0)
    """Peak learning rate of the full training."""
    adapter_steps: int = Field(80, ge=1)
    """Updates that train the adapter."""
    adapter_lr: float = Field(1e-3, gt=0)
    """Peak learning rate of the adapter."""
    batch_size: int = Field(64, ge=1)
    """Pairs in one update, those of all processes together."""
    max_length: int = Field(192, ge=8)
    """Longest prompt with its completion, in tokens; a longer pair is left out and counted."""
    accumulate: int = Field(1, ge=1)
    """Parts that an update's pairs are read in, where they do not fit the memory at once."""
    gradient_checkpointing: bool = False
    """Save memory by computing activations twice; about a third slower."""
    report_to: tuple[str, ...] = ()
    """Further trackers beside TensorBoard, as transformers names them: wandb, mlflow, trackio."""
    adapter: AdapterConfig = AdapterConfig()
    """What the second training changes."""
    patience: int = Field(3, ge=1)
    """Evaluations without a better held-out loss after which a training stops."""
    evaluations: int = Field(6, ge=1)
    """Times that the held-out loss is measured during each training."""
