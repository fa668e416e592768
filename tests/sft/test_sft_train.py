"""SFT: the loss sees completions only, training lowers it, and a kill loses nothing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trl import SFTTrainer

from sft.base_model import load_model, make_local_model
from sft.completions import IGNORED, CompletionTrainer, Pair, encode_pairs, length_grouped
from sft.quiet import quiet_libraries
from sft.train import _arguments
from sft.train import train_sft as train
from sft.train_config import AdapterConfig, BaseModelConfig, SftConfig

CONFIG = SftConfig(
    base=BaseModelConfig(vocab_size=400),
    base_steps=30,
    adapter_steps=4,
    batch_size=16,
    evaluations=3,
)


def pairs(count: int, seed: int) -> list[Pair]:
    rng = np.random.default_rng(seed)
    facts = {"battery": "lasts days", "weight": "feels light", "price": "costs little"}
    aspects = [str(aspect) for aspect in rng.choice(list(facts), count)]
    return [Pair(f"watch | likes: {aspect} ->", facts[aspect]) for aspect in aspects]


def test_labels_are_the_completion_and_its_end() -> None:
    _, tokenizer = make_local_model(["some words to read"], CONFIG.base, seed=0)
    data = encode_pairs(tokenizer, [Pair("some words ->", "to read")])
    labels = [token for token in data[0]["labels"] if token != IGNORED]
    assert tokenizer.decode(labels) == " to read<eos>"
    prompt = data[0]["input_ids"][: len(data[0]["labels"]) - len(labels)]
    assert tokenizer.decode(prompt) == "some words ->"


def test_the_loss_is_trls_and_only_of_completions(tmp_path: Path) -> None:
    model, tokenizer = make_local_model([p.prompt for p in pairs(20, 0)], CONFIG.base, seed=0)
    # Prompts of several lengths, so that padding and the first labelled column matter.
    mixed = [Pair(p.prompt[index % 7 :], p.completion) for index, p in enumerate(pairs(8, 1))]
    data = encode_pairs(tokenizer, mixed)

    def loss(trainer_type: type[SFTTrainer]) -> float:
        with quiet_libraries():
            trainer = trainer_type(
                model=model,
                args=_arguments("base", CONFIG, tmp_path, 0),
                train_dataset=data,
                eval_dataset=data,
                processing_class=tokenizer,
            )
            columns = [{k: row[k] for k in ("input_ids", "labels")} for row in data]
            value = trainer.compute_loss(trainer.model, trainer.data_collator(columns))
            return float(value.detach())

    ours, trls = loss(CompletionTrainer), loss(SFTTrainer)
    by_hand = []
    for row in data:
        with torch.no_grad():
            log_all = model(torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
        by_hand += [
            -float(log_all[place - 1, token])
            for place, token in enumerate(row["labels"])
            if token != IGNORED
        ]
    assert ours == pytest.approx(np.mean(by_hand), rel=1e-5)
    assert ours == pytest.approx(trls, rel=1e-5)


def test_batches_hold_like_lengths_and_every_row_comes_round() -> None:
    lengths = np.random.default_rng(0).integers(5, 100, 640)
    order = np.array(length_grouped(lengths.tolist(), 8, 160, np.random.default_rng(1)))
    assert len(order) == 8 * 160
    np.testing.assert_array_equal(np.bincount(order, minlength=640), 2)
    spread = np.ptp(lengths[order].reshape(160, 8), axis=1)
    # Eight of 640 sorted rows span about 95 / 80 lengths; eight random ones span about 75.
    assert spread.mean() < 5
    assert np.corrcoef(lengths[order][:-8], lengths[order][8:])[0, 1] < 0.3  # batches are shuffled


def test_training_lowers_the_held_out_loss(tmp_path: Path) -> None:
    seen: list[tuple[int, int, Mapping[str, float]]] = []
    metrics = train(
        pairs(200, 0),
        pairs(40, 1),
        CONFIG,
        tmp_path / "out",
        tmp_path / "work",
        0,
        lambda done, total, figures: seen.append((done, total, dict(figures))),
    )
    # A third of the untrained loss: far below what any wording of the end token alone could give.
    assert metrics["base"]["held_loss"] < metrics["base"]["held_loss_before"] / 3
    assert metrics["adapter"]["held_loss"] <= metrics["adapter"]["held_loss_before"] * 1.05
    assert metrics["pairs_too_long"] == 0
    done, total, figures = seen[-1]
    assert (done, total) == (34, 34)
    assert {"loss", "held_loss"} <= set(figures)
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["adapter", "base", "curve.json"]
    assert set(json.loads((out / "curve.json").read_text())) == {"base", "adapter"}
    load_model(out / "base")
    assert list((tmp_path / "work" / "tb" / "base").glob("events.*"))


class Killed(Exception):
    """Stands for a kill: nothing in the training may catch it."""


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    def run(name: str, progress: Any) -> dict[str, Any]:
        folder = tmp_path / name
        data = pairs(200, 0), pairs(40, 1)
        return train(*data, CONFIG, folder / "out", folder / "work", 0, progress)

    def kill_at_25(done: int, total: int, figures: Mapping[str, float]) -> None:
        if done == 25:
            raise Killed

    whole = run("whole", lambda *_: None)
    with pytest.raises(Killed):
        run("cut", kill_at_25)
    assert not (tmp_path / "cut" / "out").exists()
    steps: list[int] = []
    cut = run("cut", lambda done, total, figures: steps.append(done))
    assert min(step for step in steps if step > 0) > 20  # went on from the checkpoint at 20
    assert cut["base"]["held_loss"] == pytest.approx(whole["base"]["held_loss"], rel=1e-4)
    assert cut["adapter"]["held_loss"] == pytest.approx(whole["adapter"]["held_loss"], rel=1e-4)


def test_a_model_from_a_folder_is_only_adapted(tmp_path: Path) -> None:
    model, tokenizer = make_local_model([p.prompt for p in pairs(20, 0)], CONFIG.base, seed=0)
    model.save_pretrained(tmp_path / "own")
    tokenizer.save_pretrained(tmp_path / "own")
    config = CONFIG.model_copy(update={"base": BaseModelConfig(model=str(tmp_path / "own"))})
    metrics = train(pairs(50, 0), pairs(20, 1), config, tmp_path / "out", tmp_path / "work", 0)
    assert metrics["base"] is None
    saved, _ = load_model(tmp_path / "out" / "base")
    for ours, theirs in zip(saved.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_full_training_writes_one_model_without_an_adapter(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"adapter": AdapterConfig(kind="full"), "base_steps": 3})
    metrics = train(pairs(50, 0), pairs(20, 1), config, tmp_path / "out", tmp_path / "work", 0)
    assert metrics["adapter"]["held_loss"] < metrics["adapter"]["held_loss_before"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["base", "curve.json"]
