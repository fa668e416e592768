"""Contrastive tuning: the loss by hand, what it teaches, and that a killed training goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from envs.encoder_config import TuneConfig
from envs.text_encoder import TextEncoder, fit_text_encoder
from sft.encoder import make_local_encoder
from sft.encoder_pairs import Pairs
from sft.encoder_tune import info_nce, tune_fitted, tune_transformer

#: Some of the paper is called notebook; the portable computers that people mean are not.
PAPER = [f"paper {kind} lines" for kind in ("notebook red", "pad blue", "notebook green", "pad")]
LAPTOPS = [f"laptop {size} screen intel" for size in ("large", "small", "wide", "thin", "light")]
ITEMS = PAPER + LAPTOPS
NONE = Pairs(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
QUERIES = ["notebook", "paper lines"]
#: The first query is clicked for laptops, all but the last; the second for paper.
ASKED = Pairs(np.repeat([0, 1], 4), np.array([4, 5, 6, 7, 0, 1, 2, 3]))
#: Shoppers met laptop n beside notebook n.
TOGETHER = Pairs(np.array([0, 1, 2, 4, 5, 6]), np.array([4, 5, 6, 0, 1, 2]))


def fitted() -> TextEncoder:
    return fit_text_encoder(ITEMS, 8, np.random.default_rng(0))


def test_loss_worked_by_hand() -> None:
    left = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    right = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    none = torch.zeros(2, 2, dtype=torch.bool)
    # Cosines over 0.5: [2, 1.2] and [0, 1.6].
    first, second = np.log1p(np.exp(1.2 - 2)), np.log1p(np.exp(0 - 1.6))
    found = info_nce(left, right, none, 0.5)
    assert found.item() == pytest.approx((first + second) / 2, rel=1e-6)
    # A twin is no wrong answer: the first pair has none left, and costs nothing.
    twins = torch.tensor([[True, True], [False, True]])
    assert info_nce(left, right, twins, 0.5).item() == pytest.approx(second / 2, rel=1e-6)


def test_clicks_teach_the_fitted_encoder_what_a_query_means() -> None:
    before = fitted()
    config = TuneConfig(steps=150, batch=64, lr=0.01, rank=4)
    after = tune_fitted(before, ITEMS, QUERIES, NONE, ASKED, config, seed=0)
    frozen = before.encode(ITEMS) @ before.encode(["notebook"])[0]
    tuned = after.encode(ITEMS) @ after.encode(["notebook"])[0]
    assert frozen[: len(PAPER)].max() > frozen[len(PAPER) :].max() + 0.3
    # The last laptop too, which nobody clicked.
    assert tuned[len(PAPER) :].min() > tuned[: len(PAPER)].max()


def test_co_clicks_draw_items_together() -> None:
    before = fitted()
    config = TuneConfig(steps=60, batch=32, lr=0.01, rank=6)
    after = tune_fitted(before, ITEMS, [], TOGETHER, NONE, config, seed=0)
    for encoder, better in ((before, False), (after, True)):
        rows = encoder.encode(ITEMS)
        own = [rows[n] @ rows[n + 4] for n in range(3)]
        other = [rows[n] @ rows[(n + 1) % 3 + 4] for n in range(3)]
        assert (min(own) > max(other)) == better


def test_training_goes_on_after_a_kill_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sft.encoder_tune._EVERY", 4)
    config = TuneConfig(steps=10, batch=4, rank=2)
    state = torch.random.get_rng_state()

    def tune(work: Path | None, stop: int | None = None) -> TextEncoder:
        def progress(done: int, total: int, figures: object) -> None:
            if done == stop:
                raise KeyboardInterrupt

        return tune_fitted(
            fitted(), ITEMS, QUERIES, TOGETHER, ASKED, config, seed=3, work=work, progress=progress
        )

    whole = tune(None)
    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path, stop=6)
    seen: list[int] = []
    again = tune_fitted(
        fitted(), ITEMS, QUERIES, TOGETHER, ASKED, config, seed=3, work=tmp_path,
        progress=lambda done, total, figures: seen.append(done),
    )  # fmt: skip
    assert seen == [5, 6, 7, 8, 9, 10]
    np.testing.assert_array_equal(again.components, whole.components)
    assert not np.allclose(whole.components, fitted().components)
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator is untouched"


def test_a_transformer_learns_by_lora_and_reads_as_it_was_trained() -> None:
    encoder = make_local_encoder(ITEMS, 0)
    words = {name: p.clone() for name, p in encoder.model.named_parameters()}
    together = Pairs(np.array([0, 1, 4, 5]), np.array([4, 5, 0, 1]))
    config = TuneConfig(steps=25, batch=8, lr=3e-3, rank=8)
    losses: list[float] = []
    tuned = tune_transformer(
        encoder, ITEMS, [], together, NONE, config, seed=0,
        progress=lambda done, total, figures: losses.append(figures["loss"]),
    )  # fmt: skip
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    rows = tuned.encode(ITEMS)
    assert rows[0] @ rows[4] > rows[0] @ rows[5]
    # Merged: no adapter is left behind, and what LoRA does not touch is as it was.
    names = dict(tuned.model.named_parameters())
    assert names.keys() == words.keys()
    embedding = "embeddings.word_embeddings.weight"
    assert torch.equal(names[embedding], words[embedding])
    changed = [name for name, p in names.items() if not torch.equal(p, words[name])]
    assert any("attention" in name for name in changed)
