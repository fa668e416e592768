"""A search: what it keeps, what it goes on from, and what its table says. Without Ray."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.errors import UserError
from envs.files import write_json
from envs.progress import Progress, silent
from experiments import tune, tune_trial
from experiments.commands.tuning import cli
from experiments.config import Config
from experiments.config_io import load_config
from experiments.console import Console, run_cli
from experiments.simulate import play
from experiments.tune import BEST, FOLDER, table_text, tune_ranker
from experiments.tune_sweep import Draw, Sweep
from experiments.tune_trial import SHOP, Trial, run_trial, unpacked
from policies.baselines import ranker_policy
from policies.ranker.config import WarmStartConfig
from policies.ranker.scorer import load_scorer
from tests.shop_at_hand import bare_world

CONFIG = Config.model_validate(
    {
        "name": "tiny",
        "seed": 3,
        "rank": {"iterations": 2, "num_envs": 16, "batch": 64, "minibatch": 32, "eval_every": 1,
                 "eval_sessions": 20, "checkpoint_every": 1, "scorer": {"hidden": 4}},
        "simulate": {"sessions": 40, "search_sessions": 20},
    }
)  # fmt: skip
SWEEP = Sweep(trials=2, space={"rank.lr": Draw(loguniform=(1e-3, 1e-1))})
QUIET = Console(quiet=True)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose stages are finished, and a search that runs its trials here, one by one."""
    for stage in SHOP:
        write_json(tmp_path / stage / "stage.json", {"inputs_hash": f"hash of {stage}"})
    monkeypatch.setattr(tune, "run_stages", lambda *args, **how: {})
    monkeypatch.setattr(tune_trial, "open_world", lambda config, run: bare_world())
    monkeypatch.setattr(tune, "_search", search_here)
    return tmp_path


def search_here(
    trials: Sequence[Trial], folder: Path, address: str | None, progress: Progress
) -> None:
    for trial in trials:
        run_trial(unpacked(trial.packed()), silent)


def test_a_search_pairs_every_trial_with_the_config_and_writes_the_best(run: Path) -> None:
    table = tune_ranker(CONFIG, run, SWEEP, 2, None, QUIET)
    rows = {row["trial"]: row for row in table["trials"]}
    assert set(rows) == {0, 1, 2}
    assert rows[0]["settings"] == {}
    assert "difference" not in rows[0]
    # The figures are those of the saved ranker on the evaluation sessions, paired by session.
    served = {}
    for folder in (run / FOLDER).iterdir():
        if (folder / "result.json").exists():
            policy = ranker_policy(load_scorer(folder / "scorer"))
            lr = tune_trial.read_json(folder / "result.json")["settings"].get("rank.lr")
            served[lr] = play(bare_world(), policy, 40, CONFIG.seed).reward
    for number, row in rows.items():
        own = served[row["settings"].get("rank.lr")]
        assert row["return"]["mean"] == pytest.approx(own.mean())
        if number:
            assert row["difference"]["mean"] == pytest.approx((own - served[None]).mean())
    searched = [row["search"] for row in table["trials"]]
    assert searched == sorted(searched, reverse=True)
    assert [row["best"] for row in table["trials"]] == [True, False, False]
    # What `shelftalk run` gets is the user's own file with the best settings.
    best = load_config(Config, run / FOLDER / BEST)
    wanted = {
        **CONFIG.rank.model_dump(),
        "lr": table["trials"][0]["settings"].get("rank.lr", CONFIG.rank.lr),
    }
    assert best.rank.model_dump() == wanted
    assert best.model_copy(update={"rank": CONFIG.rank}) == CONFIG
    text = table_text(table, run)
    assert "as in the config" in text
    assert "lr=" in text


def test_a_longer_search_keeps_what_is_there(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tune_ranker(CONFIG, run, SWEEP, 1, None, QUIET)
    ran: list[int] = []

    def count(trials: Sequence[Trial], *others: Any) -> None:
        ran.extend(trial.number for trial in trials)
        search_here(trials, *others)

    monkeypatch.setattr(tune, "_search", count)
    after = tune_ranker(CONFIG, run, SWEEP, 2, None, QUIET)
    assert ran == [2]
    kept = {row["trial"]: row["return"] for row in after["trials"]}
    assert all(kept[row["trial"]] == row["return"] for row in before["trials"])
    # Another shop is another search.
    write_json(run / "reasons" / "stage.json", {"inputs_hash": "other reasons"})
    tune_ranker(CONFIG, run, SWEEP, 1, None, QUIET)
    assert ran == [2, 0, 1]


def test_a_trial_that_diverges_is_a_row_and_no_end(run: Path) -> None:
    # A warm start would be what is left of a training that diverges.
    cold = CONFIG.rank.model_copy(update={"warm_start": WarmStartConfig(slates=0)})
    config = CONFIG.model_copy(update={"rank": cold})
    wild = Sweep(space={"rank.lr": Draw(choice=(1e30,))})
    table = tune_ranker(config, run, wild, 1, None, QUIET)
    good, bad = table["trials"]
    assert (good["trial"], good["best"]) == (0, True)
    assert "diverged" in bad["failed"]
    assert "diverged" in table_text(table, run)
    hopeless = config.model_copy(update={"rank": cold.model_copy(update={"lr": 1e30})})
    with pytest.raises(UserError, match="every trial's training diverged"):
        tune_ranker(hopeless, run, wild, 1, None, QUIET)


def test_trials_run_alone_whatever_the_config_says(run: Path) -> None:
    workers = {"algorithm": "appo", "num_env_runners": 2, "num_learners": 1}
    config = CONFIG.model_copy(update={"rank": CONFIG.rank.model_copy(update=workers)})
    table = tune_ranker(config, run, SWEEP, 1, None, QUIET)
    assert np.isfinite([row["search"] for row in table["trials"]]).all()
    # The settings of a training on its own are not written back.
    assert load_config(Config, run / FOLDER / BEST).rank.num_env_runners == 2


def test_the_command_answers_a_mistake_in_the_sweep_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, sweep = tmp_path / "shop.yaml", tmp_path / "sweep.yaml"
    config.write_text("name: shop\n", encoding="utf-8")
    sweep.write_text("space:\n  rank.gama: {choice: [0.9]}\n", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        run_cli(cli, [str(config), "--sweep", str(sweep), "--out", str(tmp_path / "run")])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "Did you mean 'rank.gamma'?" in said.err
    assert not (tmp_path / "run").exists()
