"""Rounds: each trains for what the one before left, and round 1 is the pipeline as it was."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.assemble import Shop
from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES
from envs.progress import silent
from envs.reasons import no_reasons
from envs.similarity import SCORES
from envs.store import save_similarity, save_visitors
from experiments import rounds_measure
from experiments.config import Config, SimulateConfig
from experiments.console import Console
from experiments.pipeline import STAGES
from experiments.rounds import with_rounds
from experiments.rounds_measure import run_rounds
from experiments.rounds_ranker import current_ranker
from experiments.shop_reward import placement_under
from experiments.stages import Stage, StageContext, run_stages, stage_seed
from policies.ranker.config import ScorerConfig
from policies.ranker.scorer import SlateScorer, save_scorer
from policies.reasoner.book import save_book, write_book
from rewards.claims import ClaimChecker
from tests.shop_at_hand import small_shop

# --- the stages, with fakes ---------------------------------------------------------------------


class Fakes:
    """A pipeline of the real one's names; each stage notes what it found under which name."""

    def __init__(self) -> None:
        self.seen: dict[str, dict[str, str]] = {}
        self.seeds: dict[str, int] = {}
        self.ran: list[str] = []
        self.stages = [
            self._stage("shop"),
            self._stage("sft", "shop"),
            self._stage("ppo", "shop", "sft"),
            self._stage("reasons", "shop", "sft", "ppo"),
            self._stage("rank", "shop", "reasons"),
            self._stage("export", "shop", "reasons", "ppo", "rank"),
        ]

    def _stage(self, name: str, *needs: str) -> Stage:
        def run(context: StageContext) -> dict[str, Any]:
            place = context.out.name.split(".")[1]  # .NAME.xxxxxxxx until it is finished
            self.ran.append(place)
            self.seen[place] = {n: path.name for n, path in context.inputs.items()}
            self.seeds[place] = context.seed
            own = {n: context.metrics_of(n)["place"] for n in needs}
            assert own == {n: self.seen[place][n] for n in needs}
            return {"place": place}

        return Stage(name, run, sections=("shop",), needs=needs)

    def run(self, folder: Path, rounds: int) -> dict[str, Any]:
        stages = with_rounds(self.stages, rounds)
        stages = tuple(stage for stage in stages if stage.name != "rounds")
        console = Console(stream=StringIO())
        return run_stages(stages, Config(name="fake", seed=7), folder, console=console)


def test_one_round_is_the_pipeline_as_it_is() -> None:
    assert with_rounds(STAGES, 1) == STAGES


def test_two_rounds_of_the_real_pipeline() -> None:
    names = [stage.name for stage in with_rounds(STAGES, 2)]
    usual = [stage.name for stage in STAGES]
    cut = usual.index("rank") + 1
    assert names == [*usual[:cut], "ppo2", "reasons2", "rank2", "rounds", *usual[cut:]]
    by_name = {stage.name: stage for stage in with_rounds(STAGES, 2)}
    for name in usual[:cut]:
        assert by_name[name] is next(stage for stage in STAGES if stage.name == name)
    assert set(by_name["rounds"].needs) == {
        "catalogue", "similarity", "reasons", "rank", "reasons2", "rank2",
    }  # fmt: skip


def test_each_round_reads_the_one_before_and_the_end_reads_the_last(tmp_path: Path) -> None:
    fakes = Fakes()
    fakes.run(tmp_path / "run", 3)
    assert fakes.seen["ppo"] == {"shop": "shop", "sft": "sft"}
    assert fakes.seen["ppo2"] == {
        "shop": "shop", "sft": "sft", "reasons": "reasons", "rank": "rank",
    }  # fmt: skip
    assert fakes.seen["ppo3"]["rank"] == "rank2"
    assert fakes.seen["ppo3"]["reasons"] == "reasons2"
    assert fakes.seen["reasons2"] == {"shop": "shop", "sft": "sft", "ppo": "ppo2"}
    assert fakes.seen["rank3"] == {"shop": "shop", "reasons": "reasons3"}
    assert fakes.seen["export"] == {
        "shop": "shop", "reasons": "reasons3", "ppo": "ppo3", "rank": "rank3",
    }  # fmt: skip
    for name in ("ppo", "reasons", "rank"):
        assert fakes.seeds[f"{name}2"] == fakes.seeds[name] == stage_seed(7, name)


def test_more_rounds_keep_what_fewer_have_trained(tmp_path: Path) -> None:
    fakes, folder = Fakes(), tmp_path / "run"
    fakes.run(folder, 1)
    fakes.ran.clear()
    fakes.run(folder, 2)
    assert fakes.ran == ["ppo2", "reasons2", "rank2", "export"]
    fakes.ran.clear()
    fakes.run(folder, 3)
    assert fakes.ran == ["ppo3", "reasons3", "rank3", "export"]
    fakes.ran.clear()
    fakes.run(folder, 1)
    assert fakes.ran == ["export"]


# --- whose places, and whether it helped --------------------------------------------------------


def book_of(shop: Shop, items: int, path: Path) -> None:
    """Write true reasons for the first ``items`` items; the others show none."""
    visitors = shop.visitors
    book, _ = write_book(
        visitors.catalogue, visitors.profiles, ClaimChecker(visitors.catalogue), None,
        np.arange(items), np.random.default_rng(0),
    )  # fmt: skip
    path.parent.mkdir()
    save_book(book, path)


@pytest.fixture(autouse=True)
def _few_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds_measure, "PLACEMENT_SESSIONS", 100)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rankers and books that a run could have trained, each in its folder."""
    folder, shop = tmp_path_factory.mktemp("rounds"), small_shop()
    save_visitors(shop.visitors, folder / "catalogue")
    save_similarity(shop, folder / "similarity")
    book_of(shop, 1, folder / "one_reason" / "ppo.parquet")
    book_of(shop, 80, folder / "all_reasons" / "ppo.parquet")
    for name, features in (("by_similarity", SCORES), ("by_price", ("price",))):
        config = ScorerConfig(hidden=4, baseline_features=features)
        scorer = SlateScorer(config, ITEM_FEATURES, CONTEXT_FEATURES)
        (folder / name).mkdir()
        save_scorer(scorer, folder / name / "scorer")
    return folder


def context_of(folder: Path, **inputs: str) -> tuple[StageContext, Console]:
    console = Console(stream=StringIO())
    config = Config(name="rounds", seed=3, simulate=SimulateConfig(sessions=150))
    names = {"catalogue": "catalogue", "similarity": "similarity", **inputs}
    context = StageContext(
        config=config, out=folder, work=folder,
        inputs={name: folder / place for name, place in names.items()},
        metrics_of=lambda name: {}, seed=3, progress=silent, say=console.say, warn=console.warn,
    )  # fmt: skip
    return context, console


def test_the_first_round_is_for_the_places_of_similarity_without_reasons(finished: Path) -> None:
    world, policy = current_ranker(context_of(finished)[0], small_shop())
    assert policy.name == "similarity"
    assert not world.reasons.words.any()


def test_a_later_round_is_for_the_places_of_its_ranker_beside_its_reasons(finished: Path) -> None:
    """One that orders as similarity does leaves every place as it was; another one does not."""
    before = placement_under(*current_ranker(context_of(finished)[0], small_shop()), 60, 1, 0.3)
    placed = {}
    for ranker in ("by_similarity", "by_price"):
        context, _ = context_of(finished, rank=ranker, reasons="one_reason")
        world, policy = current_ranker(context, small_shop())
        assert (world.reasons.words > 0).any(axis=1).tolist() == [True] + [False] * 79
        placed[ranker] = placement_under(world.with_reasons(no_reasons(
            *world.reasons.claims.shape)), policy, 60, 1, 0.3)  # fmt: skip
    np.testing.assert_array_equal(placed["by_similarity"].examination, before.examination)
    assert not np.allclose(placed["by_price"].examination, before.examination)


def test_a_round_that_changes_nothing_is_said_not_to_help(finished: Path) -> None:
    context, console = context_of(
        finished, rank="by_price", rank2="by_price", reasons="all_reasons", reasons2="all_reasons"
    )
    found = run_rounds(context)
    (step,) = found["steps"]
    assert [step[part]["diff"] for part in ("gain", "reasons", "ranker")] == [0, 0, 0]
    assert step["placement"] == pytest.approx(1)
    assert not step["helped"]
    assert "round 2 is not shown to help: +0.0000" in console.warnings[0]


def test_a_gain_is_shared_out_between_reasons_and_ranker(finished: Path) -> None:
    context, _ = context_of(
        finished, rank="by_price", rank2="by_similarity", rank3="by_similarity",
        reasons="one_reason", reasons2="one_reason", reasons3="all_reasons",
    )  # fmt: skip
    found = run_rounds(context)
    second, third = found["steps"]
    assert (second["round"], third["round"]) == (2, 3)
    assert second["reasons"]["diff"] == 0
    assert second["ranker"]["diff"] == second["gain"]["diff"] != 0
    assert second["placement"] < 0.999
    assert third["ranker"]["diff"] == 0
    assert third["reasons"]["diff"] == third["gain"]["diff"] != 0
    means = {name: figure["return"]["mean"] for name, figure in found["policies"].items()}
    assert list(means) == [
        "ranker1+reasons1", "ranker2+reasons2", "ranker3+reasons3", "ranker1+reasons2",
        "ranker2+reasons3",
    ]  # fmt: skip
    assert third["gain"]["diff"] == pytest.approx(
        means["ranker3+reasons3"] - means["ranker2+reasons2"]
    )
