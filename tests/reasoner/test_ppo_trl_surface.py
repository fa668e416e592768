"""Pins the parts of TRL 1.16 that policies/reasoner/ppo.py overrides or leans on.

When one of these fails after an upgrade of TRL, read the named method in the new release and
check the override of the same name in ppo.py before changing the pin.
"""

import inspect

import pytest
import trl
from transformers import Trainer
from trl import GRPOTrainer
from trl.trainer.utils import split_tensor_dict

ADVICE = "TRL changed under policies/reasoner/ppo.py: check its override of {} against TRL {}."


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_generate", ["prompts"]),
        (
            "_generate_single_turn",
            ["prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"],
        ),
        ("_prepare_inputs", ["generation_batch"]),
        ("_calculate_rewards", ["inputs", "prompts", "completions", "completion_ids_list"]),
        ("_generate_and_score_completions", ["inputs"]),
        ("_compute_loss", ["model", "inputs"]),
        ("_save_optimizer_and_scheduler", ["output_dir"]),
        ("_load_optimizer_and_scheduler", ["checkpoint"]),
        ("create_optimizer", ["model"]),
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


def test_splitting_keeps_rows_in_order() -> None:
    assert list(inspect.signature(split_tensor_dict).parameters) == ["tensor_dict", "num_chunks"]
