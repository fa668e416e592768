"""The comparison of rankers: paired, finished once, complete, and clear about mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from envs.errors import UserError
from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES
from envs.similarity import SCORES
from envs.store import save_similarity, save_visitors
from experiments import rankers
from experiments.commands import ranking
from experiments.config import Config
from experiments.console import Console, _exit_code
from experiments.rankers import comparison_stages, settings_of
from experiments.rankers_names import END, MYOPIC, START, VARIANTS, read_variants
from experiments.rankers_page import as_html, as_markdown, printed_rows
from experiments.rankers_play import FIGURES, Played
from experiments.rankers_table import Entry, make_table
from experiments.run_folder import METRICS
from experiments.simulate import interval, paired, play
from experiments.stages import StageContext, run_stages
from policies.baselines import similarity_policy
from policies.ranker.config import ScorerConfig
from policies.ranker.scorer import SlateScorer, save_scorer
from policies.reasoner.book import save_book, write_book
from rewards.claims import ClaimChecker
from tests.shop_at_hand import small_shop

# --- names ---------------------------------------------------------------------------------------


def test_variants_are_read_in_order_and_once() -> None:
    assert read_variants("myopic_trained, long,long") == ("myopic_trained", "long")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variants", "lnog"], "there is no variant 'lnog'; choose among long, myopic_trained"),
        (["--variants", "lnog"], "Did you mean 'long'?"),
        (["--variants", ","], "no name; choose among long"),
        (["--seeds", "0"], "Invalid value for '--seeds'"),
        (["--sessions", "3"], "Invalid value for '--sessions'"),
        (["--set", "rank.gamma=2"], "rank.gamma: must be"),
        (["--set", "rank.scorer.hidden=6", "--variants", "attention"], "as variant attention"),
    ],
)
def test_mistakes_on_the_command_line_end_at_once(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("name: run\n")
    command = [str(config), "--out", str(tmp_path / "out"), *arguments]
    assert _exit_code(ranking.cli, command) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""
    assert not (tmp_path / "out").exists()


def test_the_command_names_every_variant() -> None:
    (command,) = (typer.main.get_command(ranking.cli),)
    told = " ".join(str(option.help) for option in command.params if hasattr(option, "help"))
    assert all(name in told for name in VARIANTS)


def test_a_variant_changes_what_it_says_and_nothing_else() -> None:
    config = Config.model_validate({"name": "c", "rank": {"lam": 0.7, "scorer": {"hidden": 8}}})
    assert settings_of("long", config.rank) == config.rank
    assert settings_of(MYOPIC, config.rank) == config.rank.model_copy(update={"gamma": 0.0})
    scorer = settings_of("attention", config.rank).scorer
    assert scorer == config.rank.scorer.model_copy(update={"kind": "attention"})


# --- the table -----------------------------------------------------------------------------------

COUNT = 60


def played(mean: float, seed: int) -> Played:
    rng = np.random.default_rng(seed)
    shared = np.random.default_rng(0).normal(size=COUNT)  # what sessions have in common
    clicks, pages = (rng.integers(0, top, COUNT).astype(np.float64) for top in (4, 6))
    return Played(
        reward=mean + shared + 0.3 * rng.normal(size=COUNT), expected=mean + shared,
        clicks=clicks, impressions=5 * (1 + pages), purchases=np.minimum(clicks, 1),
        pages=1 + pages, trust=rng.random(COUNT),
    )  # fmt: skip


def entries() -> list[Entry]:
    costs = [{"train_cpu_seconds": 10.0, "return_best": 1.0},
             {"train_cpu_seconds": 30.0, "return_best": 2.0}]  # fmt: skip
    return [
        Entry("long", [played(0.6, 1), played(0.8, 2)], costs),
        Entry("myopic_trained", [played(0.5, 3), played(0.4, 4)], costs),
        Entry(START, [played(0.2, 5)], []),
        Entry(END, [played(1.2, 6)], []),
    ]


def test_differences_are_paired_by_training_and_session() -> None:
    long, myopic, similarity, _ = entries()
    table = make_table(entries())
    assert (table["sessions"], table["seeds"], table["first"]) == (COUNT, 2, "long")
    found = {(one["b"], one["metric"]): one for one in table["paired"]}
    assert set(found) == {(b, m) for b in ("myopic_trained", START, END) for m in FIGURES}
    own = found["myopic_trained", "return"]
    gaps = [a.reward - b.reward for a, b in zip(long.played, myopic.played)]
    assert own["by_seed"] == pytest.approx([gap.mean() for gap in gaps])
    assert own["diff"] == pytest.approx(np.mean(gaps))
    # Of the same rankers in other sessions: the mean of both trainings, session by session.
    assert own["sessions"] == pytest.approx(
        [interval(np.mean(gaps, axis=0))[end] for end in ("low", "high")]
    )
    base = found[START, "ctr"]
    ctr = [
        one.clicks.sum() / one.impressions.sum() - np.mean(similarity.played[0].values("ctr"))
        for one in long.played
    ]
    assert base["by_seed"] == pytest.approx(ctr)
    assert base["low"] < base["diff"] < base["high"]


def test_a_single_training_is_the_paired_comparison_of_any_simulation() -> None:
    first, _, similarity, end = entries()
    table = make_table([Entry("long", first.played[:1], first.trainings[:1]), similarity, end])
    known = paired({"a": first.played[0], "b": similarity.played[0]}, "a", "b", "return")
    found = table["paired"][0]
    assert found["low"] == pytest.approx(known["low"])
    assert found["high"] == pytest.approx(known["high"])
    assert "seeds" not in found


def test_rows_tell_the_share_of_the_way_and_the_cost() -> None:
    rows = {row["policy"]: row for row in make_table(entries())["rows"]}
    assert [row["trained"] for row in rows.values()] == [True, True, False, False]
    assert rows["long"]["share_of_way"]["value"] == pytest.approx(0.5)  # 0.6 and 0.8, of 0.2 to 1.2
    assert rows[START]["share_of_way"]["value"] == pytest.approx(0)
    assert rows[END]["share_of_way"]["value"] == pytest.approx(1)
    assert rows["long"]["train_cpu_seconds"] == 20
    assert rows["long"]["best_in_training"] == 1.5
    assert "train_cpu_seconds" not in rows[START]
    assert rows["long"]["figures"]["return"]["by_seed"] == pytest.approx(
        [one.reward.mean() for one in entries()[0].played]
    )


def test_it_is_printed_with_every_row_and_what_to_know() -> None:
    table = make_table(entries()) | {"horizon": None}
    head, *rows = printed_rows(table)
    assert [row[0] for row in rows] == ["long", "myopic_trained", START, END]
    assert all(len(row) == len(head) for row in rows)
    text = as_markdown(table)
    assert text.count("\n| ") == 5
    assert "trained 2 times" in text
    assert "1 degree of freedom" in text
    page = as_html(table, "<b>run</b>")
    assert "&lt;b&gt;run" in page
    assert "<b>" not in page
    assert page.count("<tr>") == 5
    assert "page by page" not in page


# --- finished once -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with what a comparison reads of it."""
    folder, shop = tmp_path_factory.mktemp("rankers"), small_shop()
    save_visitors(shop.visitors, folder / "catalogue")
    save_similarity(shop, folder / "similarity")
    catalogue, profiles = shop.visitors.catalogue, shop.visitors.profiles
    book, _ = write_book(
        catalogue, profiles, ClaimChecker(catalogue), None, np.arange(catalogue.n_items),
        np.random.default_rng(0),
    )  # fmt: skip
    (folder / "reasons").mkdir()
    for name in ("sft", "ppo"):
        save_book(book, folder / "reasons" / f"{name}.parquet")
    return folder


class Trainings:
    """Stands in for training: ranks by similarity, notes the settings, can be told to die."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: dict[str, tuple[float, int]] = {}
        self.before: Callable[[str], None] = lambda name: None
        monkeypatch.setattr(rankers, "run_rank", self._train)

    def _train(self, context: StageContext) -> dict[str, Any]:
        name = context.out.name.split(".")[1]
        self.before(name)
        self.made[name] = context.config.rank.gamma, context.seed
        start = ScorerConfig(hidden=4, baseline_features=SCORES)
        save_scorer(SlateScorer(start, ITEM_FEATURES, CONTEXT_FEATURES), context.out / "scorer")
        context.progress(1, 1, {})
        return {"return_best": 0.5}


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    # Those that are searched for and learned are tried where they are made.
    monkeypatch.setattr(rankers, "CONFIG_POLICIES", ("random", "similarity", "myopic", "rollout"))
    return Trainings(monkeypatch)


def compare(source: Path, out: Path, variants: tuple[str, ...], seeds: int, **rank: Any) -> Any:
    config = Config.model_validate(
        {"name": "cmp", "seed": 1, "rank": rank, "simulate": {"sessions": 80}}
    )
    stages = comparison_stages(source, 1, variants, seeds)
    return run_stages(stages, config, out, console=Console(stream=StringIO()))


def test_a_killed_comparison_goes_on_where_it_was(
    source: Path, tmp_path: Path, trainings: Trainings
) -> None:
    def die(name: str) -> None:
        if name == "myopic_trained_0":
            raise KeyboardInterrupt

    trainings.before = die
    with pytest.raises(KeyboardInterrupt):
        compare(source, tmp_path / "out", ("long", MYOPIC), 2)
    assert list(trainings.made) == ["long_0", "long_1"]
    trainings.made.clear()
    trainings.before = lambda name: None
    found = compare(source, tmp_path / "out", ("long", MYOPIC), 2)
    assert list(trainings.made) == ["myopic_trained_0", "myopic_trained_1"]
    assert {gamma for gamma, _ in trainings.made.values()} == {0.0}
    assert json.loads((tmp_path / "out" / METRICS).read_text())["table"] == found["table"]
    trainings.made.clear()
    assert compare(source, tmp_path / "out", ("long", MYOPIC), 2) == found
    assert not trainings.made
    # Another seed is added to what is there, and no training is made again for a shorter list.
    compare(source, tmp_path / "out", ("long",), 3)
    assert list(trainings.made) == ["long_2"]


def test_trainings_of_the_same_number_have_the_same_seed(
    source: Path, tmp_path: Path, trainings: Trainings
) -> None:
    compare(source, tmp_path / "out", ("long", MYOPIC), 2, gamma=0.9)
    seeds = {name: seed for name, (_, seed) in trainings.made.items()}
    assert seeds["long_0"] == seeds["myopic_trained_0"] != seeds["long_1"]
    assert seeds["long_1"] == seeds["myopic_trained_1"]
    assert trainings.made["long_0"][0] == 0.9


def test_who_ranks_by_similarity_does_not_differ_from_it(
    source: Path, tmp_path: Path, trainings: Trainings
) -> None:
    """From the files of a run to the table, with nothing but the training left out."""
    table = compare(source, tmp_path / "out", ("long", MYOPIC), 2)["table"]
    rows = {row["policy"]: row for row in table["rows"]}
    assert list(rows) == ["long", MYOPIC, "random", "similarity", "myopic"]  # rollout is too slow
    for one in table["paired"]:
        if one["b"] in ("similarity", MYOPIC):
            assert (one["diff"], one["low"], one["high"]) == (0, 0, 0)
    assert rows["long"]["share_of_way"]["value"] == pytest.approx(0)
    assert rows["myopic"]["figures"]["expected_return"]["value"] > max(
        rows[name]["figures"]["expected_return"]["value"] for name in ("long", "random")
    )
    # The sessions are those that a simulation of the run has.
    shop = small_shop()
    book, _ = write_book(
        shop.visitors.catalogue, shop.visitors.profiles, ClaimChecker(shop.visitors.catalogue),
        None, np.arange(shop.visitors.catalogue.n_items), np.random.default_rng(0),
    )  # fmt: skip
    world = shop.world(Config(name="c").shop).with_reasons(book.arrays)
    known = play(world, similarity_policy(), 80, 1)
    assert rows["similarity"]["figures"]["return"]["value"] == pytest.approx(known.reward.mean())
    found = table["horizon"]
    assert found["variants"]["long"] == found["variants"][MYOPIC]
    assert found["variants"]["long"]["there"][0] == 1
    page = (tmp_path / "out" / "table" / "table.html").read_text(encoding="utf-8")
    assert page.count("<svg class=") == 4
    assert "What looking ahead does" in page
    text = (tmp_path / "out" / "table" / "table.md").read_text(encoding="utf-8")
    assert text.count("\n| ") == 6 + 2 + len(found["pages"])


def test_without_both_there_is_no_horizon(
    source: Path, tmp_path: Path, trainings: Trainings
) -> None:
    assert compare(source, tmp_path / "out", ("long",), 1)["table"]["horizon"] is None


def test_a_baseline_that_cannot_be_learned_is_left_out_with_a_warning(
    source: Path, tmp_path: Path, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rankers.Field.contestants

    def refuse(self: Any, names: list[str]) -> Any:
        if names == ["random"]:
            raise UserError("no click to learn from")
        return real(self, names)

    monkeypatch.setattr(rankers.Field, "contestants", refuse)
    found = compare(source, tmp_path / "out", ("long",), 1)
    assert [row["policy"] for row in found["table"]["rows"]] == ["long", "similarity", "myopic"]
    assert found["warnings"] == [
        "baseline_random: left out of the comparison: no click to learn from"
    ]
