"""The comparison of algorithms: fair, paired, finished once, and clear about mistakes."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer

from envs.behaviour import ShopConfig
from envs.errors import UserError
from envs.files import read_json, write_json
from envs.progress import silent
from experiments import algorithms
from experiments.algorithms import CpuClock, comparison_stages
from experiments.algorithms_bench import Bench
from experiments.algorithms_names import ALGORITHMS, read_algorithms
from experiments.algorithms_table import Cell, as_html, as_markdown, make_table, printed_rows
from experiments.algorithms_write import Written
from experiments.commands.comparison import cli
from experiments.config import Config, MeasureConfig
from experiments.console import Console, _exit_code
from experiments.measure_panel import Said, draw_panel
from experiments.run_folder import METRICS
from experiments.shop_reward import shop_reward
from experiments.stages import StageContext, run_stages
from policies.baselines import similarity_policy
from rewards.claims import ClaimChecker
from rewards.mix_config import RewardConfig
from sft.corpus import Corpus
from tests.shop_at_hand import small_shop

# --- names --------------------------------------------------------------------------------------


def test_algorithms_are_read_in_order_and_once() -> None:
    assert read_algorithms("rloo, ppo,rloo") == ("rloo", "ppo")


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("ppo,grop", r"no algorithm 'grop'; choose among ppo, grpo, .* Did you mean 'grpo'\?"),
        ("sft", "no algorithm 'sft'"),
        (" ,", "no name; choose among ppo"),
    ],
)
def test_a_name_that_is_none_is_one_line(listed: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_algorithms(listed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--algorithms", "dpo"], "there is no algorithm 'dpo'"),
        (["--cycles", "3", "--seconds", "5"], "two budgets; give one of them"),
        (["--cycles", "0"], "Invalid value for '--cycles'"),
        (["--seconds", "-1"], "ppo.seconds: must be greater than 0"),
        (["--set", "ppo.algorithm=dpo"], "ppo.algorithm: must be"),
    ],
)
def test_mistakes_on_the_command_line_end_at_once(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("name: run\n")
    command = [str(config), "--out", str(tmp_path / "out"), *arguments]
    assert _exit_code(cli, command) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""
    assert not (tmp_path / "out").exists()


# --- the table ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench() -> Bench:
    """The small shop, a panel of all its items, nothing trained."""
    shop, config = small_shop(), Config(name="bench", seed=2)
    home = shop_reward(
        shop.world(ShopConfig()), similarity_policy(), ClaimChecker(shop.visitors.catalogue),
        RewardConfig(), 1,
    )  # fmt: skip
    panel = draw_panel(
        MeasureConfig(prompts=40, samples=2), shop.visitors, np.arange(80), np.random.default_rng(4)
    )
    return Bench(config, shop, Corpus([], [], [], np.arange(80)), panel, home, Path("sft"))


@pytest.fixture(scope="module")
def table(bench: Bench) -> dict[str, Any]:
    """SFT says nothing about any item; `ppo` says the same; `rules` tell the facts that fit."""
    rows = len(bench.panel.prompts)
    nothing = Said(["This is a good choice for you."] * rows, ["This is a good choice."] * rows)
    figures = {"train_cpu_seconds": 2.0, "cpu_ms_per_text": 1.0, "kl": 0.5}
    cells = [Cell("sft", seed, nothing, {**figures, "kl": 0.0}) for seed in (0, 1)]
    cells += [Cell("ppo", seed, nothing, {**figures, "kl": 0.5 + seed}) for seed in (0, 1)]
    for seed in (0, 1):
        said = bench.judge().rules(np.random.default_rng(seed))
        cells.append(Cell("rules", seed, said, {**figures, "kl": None}))
    return make_table(bench, cells)


def test_what_says_the_same_as_sft_gains_nothing(table: dict[str, Any]) -> None:
    sft, ppo, _ = table["rows"]
    assert "gain" not in sft
    assert ppo["gain"] == {"value": 0, "low": 0, "high": 0}
    assert ppo["gain_by_seed"] == [0, 0]
    assert ppo["kept"] is None
    assert all(change["value"] == 0 for change in ppo["paired"].values())
    assert ppo["kl"] == pytest.approx(1)  # of 0.5 and 1.5
    assert ppo["figures"] == sft["figures"]


def test_true_fitting_facts_gain_at_home_and_in_the_held_out_shops(table: dict[str, Any]) -> None:
    rules = table["rows"][2]
    assert rules["gain"]["low"] > 0
    assert rules["held_out_gain"]["low"] > 0
    assert np.mean(rules["gain_by_seed"]) == pytest.approx(rules["gain"]["value"])
    assert rules["reward"] - table["rows"][0]["reward"] == pytest.approx(rules["gain"]["value"])
    assert rules["kept"]["value"] == pytest.approx(
        rules["held_out_gain"]["value"] / rules["gain"]["value"]
    )
    assert rules["figures"]["claim_precision"]["value"] == 1
    assert rules["paired"]["profile_match"]["low"] > 0
    assert rules["kl"] is None


def test_the_table_is_printed_with_every_row_and_what_to_know(table: dict[str, Any]) -> None:
    head, *rows = printed_rows(table)
    assert [row[0] for row in rows] == ["sft", "ppo", "rules"]
    assert all(len(row) == len(head) for row in rows)
    text = as_markdown(table)
    assert text.count("\n| ") == 4  # the rule of the head, and three rows
    assert "means over 2 seeds" in text
    assert "dbn, cascade, ubm" in text
    page = as_html(table, "<b>run</b>")
    assert "&lt;b&gt;run" in page
    assert "<b>" not in page
    assert page.count("<tr>") == 4


def test_the_best_of_n_is_the_end_of_the_way(bench: Bench) -> None:
    rows = len(bench.panel.prompts)
    figures = {"kl": 0, "train_cpu_seconds": 0, "cpu_ms_per_text": 0}
    said = bench.judge().rules(np.random.default_rng(0))
    half = Said([*said.texts[: rows // 2], *[""] * (rows - rows // 2)], [""] * rows)
    cells = [Cell("sft", 0, Said([""] * rows, [""] * rows), figures), Cell("ppo", 0, half, figures)]
    assert make_table(bench, cells)["rows"][1]["way"] is None
    table = make_table(bench, [*cells, Cell("best_of", 0, said, figures)])
    _, ppo, best = table["rows"]
    assert best["way"]["value"] == pytest.approx(1)
    assert ppo["way"]["value"] == pytest.approx(ppo["gain"]["value"] / best["gain"]["value"])


def test_rows_of_another_number_of_seeds_are_refused(bench: Bench) -> None:
    rows = len(bench.panel.prompts)
    said, figures = Said([""] * rows, [""] * rows), {"kl": 0, "train_cpu_seconds": 0}
    cells = [Cell(name, 0, said, {**figures, "cpu_ms_per_text": 0}) for name in ("sft", "ppo")]
    with pytest.raises(ValueError, match="argument"):
        make_table(bench, [*cells, Cell("ppo", 1, said, cells[0].figures)])


# --- finished once ------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What a comparison starts from, as far as its hash goes."""
    for name in ("catalogue", "similarity", "sft"):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "result").write_text(name)
    return tmp_path / "run"


class Trainings:
    """Stands in for training, writing and judging; notes each, and can be told to die."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        self.before: Callable[[str], None] = lambda name: None
        monkeypatch.setattr(algorithms, "open_bench", lambda config, run: None)
        monkeypatch.setattr(algorithms, "_run_cell", self._cell)
        monkeypatch.setattr(
            algorithms, "make_table",
            lambda bench, cells, progress: {"texts": [cell.said.texts[0] for cell in cells]},
        )  # fmt: skip
        for name in ("as_markdown", "as_html"):
            monkeypatch.setattr(algorithms, name, lambda table, *name: str(table))

    def _cell(self, context: StageContext, bench: Bench, algorithm: str) -> dict[str, Any]:
        name = context.out.name.split(".")[1]
        self.before(name)
        self.made.append(name)
        write_json(context.out / "said.json", {"own": [f"{name} {context.seed}"], "other": [""]})
        return {"kl": 0}


def compare(run: Path, names: tuple[str, ...], seeds: int, **ppo: Any) -> dict[str, Any]:
    config = Config.model_validate({"name": "cmp", "seed": 1, "ppo": ppo})
    console = Console(stream=StringIO())
    stages = comparison_stages(run, names, seeds)
    return run_stages(stages, config, run / "comparison", console=console)


def test_a_killed_comparison_goes_on_and_ends_in_the_same_table(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(monkeypatch)

    def die(name: str) -> None:
        if name == "grpo_0":
            raise KeyboardInterrupt

    trainings.before = die
    with pytest.raises(KeyboardInterrupt):
        compare(run, ("ppo", "grpo"), 2)
    assert trainings.made == ["sft_0", "sft_1", "ppo_0", "ppo_1"]
    assert not (run / "comparison" / "grpo_0").exists()
    trainings.before = lambda name: None
    found = compare(run, ("ppo", "grpo"), 2)
    assert trainings.made == ["sft_0", "sft_1", "ppo_0", "ppo_1", "grpo_0", "grpo_1"]
    texts = found["table"]["texts"]
    assert [text.split()[0] for text in texts] == trainings.made
    assert len({text.split()[1] for text in texts}) == 6  # every cell has a seed of its own
    assert read_json(run / "comparison" / METRICS)["table"] == found["table"]
    assert compare(run, ("ppo", "grpo"), 2) == found
    assert len(trainings.made) == 6


def test_more_seeds_and_algorithms_are_added_to_what_is_there(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(monkeypatch)
    compare(run, ("ppo",), 1)
    trainings.made.clear()
    compare(run, ("rules", "ppo"), 2)
    assert trainings.made == ["sft_1", "rules_0", "rules_1", "ppo_1"]


def test_another_budget_or_another_sft_writer_trains_anew(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = Trainings(monkeypatch)
    compare(run, ("ppo",), 1)
    trainings.made.clear()
    compare(run, ("ppo",), 1, cycles=3)
    assert trainings.made == ["sft_0", "ppo_0"]
    trainings.made.clear()
    (run / "sft" / "result").write_text("other")
    compare(run, ("ppo",), 1, cycles=3)
    assert trainings.made == ["sft_0", "ppo_0"]


@pytest.mark.parametrize("algorithm", ["ppo", "grpo", "rloo"])
def test_each_trains_by_its_own_algorithm_with_the_settings_of_all(
    bench: Bench, algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything but the training is the real thing; the trained writer says what SFT does."""
    met: list[Any] = []

    def train(context: Any, sft: Path, rows: Any, mix: Any, config: Any) -> dict[str, Any]:
        met.append((sft, config))
        context.progress(1, 1, {})
        return {"cycles": config.cycles}

    said = Said(["a"] * len(bench.panel.prompts), ["b"] * len(bench.panel.prompts))
    monkeypatch.setattr(algorithms, "train_in_shop", train)
    monkeypatch.setattr(algorithms, "training_rows", lambda visitors, corpus, rng: [])
    monkeypatch.setattr(
        algorithms, "by_sampling", lambda bench, writer, config, seed: Written(said, 0.25, 1.6)
    )
    context: Any = SimpleNamespace(
        config=Config.model_validate({"name": "cmp", "ppo": {"cycles": 3, "clip": 0.3}}),
        out=tmp_path, work=tmp_path, inputs={}, metrics_of=None, seed=5, progress=silent,
        say=lambda line: None, warn=lambda line: None,
    )  # fmt: skip
    figures = algorithms._run_cell(StageContext(**vars(context)), bench, algorithm)
    ((sft, config),) = met
    assert sft == bench.sft
    assert (config.algorithm, config.cycles, config.clip) == (algorithm, 3, 0.3)
    assert figures["kl"] == 0.25
    assert figures["cpu_ms_per_text"] == pytest.approx(1600 / 160)
    assert figures["train_cpu_seconds"] >= 0
    assert read_json(tmp_path / "said.json") == {"own": said.texts, "other": said.other_texts}


def test_settings_that_an_algorithm_does_not_take_are_one_line_before_any_work(
    tmp_path: Path,
) -> None:
    config = Config.model_validate({"name": "cmp", "ppo": {"entropy_coefficient": 0.1}})
    console = Console(stream=StringIO())
    with pytest.raises(UserError, match=r"algorithm rloo: .*entropy_coefficient needs algorithm"):
        algorithms.compare_algorithms(config, config, tmp_path / "run", ["rloo"], 1, console)
    assert not (tmp_path / "run").exists()


def test_cpu_seconds_of_a_killed_training_count(tmp_path: Path) -> None:
    reported: list[int] = []
    path = tmp_path / "cpu.json"
    write_json(path, 100.0)
    clock = CpuClock(path, lambda done, total, figures: reported.append(done))
    clock.report(3, 8, {})
    assert reported == [3]
    kept = read_json(path)
    assert 100 <= kept <= clock.spent() < 101
    assert CpuClock(path, silent).spent() >= kept


def test_the_command_offers_every_algorithm() -> None:
    (command,) = (typer.main.get_command(cli),)
    help_text = " ".join(str(option.help) for option in command.params if hasattr(option, "help"))
    assert all(name in help_text for name in ALGORITHMS)
