"""Every kind of adapter trains, is saved as safetensors, and writes the same after loading."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from peft import PeftModel, get_peft_model
from pydantic import ValidationError
from safetensors.torch import load_file

from policies.reasoner.generate import generate, load_reasoner
from policies.reasoner.measure import sequence_log_probs
from sft.adapters import make_adapter, orthogonality
from sft.base_model import load_model, make_local_model
from sft.quiet import quiet_libraries
from sft.train import Pair, train_sft
from sft.train_config import AdapterConfig, AdapterKind, BaseModelConfig, SftConfig
from tests.sft.test_sft_train import pairs

KINDS: tuple[AdapterKind, ...] = get_args(AdapterKind)


def settings(kind: AdapterKind, base: str = "local", **more: Any) -> SftConfig:
    return SftConfig(
        base=BaseModelConfig(model=base, vocab_size=400),
        base_steps=20,
        adapter_steps=12,
        adapter_lr=1e-2,
        batch_size=16,
        evaluations=2,
        adapter=AdapterConfig(kind=kind, r=4, virtual_tokens=6),
        **more,
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model by path, as a user brings it."""
    folder = tmp_path_factory.mktemp("base")
    texts = [f"{p.prompt} {p.completion}" for p in pairs(60, 0)]
    model, tokenizer = make_local_model(texts, BaseModelConfig(vocab_size=400), seed=0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out: dict[str, Path] = {}
    for kind in KINDS:
        out[kind] = tmp_path_factory.mktemp(kind) / "out"
        work = tmp_path_factory.mktemp(f"{kind}_work")
        metrics = train_sft(
            pairs(64, 0), pairs(16, 1), settings(kind, str(base)), out[kind], work, seed=0
        )
        assert metrics["adapter"]["held_loss"] < metrics["adapter"]["held_loss_before"], kind
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_adapter_changes_what_the_base_writes(
    kind: AdapterKind, trained: dict[str, Path], base: Path
) -> None:
    tuned, tokenizer = load_reasoner(trained[kind])
    plain, _ = load_model(base)
    shown = [p.prompt for p in pairs(6, 2)], [p.completion for p in pairs(6, 2)]
    after = sequence_log_probs(tuned, tokenizer, *shown).mean()
    assert after > sequence_log_probs(plain.eval(), tokenizer, *shown).mean()


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "full"])
def test_only_the_adapter_is_new_on_disk(
    kind: AdapterKind, trained: dict[str, Path], base: Path
) -> None:
    before = load_file(base / "model.safetensors")
    after = load_file(trained[kind] / "base" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    weights = load_file(trained[kind] / "adapter" / "adapter_model.safetensors")
    size = sum(w.numel() for w in weights.values())
    assert 0 < size < sum(w.numel() for w in before.values()) / 5


@pytest.mark.parametrize("kind", ["prefix", "prompt"])
def test_virtual_tokens_score_as_pefts_own_forward(
    kind: AdapterKind, trained: dict[str, Path]
) -> None:
    model, tokenizer = load_model(trained[kind] / "base")
    with quiet_libraries():
        peft = PeftModel.from_pretrained(model, str(trained[kind] / "adapter")).eval()
    ours, _ = load_reasoner(trained[kind])
    ids = torch.tensor(tokenizer(text=["watch | likes: price ->"])["input_ids"])
    with torch.no_grad():
        expected = peft(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        got = ours(input_ids=ids).logits
    # PEFT's prompt tuning returns the virtual tokens' logits too.
    assert torch.allclose(got, expected[:, -ids.shape[1] :], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_generation_is_the_same_in_any_batch(kind: AdapterKind, trained: dict[str, Path]) -> None:
    model, tokenizer = load_reasoner(trained[kind])
    prompts = [p.prompt[i % 5 :] for i, p in enumerate(pairs(9, 3))]
    alone = generate(model, tokenizer, prompts, max_new_tokens=8, batch_size=1, seed=4)
    assert generate(model, tokenizer, prompts, max_new_tokens=8, batch_size=9, seed=4) == alone
    again, _ = load_reasoner(trained[kind])
    assert generate(again, tokenizer, prompts, max_new_tokens=8, seed=4) == alone


def test_the_penalty_is_zero_for_orthonormal_factors_and_grows_away_from_them() -> None:
    model, _ = make_local_model(["words to read"], BaseModelConfig(vocab_size=400), seed=0)
    config = make_adapter(AdapterConfig(kind="adalora", r=2), steps=20)
    assert config is not None
    with quiet_libraries():
        tuned = get_peft_model(model, config)
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                torch.nn.init.orthogonal_(weight)
        assert float(orthogonality(tuned)) == pytest.approx(0, abs=1e-4)
        for name, weight in tuned.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                weight *= 2**0.5
        # 2 I - I = I of rank 3 (init_r = 3 r / 2): Frobenius norm sqrt(3), times PEFT's weight 0.5.
        assert float(orthogonality(tuned)) == pytest.approx(0.5 * 3**0.5, rel=1e-3)
    plain, _ = make_local_model(["words to read"], BaseModelConfig(vocab_size=400), seed=0)
    assert orthogonality(plain) == 0


def test_flags_of_lora_are_refused_elsewhere() -> None:
    with pytest.raises(ValidationError, match="dora is a flag of kind lora, but kind is prefix"):
        AdapterConfig(kind="prefix", dora=True)


@pytest.mark.parametrize("flag", ["dora", "rslora"])
def test_flags_of_lora_reach_peft(flag: str) -> None:
    config = make_adapter(AdapterConfig.model_validate({flag: True}), steps=5)
    assert getattr(config, f"use_{flag}") is True


@pytest.mark.parametrize("flag", ["dora", "rslora"])
def test_flags_of_lora_train_on_a_local_model_and_come_back(flag: str, tmp_path: Path) -> None:
    # A local model has weight rows of zeros, by whose length DoRA would divide.
    adapter = AdapterConfig.model_validate({"r": 4, flag: True})
    changes = {"adapter": adapter, "adapter_lr": 1e-3, "base_steps": 4}
    config = settings("lora").model_copy(update=changes)
    metrics = train_sft(pairs(32, 0), pairs(8, 1), config, tmp_path / "o", tmp_path / "w", 0)
    assert metrics["adapter"]["held_loss"] < metrics["adapter"]["held_loss_before"]
    merged, tokenizer = load_reasoner(tmp_path / "o")
    base, _ = load_model(tmp_path / "o" / "base")
    ids = torch.tensor(tokenizer(text=["watch | likes: price ->"])["input_ids"])
    with torch.no_grad(), quiet_libraries():
        beside = PeftModel.from_pretrained(base, str(tmp_path / "o" / "adapter")).eval()
        torch.testing.assert_close(
            merged(ids).logits, beside(input_ids=ids).logits, atol=1e-4, rtol=1e-4
        )


def test_accumulated_parts_make_the_same_update(tmp_path: Path, base: Path) -> None:
    texts = [Pair("watch | likes: battery ->", "lasts days") for _ in range(16)]
    weights = []
    for parts in (1, 4):
        config = settings("lora", str(base), accumulate=parts)
        train_sft(texts, texts, config, tmp_path / f"o{parts}", tmp_path / f"w{parts}", seed=0)
        weights.append(load_file(tmp_path / f"o{parts}" / "adapter" / "adapter_model.safetensors"))
    for name, weight in weights[0].items():
        # Adam divides by tiny second moments, which rounding of sums shifts a little.
        assert torch.allclose(weight, weights[1][name], atol=2e-3), name
