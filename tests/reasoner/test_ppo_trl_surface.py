"""Pins the parts of TRL 1.16 that policies/reasoner/ppo.py overrides or leans on.

When one of these fails after an upgrade of TRL, read the named method in the new release and
check the override of the same name in ppo.py before changing the pin.
"""

import inspect
from typing import Any

import pytest
import trl
from transformers import Trainer
from trl import GRPOTrainer
from trl.trainer.utils import split_tensor_dict

from policies.reasoner import train
from sft.base_model import encode_prompts, make_tokenizer

ADVICE = "TRL changed under policies/reasoner/ppo.py: check its override of {} against TRL {}."


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_generate", ["prompts"]),
        (
            "_generate_single_turn",
            ["prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"],
        ),
        ("_tokenize_prompts", ["prompts"]),
        ("_prepare_inputs", ["generation_batch"]),
        ("_calculate_rewards", ["inputs", "prompts", "completions", "completion_ids_list"]),
        ("_generate_and_score_completions", ["inputs"]),
        ("_compute_loss", ["model", "inputs"]),
        ("_save_optimizer_and_scheduler", ["output_dir"]),
        ("_load_optimizer_and_scheduler", ["checkpoint"]),
    ],
)
def test_overridden_methods_keep_their_signature(name: str, parameters: list[str]) -> None:
    found = list(inspect.signature(getattr(GRPOTrainer, name)).parameters)[1:]
    assert found == parameters, ADVICE.format(name, trl.__version__)


def test_the_scoring_method_starts_with_the_same_arguments() -> None:
    name = "_get_per_token_logps_and_entropies"
    found = list(inspect.signature(getattr(GRPOTrainer, name)).parameters)[1:7]
    expected = [
        "model",
        "input_ids",
        "attention_mask",
        "logits_to_keep",
        "batch_size",
        "compute_entropy",
    ]
    assert found == expected, ADVICE.format(name, trl.__version__)


@pytest.mark.parametrize(
    ("method", "line"),
    [
        # The loss takes advantages per token, (B, T), from a subclass.
        ("_compute_loss", "if advantages.dim() == 1:"),
        # The loss reads the log-probs of the sampling policy from the batch.
        ("_compute_loss", 'old_per_token_logps = inputs.get("old_per_token_logps")'),
        # Without scaling, the batch's advantages are rewards less their group's mean.
        ("_generate_and_score_completions", "advantages = rewards - mean_grouped_rewards"),
        # With a coefficient the loss adds the k3 KL from the reference in the batch (kl_in: loss),
        # and the entropy that our scoring returns.
        ("_compute_loss", 'ref_per_token_logps = inputs["ref_per_token_logps"]'),
        ("_compute_loss", "per_token_loss = per_token_loss + self.beta * per_token_kl"),
        ("_compute_loss", "if self._entropy_bonus_enabled:"),
        # A cycle's scoring reads the reference only where beta is not 0, which it is in between.
        ("_generate_and_score_completions", "if self.beta != 0.0:"),
        # The rewards of all processes come back, one column a function; ours is the only one.
        ("_calculate_rewards", "rewards_per_func = gather(rewards_per_func)"),
        # A reward function may log figures.
        ("_calculate_rewards", 'reward_kwargs["log_metric"] = self._log_metric'),
        # vLLM writes the completions where it is asked to.
        ("_generate_single_turn", "if self.use_vllm:"),
        # The figures of a cycle gather here.
        ("log", "self._metrics[mode]"),
    ],
)
def test_lines_that_ppo_leans_on_are_there(method: str, line: str) -> None:
    source = inspect.getsource(getattr(GRPOTrainer, method))
    assert line in source, ADVICE.format(method, trl.__version__) + f" Missing line: {line}"


def test_the_optimiser_is_saved_before_the_file_that_marks_a_checkpoint_whole() -> None:
    source = inspect.getsource(Trainer._save_checkpoint)
    saves = source.index("_save_optimizer_and_scheduler"), source.index("TRAINER_STATE_NAME")
    assert saves == tuple(sorted(saves)), "a killed save could leave a checkpoint without critic"


def test_each_process_draws_its_own_completions() -> None:
    source = inspect.getsource(GRPOTrainer.__init__)
    assert "set_seed(args.seed, device_specific=True)" in source


def test_splitting_keeps_rows_in_order() -> None:
    assert list(inspect.signature(split_tensor_dict).parameters) == ["tensor_dict", "num_chunks"]


def test_every_algorithm_reads_prompts_as_the_training_before_it_did() -> None:
    """TRL's own way would pass by a chat template and take forged special tokens for real ones."""
    asked = ["a watch", "a watch<eos>"]
    kinds: tuple[Any, ...] = (train._Ppo, train._Grpo, train._Rloo)
    for trainer in kinds:
        reader = object.__new__(trainer)
        reader._tokenizer = tokenizer = make_tokenizer(["a watch for all"], 300)
        ids, images, fields = reader._tokenize_prompts(asked)
        assert ids == encode_prompts(tokenizer, asked)
        assert tokenizer.eos_token_id not in ids[1]
        assert images is None
        assert fields == {}
