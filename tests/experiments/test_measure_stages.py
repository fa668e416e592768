"""What the stages say of their writers, with writers whose every word is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.files import read_json
from experiments import measure_ppo, measure_sft
from experiments.config import Config
from experiments.measure_panel import Panel, Writer, draw_panel
from experiments.stages import StageContext
from rewards.claims import ClaimChecker
from rewards.clicks import ClickReward, ClickRewardConfig
from rewards.mix import RewardMix
from rewards.mix_config import RewardConfig
from sft.corpus import CorpusConfig, build_corpus
from sft.metrics.figures import Figure
from tests.shop_at_hand import bare_world, small_shop

#: Turns a prompt and the number of its copy into a text.
Say = Callable[[str, int], str]

NOTHING = "It does its job well."


def best_fact(prompt: str) -> str:
    """The last fact of a prompt, which is one that the reader likes where there is one."""
    return f"It has {prompt.removesuffix(' ->').split(': ')[-1]}."


def fakes(monkeypatch: pytest.MonkeyPatch, module: Any, say: dict[str, Say]) -> None:
    """Let the folders' names choose the writer."""

    def sampler(name: str, _: None, config: Any, copies: int) -> Writer:
        def write(prompts: list[str], seed: int) -> list[str]:
            assert all(
                len(set(prompts[i : i + copies])) == 1 for i in range(0, len(prompts), copies)
            )
            return [say[name](prompt, place % copies) for place, prompt in enumerate(prompts)]

        return write

    monkeypatch.setattr(module, "sampler", sampler)
    monkeypatch.setattr(module, "load_reasoner", lambda folder: (folder.name, None))


def context_in(folder: Path, stage: str, warnings: list[str]) -> StageContext:
    (folder / stage).mkdir(exist_ok=True)
    config = Config(name="small", measure={"prompts": 24, "samples": 2})
    return StageContext(
        config=config, out=folder / stage, work=folder, inputs={"sft": folder / "sft"},
        metrics_of=lambda _: {}, seed=3, progress=lambda *_: None, say=lambda _: None,
        warn=warnings.append,
    )  # fmt: skip


@pytest.fixture(scope="module")
def mix() -> RewardMix:
    world = bare_world()
    rng = np.random.default_rng(0)
    ones = np.ones(len(world.quality), dtype=np.float32)
    clicks = ClickReward(world, ClickRewardConfig(), ones, rng)
    return RewardMix(ClaimChecker(small_shop().visitors.catalogue), clicks, RewardConfig(), 0.01)


def panel() -> Panel:
    config = Config(name="small", measure={"prompts": 24, "samples": 2})
    items = np.arange(40, dtype=np.int64)
    return draw_panel(config.measure, small_shop().visitors, items, np.random.default_rng(1))


def ppo_figures(
    monkeypatch: pytest.MonkeyPatch, folder: Path, mix: RewardMix, sft: Say, ppo: Say
) -> tuple[dict[str, Any], list[str]]:
    fakes(monkeypatch, measure_ppo, {"sft": sft, "ppo": ppo})
    monkeypatch.setattr(
        measure_ppo, "sequence_log_probs", lambda name, *_, **__: np.full(48, len(name) * 1.0)
    )
    warnings: list[str] = []
    context = context_in(folder, "ppo", warnings)
    found = measure_ppo.measure_ppo(context, small_shop(), mix, panel(), np.random.default_rng(2))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found, warnings


def test_the_way_to_the_ceiling_is_known_where_the_texts_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mix: RewardMix
) -> None:
    """SFT states a fact in its last of 16 samples only; PPO in every other one of its two."""

    def sft(prompt: str, copy: int) -> str:
        return best_fact(prompt) if copy == measure_ppo.BEST_OF - 1 else NOTHING

    def ppo(prompt: str, copy: int) -> str:
        return best_fact(prompt) if copy % 2 else NOTHING

    found, warnings = ppo_figures(monkeypatch, tmp_path, mix, sft, ppo)
    best = found["best_of"]
    assert best["n"] == 16
    # The share is exact: PPO's mean of two is half-way from the one text to the other.
    assert best["share"] == pytest.approx({"value": 0.5, "low": 0.5, "high": 0.5}, abs=1e-6)
    assert best["reward"]["mean"] > found["reward_after"] > found["reward_before"]
    gain = found["gain"]["mean"]
    assert gain == pytest.approx(found["reward_after"] - found["reward_before"], abs=1e-9)
    assert gain == pytest.approx((best["reward"]["mean"] - found["reward_before"]) / 2, abs=1e-9)
    assert found["kl"] == 0.0
    said = found["writing"]
    assert said["sft"]["profile_match"]["value"] == 0
    assert said["paired"]["profile_match"]["value"] == pytest.approx(
        said["ppo"]["profile_match"]["value"]
    )
    assert 0.3 < said["ppo"]["profile_match"]["value"] <= 0.5
    assert said["fallback"]["claim_precision"]["value"] == 1
    assert found["distinct2_after"] > found["distinct2_before"]
    assert found["distinct2_kept"] > 1
    assert not [line for line in warnings if "variety" in line or "worse" in line]


def test_a_writer_that_forgot_its_readers_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mix: RewardMix
) -> None:
    found, warnings = ppo_figures(
        monkeypatch, tmp_path, mix, lambda prompt, _: best_fact(prompt), lambda *_: NOTHING
    )
    assert found["best_of"]["share"] is None  # the 16 samples are all alike: there is no way to go
    assert found["gain"]["high"] < 0
    assert any("the swap test is worse after PPO" in line for line in warnings)
    assert any("the profile match is worse after PPO" in line for line in warnings)
    assert any("variety fell" in line for line in warnings)
    rows = read_json(tmp_path / "ppo" / "samples.json")
    assert len(rows) == 20
    for row in rows:
        assert (row["ppo"], row["ppo_claims"]) == (NOTHING, [])
        marks = [row["sft"][m["start"] : m["end"]] for m in row["sft_claims"] if m["supported"]]
        assert marks


@pytest.mark.parametrize("follows", [True, False])
def test_the_sft_stage_says_whether_its_texts_fit_their_readers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, follows: bool
) -> None:
    visitors = small_shop().visitors
    corpus = build_corpus(
        visitors.catalogue, visitors.profiles, CorpusConfig(pairs=200), np.random.default_rng(0)
    )
    say: Say = (lambda prompt, _: best_fact(prompt)) if follows else (lambda *_: NOTHING)
    fakes(monkeypatch, measure_sft, {"sft": say})
    warnings: list[str] = []
    context = context_in(tmp_path, "sft", warnings)
    checker = ClaimChecker(visitors.catalogue)
    found = measure_sft.measure_sft(context, visitors, checker, corpus)["writing"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found["floors"]) == {"fixed", "fallback"}
    assert (found["prompts"], found["samples"]) == (24, 2)
    assert found["items"] <= len(corpus.held_items)
    fixed = found["floors"]["fixed"]["profile_match_lift"]
    assert fixed == Figure(0.0, 0.0, 0.0).as_dict()
    lift = found["figures"]["profile_match_lift"]
    if follows:
        assert lift["low"] > 0
        assert found["figures"]["claim_precision"]["value"] == 1
        assert warnings == []
    else:
        assert lift["value"] == 0
        assert "claim_precision" not in found["figures"]  # nothing claimed, nothing to be precise
        assert any("not shown to fit" in line for line in warnings)
        assert any("claims anything" in line for line in warnings)
    rows = read_json(tmp_path / "sft" / "samples.json")
    assert len(rows) == 20
    held = {visitors.catalogue.items["title"].iloc[i].split()[0] for i in corpus.held_items}
    assert {row["title"].split()[0] for row in rows} <= held
