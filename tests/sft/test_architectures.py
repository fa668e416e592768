"""LoRA finds the linear layers of whatever architecture is brought, and comes back from disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    Qwen2Config,
)

from policies.reasoner.generate import generate, load_reasoner
from sft.base_model import load_model, make_local_model, make_tokenizer
from sft.quiet import quiet_libraries
from sft.train import train_sft
from sft.train_config import AdapterConfig, BaseModelConfig, SftConfig
from tests.sft.test_sft_train import pairs

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GATED = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}

#: Architecture -> (its configuration, the linear layers of one block). GPT-2's are Conv1D.
ARCHITECTURES: dict[str, tuple[Callable[[int], PreTrainedConfig], set[str]]] = {
    "gpt2": (
        lambda size: GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=256),
        {"c_attn", "c_proj", "c_fc"},
    ),
    "llama": (
        lambda size: LlamaConfig(vocab_size=size, intermediate_size=64, **SIZES),
        GATED,
    ),
    "qwen2": (
        lambda size: Qwen2Config(
            vocab_size=size, intermediate_size=64, num_key_value_heads=2, **SIZES
        ),
        GATED,
    ),
    "gpt_neox": (
        lambda size: GPTNeoXConfig(vocab_size=size, intermediate_size=64, **SIZES),
        {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"},
    ),
}


def config(base: str, **settings: object) -> SftConfig:
    return SftConfig.model_validate(
        {
            "base": BaseModelConfig(model=base),
            "adapter_steps": 2,
            "adapter_lr": 1e-2,
            "batch_size": 8,
            "max_length": 64,
            "evaluations": 1,
            **settings,
        }
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_lora_attaches_trains_and_comes_back(name: str, tmp_path: Path) -> None:
    make, layers = ARCHITECTURES[name]
    train = pairs(16, 0)
    tokenizer = make_tokenizer([f"{p.prompt} {p.completion}" for p in train], 300)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # A few more rows than tokens, as published models have: Qwen's tokenizer adds its own mark.
        model = AutoModelForCausalLM.from_config(make(len(tokenizer) + 8))
    model.save_pretrained(tmp_path / "own")
    tokenizer.save_pretrained(tmp_path / "own")
    metrics = train_sft(
        train, pairs(8, 1), config(str(tmp_path / "own")), tmp_path / "o", tmp_path / "w", 0
    )
    assert metrics["adapter"]["held_loss"] < metrics["adapter"]["held_loss_before"]

    weights = load_file(tmp_path / "o" / "adapter" / "adapter_model.safetensors")
    found = {key.split(".lora_")[0].rsplit(".", 1)[-1] for key in weights}
    assert found == layers
    assert all(float(w.abs().max()) > 0 for key, w in weights.items() if "lora_B" in key)

    # Merged into the base it computes what it computed beside it, which the base alone does not.
    merged, tokenizer = load_reasoner(tmp_path / "o")
    base, _ = load_model(tmp_path / "o" / "base")
    ids = torch.tensor(tokenizer(text=["watch | likes: price ->"])["input_ids"])
    with torch.no_grad():
        plain = base.eval()(ids).logits
        with quiet_libraries():
            beside = PeftModel.from_pretrained(base, str(tmp_path / "o" / "adapter")).eval()
        torch.testing.assert_close(merged(ids).logits, beside(input_ids=ids).logits)
    assert not torch.allclose(plain, merged(ids).logits, atol=1e-4)
    prompts = [p.prompt[i:] for i, p in enumerate(pairs(3, 2))]
    again, _ = load_reasoner(tmp_path / "o")
    first, second = (
        generate(m, tokenizer, prompts, max_new_tokens=6, batch_size=size, seed=1)
        for m, size in ((merged, 1), (again, 3))
    )
    assert first == second


@pytest.mark.parametrize(("size", "millions"), [("nano", (1.0, 1.3)), ("small", (5.0, 5.5))])
def test_the_local_sizes_are_as_large_as_they_say(size: str, millions: tuple[float, float]) -> None:
    made = BaseModelConfig.model_validate({"size": size, "vocab_size": 2048})
    texts = [f"{p.prompt} {p.completion}" for p in pairs(30, 0)]
    model, tokenizer = make_local_model(texts, made, seed=0)
    # The corpus of a test fills no vocabulary of 2048 tokens: count what it leaves out.
    missing = (2048 - len(tokenizer)) * model.config.hidden_size
    count = (sum(p.numel() for p in model.parameters()) + missing) / 1e6
    assert millions[0] < count < millions[1]


def test_a_small_model_trains(tmp_path: Path) -> None:
    settings = config("local", base_steps=4, adapter=AdapterConfig(r=2))
    small = BaseModelConfig(size="small", vocab_size=300)
    settings = settings.model_copy(update={"base": small})
    metrics = train_sft(pairs(16, 0), pairs(8, 1), settings, tmp_path / "o", tmp_path / "w", seed=0)
    assert metrics["base"]["held_loss"] < metrics["base"]["held_loss_before"]
    assert load_model(tmp_path / "o" / "base")[0].config.num_hidden_layers == 6
