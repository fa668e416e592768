"""What the second training changes: a PEFT adapter of one of four kinds, or every weight."""

from __future__ import annotations

from typing import Any

import torch
from peft import AdaLoraConfig, LoraConfig, PeftConfig, PrefixTuningConfig, PromptTuningConfig
from torch import Tensor, nn
from transformers import TrainerCallback

from sft.train_config import AdapterConfig


def make_adapter(config: AdapterConfig, steps: int) -> PeftConfig | None:
    """Return PEFT's configuration for a training of ``steps`` updates; None for ``full``.

    LoRA: Hu et al. 2021, arXiv:2106.09685. AdaLoRA: Zhang et al. 2023, arXiv:2303.10512. Prefix
    tuning: Li and Liang 2021, arXiv:2101.00190. Prompt tuning: Lester et al. 2021,
    arXiv:2104.08691.
    """
    low_rank: dict[str, Any] = {
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        # Every linear layer but the head, whatever the architecture calls them.
        "target_modules": "all-linear",
        "task_type": "CAUSAL_LM",
    }
    if config.kind == "lora":
        return LoraConfig(r=config.r, use_dora=config.dora, use_rslora=config.rslora, **low_rank)
    if config.kind == "adalora":
        return AdaLoraConfig(
            init_r=config.r * 3 // 2,
            target_r=config.r,
            total_step=steps,
            # A tenth to warm up, and the last third at the ranks that were found.
            tinit=steps // 10,
            tfinal=steps // 3,
            deltaT=max(1, steps // 100),
            **low_rank,
        )
    if config.kind == "prefix":
        return PrefixTuningConfig(num_virtual_tokens=config.virtual_tokens, task_type="CAUSAL_LM")
    if config.kind == "prompt":
        return PromptTuningConfig(num_virtual_tokens=config.virtual_tokens, task_type="CAUSAL_LM")
    return None


@torch.no_grad()
def lift_zero_rows(model: nn.Module) -> None:
    """Make weight rows that are all zero tiny: DoRA divides by their length, and 0 / 0 spreads.

    A locally made model has such rows, which its induction circuit leaves unused.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.weight[layer.weight.norm(dim=1) == 0, 0] = 1e-6


def orthogonality(model: nn.Module) -> Tensor | float:
    """AdaLoRA's penalty: mean of ||A A' - I|| and ||B' B - I|| over its layers, weighted.

    Zhang et al. 2023, equation 4. PEFT adds it to losses that the model computes itself; ours is
    computed outside. 0 for every other kind of model.
    """
    configs = getattr(model, "peft_config", {})
    config = configs.get("default") if isinstance(configs, dict) else None
    if not isinstance(config, AdaLoraConfig):
        return 0.0
    penalties = []
    for name, weight in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            square = weight @ weight.T if "lora_A" in name else weight.T @ weight
            penalties.append(
                torch.linalg.norm(square - torch.eye(len(square), device=square.device))
            )
    return config.orth_reg_weight * torch.stack(penalties).mean()


class ShareOutRanks(TrainerCallback):
    """Lets AdaLoRA move rank to where it helps, after each update."""

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Update importances and ranks; gradients are still there."""
        kwargs["model"].base_model.update_and_allocate(state.global_step)
