"""PPO: exact where it shares work, learning, resuming, and saying what a reward did wrong."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from envs.errors import UserError
from envs.progress import silent
from policies.reasoner.alarms import AlarmsConfig, Limit
from policies.reasoner.config import PpoConfig
from policies.reasoner.generate import generate, load_reasoner
from policies.reasoner.ppo import PpoTrainer
from policies.reasoner.reward import Reward, Scores
from policies.reasoner.train import make_trainer, train_ppo
from policies.reasoner.watch import Watch
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


def train(
    sft: Path,
    tmp_path: Path,
    reward: Reward = fits,
    held_prompts: Sequence[dict[str, Any]] = (),
    **changes: Any,
) -> dict[str, Any]:
    config = SMALL.model_copy(update=changes)
    folders = tmp_path / "out", tmp_path / "work"
    return train_ppo(sft, ROWS, reward, config, *folders, seed=0, held_prompts=held_prompts)


def curve(tmp_path: Path) -> list[dict[str, float]]:
    return json.loads((tmp_path / "out" / "curve.json").read_text())


def built(sft: Path, tmp_path: Path, **changes: Any) -> PpoTrainer:
    model, tokenizer = load_reasoner(sft)
    config = SMALL.model_copy(update=changes)
    with quiet_libraries():
        watch = Watch(config, silent)
        trainer = make_trainer(config, model, tokenizer, ROWS, fits, tmp_path, 0, watch)
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

    read = trainer._read(trainer.model, ids, attended, width, entropy=True, states=True)
    shared = torch.autograd.grad((read.logps * mask).sum(), adapter)
    outputs = trainer.model(
        input_ids=ids,
        attention_mask=attended,
        position_ids=(attended.cumsum(1) - 1).clamp(min=0),
        output_hidden_states=True,
    )
    log_all = (outputs.logits[:, -width - 1 : -1] / trainer.temperature).log_softmax(-1)
    plain = log_all.gather(-1, ids[:, -width:, None]).squeeze(-1)
    expected = torch.autograd.grad((plain * mask).sum(), adapter)

    by_hand = torch.distributions.Categorical(logits=log_all).entropy()
    states, before = outputs.hidden_states[-1][:, -width - 1 : -1], mask[..., None]
    assert trainer._trace is not None
    # What is read, and what the writing took down.
    for trace in (read, trainer._trace.of_length(width)):
        torch.testing.assert_close(trace.logps * mask, plain * mask, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(trace.entropies * mask, by_hand * mask, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(trace.states * before, states * before, atol=1e-5, rtol=1e-4)
    for one, other in zip(shared, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_a_fresh_batch_has_a_zero_kl_and_whitened_advantages(
    toy_sft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = built(toy_sft, tmp_path)
    judged, judge = [], trainer._judge

    def remembered(*given: torch.Tensor) -> torch.Tensor:
        judged.append(judge(*given))
        return judged[-1]

    monkeypatch.setattr(trainer, "_judge", remembered)
    batch = scored(trainer)
    mask = batch["completion_mask"].bool()
    assert batch["advantages"].shape == batch["completion_ids"].shape
    assert float(batch["advantages"][mask].mean()) == pytest.approx(0, abs=1e-5)
    assert trainer._metrics["train"]["kl"][-1] == pytest.approx(0, abs=1e-8)
    # The critic starts at 0 and there is no KL yet, so before whitening every advantage is the
    # terminal one discounted by lambda: along a completion they rise by 1 / lambda each token.
    raw, last = judged[0], mask.sum(1) - 1
    terminal = raw[torch.arange(16), last]
    lam, steps = 0.95, last[:, None] - torch.arange(raw.size(1))
    expected = terminal[:, None] * lam**steps * mask
    torch.testing.assert_close(raw, expected, atol=1e-6, rtol=1e-5)


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


class Killed(BaseException):
    """Stands for a kill: nothing in the training may catch it."""


def saved_adapter(tmp_path: Path) -> dict[str, torch.Tensor]:
    return load_file(tmp_path / "out" / "adapter" / "adapter_model.safetensors")


@pytest.mark.parametrize(
    "changes",
    [
        {"kl_target": 0.1, "accumulate": 2},
        {"critic": "separate", "kl_in": "loss", "kl_target": 0.1, "entropy_coefficient": 0.01},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    toy_sft: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {
        **changes, "held_prompts": ROWS[:20], "cycles": 3, "eval_every": 2,
    }  # fmt: skip
    train(toy_sft, tmp_path / "whole", **settings)
    cycles = 0

    def killing(texts: list[str], written: list[str], columns: dict[str, list[Any]]) -> np.ndarray:
        nonlocal cycles
        cycles += len(written) == 32  # the other calls are for held-out prompts
        if cycles == 3:
            raise Killed
        return fits(texts, written, columns)

    with pytest.raises(Killed):
        train(toy_sft, tmp_path / "cut", killing, **settings)
    assert not (tmp_path / "cut" / "out").exists()
    resumed = train(toy_sft, tmp_path / "cut", killing, **settings)
    assert cycles == 4  # three cycles, the last of them killed and done again from checkpoint two
    whole, cut = curve(tmp_path / "whole"), curve(tmp_path / "cut")
    timeless = [name for name in whole[-1] if not name.startswith("seconds")]
    assert {"reward", "kl_sequence", "kl_coefficient", "held_reward"} <= set(timeless)
    for name in timeless:
        assert [row.get(name) for row in cut] == [row.get(name) for row in whole], name
    assert resumed["kept_cycle"] in (0, 2, 3)
    weights = saved_adapter(tmp_path / "whole")
    for name, weight in saved_adapter(tmp_path / "cut").items():
        torch.testing.assert_close(weight, weights[name], rtol=0, atol=0)


class Counting:
    """A reward that keeps count of the batches it has learned from, and pays for it."""

    def __init__(self) -> None:
        self.learned = 0

    def __call__(self, *asked: Any) -> np.ndarray:
        return fits(*asked) + self.learned

    def learn(self, *asked: Any) -> np.ndarray:
        self.learned += 1
        return self(*asked)

    def state(self) -> dict[str, np.ndarray]:
        return {"learned": np.array(self.learned)}

    def load(self, state: dict[str, np.ndarray]) -> None:
        self.learned = int(state["learned"])


@pytest.mark.parametrize("algorithm", ["ppo", "grpo", "rloo"])
def test_all_algorithms_run_and_a_learning_reward_goes_on_after_a_kill(
    toy_sft: Path, tmp_path: Path, algorithm: str
) -> None:
    class Killing(Counting):
        def learn(self, *asked: Any) -> np.ndarray:
            if self.learned == 2:
                raise Killed
            return super().learn(*asked)

    setup: dict[str, Any] = {"cycles": 3, "algorithm": algorithm, "held_prompts": ROWS[:9]}
    with pytest.raises(Killed):
        train(toy_sft, tmp_path, Killing(), **setup)
    reward = Counting()
    metrics = train(toy_sft, tmp_path, reward, **setup)
    assert metrics["cycles"] == 3
    assert reward.learned == 3
    assert metrics["held_reward"] > metrics["held_reward_first"] + 1  # it pays for what it learned
    assert (tmp_path / "out" / "adapter" / "adapter_model.safetensors").is_file()


def test_a_budget_in_seconds_stops(toy_sft: Path, tmp_path: Path) -> None:
    assert train(toy_sft, tmp_path, cycles=None, seconds=1e-3)["cycles"] == 1


def test_a_reward_that_is_not_finite_is_named(toy_sft: Path, tmp_path: Path) -> None:
    def broken(texts: list[str], written: list[str], columns: dict[str, list[Any]]) -> np.ndarray:
        return np.full(len(written), np.nan)

    with pytest.raises(UserError, match="reward 'broken' is nan for the completion"):
        train(toy_sft, tmp_path, broken)
    assert not (tmp_path / "out").exists()


def test_a_reward_that_tells_nothing_apart_is_named(toy_sft: Path, tmp_path: Path) -> None:
    def flat(texts: list[str], written: list[str], columns: dict[str, list[Any]]) -> np.ndarray:
        return np.full(len(written), 0.1)

    limits = AlarmsConfig(constant_cycles=2)
    with pytest.raises(UserError, match=r"last 2 cycles every completion got the same reward"):
        train(toy_sft, tmp_path, flat, alarms=limits)
    assert not (tmp_path / "out").exists()


def test_an_alarm_that_stops_ends_the_training_and_the_best_policy_is_saved(
    toy_sft: Path, tmp_path: Path
) -> None:
    # Training pays for the shopper's fact, but the held-out prompts pay for silence about it: the
    # best policy there is the one before training.
    def torn(texts: list[str], written: list[str], columns: dict[str, list[Any]]) -> np.ndarray:
        sign = -1 if "held" in columns else 1
        return sign * fits(texts, written, columns)

    figures = train(
        toy_sft,
        tmp_path,
        torn,
        held_prompts=[{**row, "held": True} for row in ROWS[:200]],
        cycles=30,
        completions=64,
        eval_every=5,
        alarms=AlarmsConfig(held_reward=Limit(limit=1.0, action="stop")),
    )
    assert figures["cycles"] < 30
    (alarm,) = [one for one in figures["alarms"] if one["name"] == "held_reward"]
    assert alarm["action"] == "stop"
    assert alarm["cycle"] == figures["cycles"]
    assert alarm["value"] > alarm["limit"] == 1
    assert figures["kept_cycle"] == 0
    assert figures["held_reward"] == figures["held_reward_first"]
    kept = saved_adapter(tmp_path)
    assert all(not weight.any() for name, weight in kept.items() if "lora_B" in name)


def test_parts_and_vetoes_of_a_reward_are_in_the_curve(toy_sft: Path, tmp_path: Path) -> None:
    def parted(texts: list[str], written: list[str], columns: dict[str, list[Any]]) -> Scores:
        total = fits(texts, written, columns)
        return Scores(total, {"double": 2 * total}, vetoed=total == 0)

    train(toy_sft, tmp_path, parted, cycles=2)
    for row in curve(tmp_path):
        assert row["part_double"] == pytest.approx(2 * row["reward"])
        assert row["vetoed"] == pytest.approx(1 - row["reward"])
        assert 0 < row["distinct2"] <= 1


def test_the_entropy_bonus_has_a_gradient(toy_sft: Path, tmp_path: Path) -> None:
    gradients = []
    for coefficient in (0.0, 0.5):
        folder = tmp_path / str(coefficient)
        trainer = built(toy_sft, folder, entropy_coefficient=coefficient, minibatches=1)
        batch = scored(trainer)
        batch["advantages"] = torch.zeros_like(batch["advantages"])
        trainer.current_gradient_accumulation_steps = 1
        trainer._compute_loss(trainer.model, batch).backward()
        weights = [p for name, p in trainer.model.named_parameters() if "lora_B" in name]
        gradients.append(sum(float(w.grad.abs().sum()) for w in weights if w.grad is not None))
    assert gradients[0] == 0
    assert gradients[1] > 0


def test_the_kl_in_the_loss_pulls_back_and_is_no_reward(toy_sft: Path, tmp_path: Path) -> None:
    trainer = built(toy_sft, tmp_path, kl_in="loss", kl_coefficient=0.5)
    batch = scored(trainer)
    batch["advantages"] = torch.zeros_like(batch["advantages"])
    # A reference that is 1 nat likelier on every token: k3 is e - 2 of each.
    batch["ref_per_token_logps"] = batch["old_per_token_logps"] + 1
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer._compute_loss(trainer.model, batch)
    assert loss.item() == pytest.approx(0.5 * (np.e - 2), rel=1e-4)
    assert trainer.beta == 0


@pytest.mark.parametrize("critic", ["head", "separate"])
def test_a_critic_reads_the_states_it_is_named_for(
    toy_sft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, critic: str
) -> None:
    trainer = built(toy_sft, tmp_path, critic=critic)
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05, generator=torch.Generator().manual_seed(0))
    read: list[torch.Tensor] = []
    judge = trainer._judge

    def spying(states: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        read.append(states)
        return judge(states, *rest)

    monkeypatch.setattr(trainer, "_judge", spying)
    batch = scored(trainer)
    of_batch = trainer._of_batch(batch)
    with torch.no_grad():
        own = trainer._own_trace(*of_batch).states
        with trainer.model.disable_adapter():
            reference = trainer._read(trainer.model, *of_batch, states=True).states
    torch.testing.assert_close(read[0], reference if critic == "separate" else own)
    assert trainer._metrics["train"]["kl_sequence"][-1] != 0


def test_a_reward_of_the_wrong_length_is_named(toy_sft: Path, tmp_path: Path) -> None:
    def short(texts: list[str], written: list[str], columns: dict[str, list[Any]]) -> np.ndarray:
        return np.zeros(3)

    with pytest.raises(UserError, match=r"'short' must be one number for each of 32 comp"):
        train(toy_sft, tmp_path, short)


def test_vllm_that_is_not_installed_is_said_before_anything_starts(
    toy_sft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="use_vllm is true but the package vllm is not installed"):
        train(toy_sft, tmp_path, use_vllm=True)
    assert not (tmp_path / "work").exists()


def test_a_model_too_small_for_its_tokenizer_is_named(toy_sft: Path, tmp_path: Path) -> None:
    model, tokenizer = load_reasoner(toy_sft)
    with quiet_libraries():
        model.resize_token_embeddings(len(tokenizer) - 7)
    model.save_pretrained(tmp_path / "sft" / "base")
    tokenizer.save_pretrained(tmp_path / "sft" / "base")
    tokens = len(tokenizer)
    with pytest.raises(UserError, match=rf"has {tokens} tokens, but the model embeds {tokens - 7}"):
        train(tmp_path / "sft", tmp_path)


def test_an_adapter_of_another_base_is_named(toy_sft: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_sft, tmp_path / "sft")
    path = tmp_path / "sft" / "adapter" / "adapter_model.safetensors"
    weights = {name: torch.zeros(3, 3) for name in load_file(path)}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"adapter in .* does not fit the base beside it"):
        train(tmp_path / "sft", tmp_path)


def test_budgets_and_batches_are_checked(
    toy_sft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValidationError, match="give a budget in `seconds` or in `cycles`"):
        PpoConfig(seconds=10.0, cycles=10)
    with pytest.raises(ValidationError, match="must be a multiple of generations times"):
        PpoConfig(completions=40, generations=8, minibatches=4)
    with pytest.raises(ValidationError, match="kl_target multiplies kl_coefficient"):
        PpoConfig(kl_target=5.0, kl_coefficient=0.0)
    with pytest.raises(ValidationError, match="rloo has no bonus"):
        PpoConfig(algorithm="rloo", entropy_coefficient=0.1)
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match=r"completions \(32\) must be a multiple of 24 .* 3 proc"):
        train(toy_sft, tmp_path)
