"""Settings of supervised training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from envs.settings import Settings

AdapterKind = Literal["lora", "adalora", "prefix", "prompt", "full"]

#: Kinds that put virtual tokens before the text; they cannot be merged into the weights.
VIRTUAL: tuple[AdapterKind, ...] = ("prefix", "prompt")


class AdapterConfig(Settings):
    """What the adapter is; target modules are found for the architecture."""

    kind: AdapterKind = "lora"
    """`lora`: low-rank updates of every linear layer; `adalora`: the same, with the rank shared out
    where it helps; `prefix`: learned keys and values before the text; `prompt`: learned input
    vectors before it; `full`: every weight of the base."""
    r: int = Field(8, ge=1)
    """Rank of the low-rank updates (`lora`), or their mean rank in the end (`adalora`)."""
    alpha: int = Field(16, ge=1)
    """Scale of the low-rank updates: they count alpha / r times (alpha / sqrt(r) with `rslora`)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the input of the low-rank updates."""
    dora: bool = False
    """Learn direction and length apart (DoRA, Liu et al. 2024); `lora` only."""
    rslora: bool = False
    """Scale by sqrt(r), steadier at high ranks (rsLoRA, Kalajdzievski 2023); `lora` only."""
    virtual_tokens: int = Field(16, ge=1)
    """Number of virtual tokens (`prefix` and `prompt`)."""

    @model_validator(mode="after")
    def _flags(self) -> AdapterConfig:
        for flag in ("dora", "rslora"):
            if getattr(self, flag) and self.kind != "lora":
                raise ValueError(f"{flag} is a flag of kind lora, but kind is {self.kind}")
        return self

    @property
    def mergeable(self) -> bool:
        """Whether the adapter can become a part of the base's weights, as PPO needs."""
        return self.kind not in VIRTUAL


#: When prompts are put into a model's chat template.
ChatUse = Literal["auto", "always", "never"]


class BaseModelConfig(Settings):
    """Which language model the reasoner starts from."""

    model: str = "local"
    """`local` makes a small model from the corpus; else a folder or a hub id of a causal LM."""
    size: Literal["nano", "small"] = "nano"
    """Size of the locally made model: `nano` has about 1.2 million parameters, `small` 5."""
    vocab_size: int = 2048
    """Number of tokens of the locally made tokenizer, at least 259 (the bytes and three marks)."""
    chat: ChatUse = "auto"
    """Whether prompts are put into the model's chat template: `auto` where its tokenizer has one,
    `always` (without one it is an error) or `never`."""

    @model_validator(mode="after")
    def _chat(self) -> BaseModelConfig:
        if self.model == "local" and self.chat == "always":
            raise ValueError("chat is 'always', but a locally made model has no chat template")
        return self


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
