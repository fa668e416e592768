"""What is checked before anything trains: mistakes are one line and leave nothing, doubts warn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from envs.errors import UserError
from experiments.cli import cli
from experiments.console import run_cli
from sft.base_model import make_local_model
from sft.checks import (
    check_batch,
    check_lengths,
    check_rates,
    check_settings,
    check_trackers,
    tokens_needed,
    unheard,
)
from sft.train import train_sft
from sft.train_config import AdapterConfig, AdapterKind, BaseModelConfig, SftConfig
from tests.sft.test_sft_train import pairs

ROOT = Path(__file__).parents[2]
MINI = ROOT / "experiments" / "configs" / "mini.yaml"


def rate_warnings(kind: AdapterKind = "lora", model: str = "local", **rates: float) -> list[str]:
    told: list[str] = []
    config = SftConfig.model_validate(
        {"base": {"model": model}, "adapter": {"kind": kind}, **rates}
    )
    check_rates(config, told.append)
    return told


def test_the_default_rates_are_sane() -> None:
    assert rate_warnings() == []


@pytest.mark.parametrize(
    ("kind", "model", "rates", "words"),
    [
        ("lora", "local", {"adapter_lr": 0.5}, "sft.adapter_lr is 0.5, which often diverges"),
        ("lora", "local", {"adapter_lr": 1e-8}, "learns next to nothing with adapter.kind lora"),
        ("lora", "local", {"base_lr": 0.1}, "sft.base_lr is 0.1, which often diverges"),
        # What suits a model made from scratch destroys one that knows language.
        ("full", "owner/model", {"adapter_lr": 1e-3}, "usual is 1e-07 to 0.0003"),
    ],
)
def test_a_rate_out_of_range_is_told(
    kind: AdapterKind, model: str, rates: dict[str, float], words: str
) -> None:
    (line,) = rate_warnings(kind, model, **rates)
    assert words in line


def test_virtual_tokens_bear_high_rates_and_a_brought_model_has_no_base_rate() -> None:
    assert rate_warnings("prompt", adapter_lr=0.3) == []
    assert rate_warnings("lora", "owner/model", base_lr=5.0) == []


def test_lengths_warn_from_a_twentieth_left_out_and_fail_when_none_fits() -> None:
    told: list[str] = []
    check_lengths("training", [10] * 95 + [21] * 5, 20, 512, told.append)
    assert told == []
    check_lengths("training", [10] * 94 + [21] * 6, 20, 512, told.append)
    assert told == [
        "6 of 100 training pairs are longer than sft.max_length 20 and are left out; "
        "99 % have at most 21 tokens"
    ]
    with pytest.raises(UserError, match="no held-out pair fits max_length 20, the shortest has 21"):
        check_lengths("held-out", [30, 21], 20, 512, told.append)
    with pytest.raises(UserError, match="has 600 tokens: the model reads at most 512"):
        check_lengths("held-out", [600], 20, 512, told.append)


def test_virtual_tokens_need_room_too() -> None:
    config = SftConfig(max_length=100, adapter=AdapterConfig(kind="prompt", virtual_tokens=7))
    assert tokens_needed(config) == 107
    assert tokens_needed(SftConfig(max_length=100)) == 100


def test_a_batch_larger_than_the_data_is_named() -> None:
    check_batch(SftConfig(batch_size=8), "adapter", 8)
    with pytest.raises(UserError, match="batch_size 8 is larger than the 7 pairs that the adapter"):
        check_batch(SftConfig(batch_size=8), "adapter", 7)


def test_a_prefix_cannot_be_trained_with_gradient_checkpointing() -> None:
    check_settings(SftConfig(gradient_checkpointing=True), unheard)
    prefix = SftConfig(gradient_checkpointing=True, adapter=AdapterConfig(kind="prefix"))
    with pytest.raises(UserError, match="PEFT cannot train a prefix so"):
        check_settings(prefix, unheard)


def test_trackers_that_cannot_be_used_are_named() -> None:
    check_trackers(("tensorboard",))
    with pytest.raises(UserError, match=r"'wandbb' is no tracker; .* Did you mean 'wandb'\?"):
        check_trackers(("wandbb",))
    with pytest.raises(UserError, match="wandb is not installed: pip install wandb"):
        check_trackers(("wandb",))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch_size": 64}, "larger than the 20 pairs that the base is trained on"),
        ({"max_length": 8}, "no training pair fits max_length 8"),
        ({"max_length": 600}, "need 600 tokens, but the model reads at most 512"),
        ({"base": {"model": "./nowhere"}}, "./nowhere is not a model folder"),
        ({"report_to": ["paper"]}, "'paper' is no tracker"),
    ],
)
def test_a_mistake_is_met_before_anything_is_written(
    settings: dict[str, object], words: str, tmp_path: Path
) -> None:
    config = SftConfig.model_validate({"batch_size": 8, **settings})
    with pytest.raises(UserError, match=words) as error:
        train_sft(pairs(20, 0), pairs(9, 1), config, tmp_path / "out", tmp_path / "work", 0)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_no_pairs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no training pairs"):
        train_sft([], pairs(9, 1), SftConfig(), tmp_path / "out", tmp_path / "work", 0)
    with pytest.raises(UserError, match="there are no held-out pairs"):
        train_sft(pairs(9, 1), [], SftConfig(), tmp_path / "out", tmp_path / "work", 0)


# --- through the command line -------------------------------------------------------------------


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The command line chooses its number of threads, which the tests after it must not keep."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run") / "mini"


def model_without_an_end(folder: Path) -> Path:
    model, tokenizer = make_local_model(["words"], BaseModelConfig(vocab_size=300), seed=0)
    model.save_pretrained(folder)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sft.base.model=no/such/folder", "no/such/folder is not a model folder"),
        ("sft.base.model=ENDLESS", "has no end-of-text token"),
        ("sft.max_length=8", "no training pair fits max_length 8, the shortest has"),
        ("sft.max_length=4096", "need 4096 tokens, but the model reads at most 512"),
        ("sft.batch_size=5000", "batch_size 5000 is larger than the"),
    ],
)
def test_the_command_ends_with_one_line_and_nothing_half_written(
    override: str,
    words: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "ENDLESS" in override:
        override = override.replace("ENDLESS", str(model_without_an_end(tmp_path / "endless")))
    capsys.readouterr()  # what saving that model said
    arguments = ["sft", str(MINI), "--out", str(folder), "--set", override, "--quiet"]
    with pytest.raises(SystemExit) as ended:
        run_cli(cli, arguments)
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.strip().splitlines()
    assert words in line
    assert [p.name for p in folder.iterdir() if "sft" in p.name] == []
