"""PPO: exact where it shares work, learning, resuming, and saying what a reward did wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from envs.errors import UserError
from policies.reasoner.generate import generate, load_reasoner
from policies.reasoner.ppo import PpoTrainer
from policies.reasoner.train import PpoConfig, Reward, _Budget, _trainer, train_ppo
from sft.base_model import load_model
from sft.quiet import quiet_libraries
from tests.reasoner.reasoner_toy import fits, prompts

SMALL = PpoConfig(
    seconds=None,
    cycles=4,
    completions=32,
    generations=4,
    minibatches=2,
    max_new_tokens=8,
    learning_rate=1e-3,
    kl_coefficient=0.02,
    checkpoint_every=2,
)
ROWS = prompts(400, np.random.default_rng(11))


def train(sft: Path, tmp_path: Path, reward: Reward = fits, **changes: Any) -> dict[str, Any]:
    config = SMALL.model_copy(update=changes)
    return train_ppo(sft, ROWS, reward, config, tmp_path / "out", tmp_path / "work", seed=0)


def curve(tmp_path: Path) -> list[dict[str, float]]:
    return json.loads((tmp_path / "out" / "curve.json").read_text())


def built(sft: Path, tmp_path: Path) -> PpoTrainer:
    model, tokenizer = load_reasoner(sft)
    budget = _Budget(SMALL, lambda done, total, figures: None)
    with quiet_libraries():
        trainer = _trainer(SMALL, model, tokenizer, ROWS, fits, tmp_path, 0, budget)
    assert isinstance(trainer, PpoTrainer)
    return trainer


def scored(trainer: PpoTrainer) -> dict[str, Any]:
    """Return a scored batch of 16 completions of 4 prompts."""
    with quiet_libraries():
        return trainer._generate_and_score_completions(
            [{"prompt": ROWS[i // 4]["prompt"], "row": i // 4} for i in range(16)]
        )


def test_sharing_a_prompt_changes_neither_scores_nor_gradients(
    toy_sft: Path, tmp_path: Path
) -> None:
    trainer = built(toy_sft, tmp_path)
    batch = scored(trainer)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    attended = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    width, mask = batch["completion_ids"].size(1), batch["completion_mask"]
    adapter = [p for name, p in trainer.model.named_parameters() if "lora_" in name]
    assert adapter

    logps, entropy, _ = trainer._get_per_token_logps_and_entropies(
        trainer.model, ids, attended, width, compute_entropy=True
    )
    shared = torch.autograd.grad((logps * mask).sum(), adapter)
    outputs = trainer.model(
        input_ids=ids,
        attention_mask=attended,
        position_ids=(attended.cumsum(1) - 1).clamp(min=0),
        output_hidden_states=True,
    )
    log_all = (outputs.logits[:, -width - 1 : -1] / trainer.temperature).log_softmax(-1)
    plain = log_all.gather(-1, ids[:, -width:, None]).squeeze(-1)
    expected = torch.autograd.grad((plain * mask).sum(), adapter)

    torch.testing.assert_close(logps * mask, plain * mask, atol=1e-5, rtol=1e-4)
    assert entropy is not None
    by_hand = torch.distributions.Categorical(logits=log_all).entropy()
    torch.testing.assert_close(entropy * mask, by_hand * mask, atol=1e-5, rtol=1e-4)
    values = trainer.critic(outputs.hidden_states[-1][:, -width - 1 : -1])
    torch.testing.assert_close(trainer._values * mask, values * mask, atol=1e-5, rtol=1e-4)
    for one, other in zip(shared, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_a_fresh_batch_has_a_zero_kl_and_whitened_advantages(toy_sft: Path, tmp_path: Path) -> None:
    trainer = built(toy_sft, tmp_path)
    batch = scored(trainer)
    mask = batch["completion_mask"].bool()
    assert batch["advantages"].shape == batch["completion_ids"].shape
    assert float(batch["advantages"][mask].mean()) == pytest.approx(0, abs=1e-5)
    assert trainer._metrics["train"]["kl"][-1] == pytest.approx(0, abs=1e-8)
    # The critic starts at 0 and there is no KL yet, so every target is the terminal advantage
    # discounted by lambda: constant in sign along a completion.
    targets = batch["value_targets"]
    last = mask.sum(1) - 1
    terminal = targets[torch.arange(16), last]
    lam, steps = 0.95, last[:, None] - torch.arange(targets.size(1))
    expected = terminal[:, None] * lam**steps * mask
    torch.testing.assert_close(targets, expected, atol=1e-6, rtol=1e-5)


def test_ppo_raises_the_reward_beyond_noise(toy_sft: Path, tmp_path: Path) -> None:
    held = prompts(300, np.random.default_rng(12))

    def rewards(folder: Path) -> np.ndarray:
        model, tokenizer = load_reasoner(folder)
        texts = [row["prompt"] for row in held]
        written = generate(model, tokenizer, texts, max_new_tokens=8, seed=1)
        return fits(texts, written, {"likes": [row["likes"] for row in held]})

    metrics = train(toy_sft, tmp_path, cycles=20, completions=64)
    gain = rewards(tmp_path / "out") - rewards(toy_sft)
    assert gain.mean() > 3 * gain.std() / len(gain) ** 0.5
    assert metrics["cycles"] == 20
    assert metrics["reward_last"] > metrics["reward_first"]
    rows = curve(tmp_path)
    named = {"reward", "kl", "entropy", "vf_loss", "clip_fraction", "length", "seconds"}
    assert named <= set(rows[-1])
    assert rows[-1]["kl"] > 0


def test_the_base_it_saves_is_the_sft_policy(toy_sft: Path, tmp_path: Path) -> None:
    train(toy_sft, tmp_path, cycles=1)
    sft, tokenizer = load_reasoner(toy_sft)
    base, _ = load_model(tmp_path / "out" / "base")
    ids = torch.tensor([tokenizer(ROWS[0]["prompt"])["input_ids"]])
    torch.testing.assert_close(base(ids).logits, sft(ids).logits, atol=1e-5, rtol=1e-4)
    saved = json.loads((tmp_path / "out" / "adapter" / "adapter_config.json").read_text())
    assert saved["base_model_name_or_path"] == "../base"


class Killed(Exception):
    """Stands for a kill: nothing in the training may catch it."""


def test_a_killed_run_goes_on_as_if_nothing_had_happened(toy_sft: Path, tmp_path: Path) -> None:
    train(toy_sft, tmp_path / "whole")
    calls = 0

    def killing(texts: list[str], written: list[str], columns: dict[str, list[Any]]) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Killed
        return fits(texts, written, columns)

    with pytest.raises(Killed):
        train(toy_sft, tmp_path / "cut", killing)
    assert not (tmp_path / "cut" / "out").exists()
    train(toy_sft, tmp_path / "cut", killing)
    assert calls == 6  # three cycles, the kill, and again the cycles after checkpoint two
    whole, cut = curve(tmp_path / "whole"), curve(tmp_path / "cut")
    for name in ("cycle", "reward", "kl", "entropy", "vf_loss"):
        assert [row[name] for row in cut] == pytest.approx([row[name] for row in whole], rel=1e-4)


@pytest.mark.parametrize("algorithm", ["grpo", "rloo"])
def test_trls_own_algorithms_run(toy_sft: Path, tmp_path: Path, algorithm: str) -> None:
    metrics = train(toy_sft, tmp_path, cycles=2, algorithm=algorithm)
    assert metrics["cycles"] == 2
    assert (tmp_path / "out" / "adapter" / "adapter_model.safetensors").is_file()


def test_a_budget_in_seconds_stops(toy_sft: Path, tmp_path: Path) -> None:
    assert train(toy_sft, tmp_path, cycles=None, seconds=1e-3)["cycles"] == 1


def test_a_reward_that_is_not_finite_is_named(toy_sft: Path, tmp_path: Path) -> None:
    def broken(texts: list[str], written: list[str], columns: dict[str, list[Any]]) -> np.ndarray:
        return np.full(len(written), np.nan)

    with pytest.raises(UserError, match="reward 'broken' returned nan for the completion"):
        train(toy_sft, tmp_path, broken)
    assert not (tmp_path / "out").exists()


def test_a_reward_of_the_wrong_length_is_named(toy_sft: Path, tmp_path: Path) -> None:
    def short(texts: list[str], written: list[str], columns: dict[str, list[Any]]) -> np.ndarray:
        return np.zeros(3)

    with pytest.raises(UserError, match=r"'short' must return one number for each of 32 comp"):
        train(toy_sft, tmp_path, short)


def test_budgets_and_batches_are_checked() -> None:
    with pytest.raises(ValidationError, match="give a budget in `seconds` or in `cycles`"):
        PpoConfig(seconds=10.0, cycles=10)
    with pytest.raises(ValidationError, match="must be a multiple of generations times"):
        PpoConfig(completions=40, generations=8, minibatches=4)
