"""A search over the ranker's settings with Ray Tune: random draws, each beside the config itself.

Ray Tune places the trials on the machine's cores, or a cluster's. What a trial came to lies in a
folder of its own, named by its settings, so a search that was killed goes on where it was, trials
in training too, and a longer one keeps what is there. (Tune's own restore reads pickles, and is not
used.)
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import ray
import yaml
from ray import tune

from envs.errors import UserError
from envs.files import write_json, write_text
from envs.progress import Progress
from experiments.config import Config
from experiments.console import Console
from experiments.pipeline import stages_for
from experiments.run_folder import hold
from experiments.stages import run_stages
from experiments.tune_sweep import Sweep, changed, draw_settings
from experiments.tune_table import as_text, make_table
from experiments.tune_trial import Trial, run_trial, trial_folder, unpacked
from policies.ranker.algorithm import start_ray

#: In the run folder: the trials, and what they came to.
FOLDER, TABLE, BEST = "tuning", "table.json", "best.yaml"


def tune_ranker(
    config: Config, run: Path, sweep: Sweep, trials: int, address: str | None, console: Console
) -> dict[str, Any]:
    """Make the run's shop and reasons if they are missing, then try what was not tried yet.

    Args:
        config: the run's settings; those of the ranker are the first trial.
        run: the run folder; the search is kept in its folder ``tuning``.
        sweep: what is drawn.
        trials: how many draws.
        address: a Ray cluster; None for this machine. The run folder must be on all its machines.
        console: shows progress.

    Returns:
        The table as plain values, see `experiments.tune_table.make_table`.

    Raises:
        UserError: settings that exclude each other, or no cluster at the address.
    """
    alone = changed(config, {f"rank.{name}": value for name, value in _ALONE.items()})
    drawn = draw_settings(sweep, alone, trials, config.seed)
    run_stages(stages_for(config), config, run, until="reasons", console=console)
    folder = (run / FOLDER).resolve()
    planned = [_trial(alone, run, folder, number, one) for number, one in enumerate(drawn)]
    with hold(folder), console.stage("tune"):
        missing = [trial for trial in planned if not trial.finished]
        if len(missing) < len(planned):
            console.say(f"{len(planned) - len(missing)} of {len(planned)} trials finished before")
        if missing:
            _search(missing, folder, address, console.progress("tune"))
    table = make_table(planned)
    write_json(folder / TABLE, table)
    write_text(folder / BEST, _as_yaml(config, table))
    return table


def table_text(table: dict[str, Any], run: Path) -> str:
    """Return the table as lines, and where the best settings are."""
    return f"{as_text(table)}best settings: {run / FOLDER / BEST}\n"


# Trials share the cores: each trains in its own process, without workers of its own.
_ALONE: dict[str, Any] = {"algorithm": "ppo", "num_learners": 0, "address": None,
                          "num_env_runners": 0}  # fmt: skip


def _trial(config: Config, run: Path, folder: Path, number: int, drawn: dict[str, Any]) -> Trial:
    own = changed(config, drawn)
    return Trial(number, drawn, own, run.resolve(), trial_folder(own, run, folder))


def _search(trials: Sequence[Trial], folder: Path, address: str | None, progress: Progress) -> None:
    """Run the trials under Ray Tune; what they write is their result."""
    # None of Tune's own files, working folders and tables.
    for name in ("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "TUNE_DISABLE_SIGINT_HANDLER"):
        os.environ[name] = "1"
    for name in ("RAY_CHDIR_TO_TRIAL_DIR", "RAY_AIR_NEW_OUTPUT"):
        os.environ[name] = "0"
    scratch = folder / ".ray"
    start_ray(os.cpu_count() or 1, address)
    try:
        tuner = tune.Tuner(
            tune.with_resources(_trainable, {"cpu": 1}),
            param_space={"trial": tune.grid_search([trial.packed() for trial in trials])},
            run_config=tune.RunConfig(
                storage_path=str(scratch), verbose=0, callbacks=[_Watch(trials, progress)]
            ),
        )
        # Stdout is for the result; Tune greets there even where it is told to be silent.
        with redirect_stdout(io.StringIO()):
            found = tuner.fit()
    finally:
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)
    if found.errors:
        raise found.errors[0]
    if lost := [trial.number for trial in trials if not trial.finished]:
        raise RuntimeError(f"Ray Tune ended without a result of trials {lost}")


#: What a trial reports beside its figures. Not "done": by that word Tune ends a trial.
_ITERATION = "iteration"


def _trainable(space: dict[str, Any]) -> None:
    """Run one trial in a process of Ray's, and tell the driver how far it is."""
    import torch

    torch.set_num_threads(1)
    run_trial(
        unpacked(space["trial"]),
        lambda done, total, figures: tune.report({_ITERATION: done, **figures}),
    )


class _Watch(tune.Callback):
    """Turns what Tune tells of its trials into our progress."""

    def __init__(self, trials: Sequence[Trial], progress: Progress) -> None:
        self._total = sum(one.config.rank.iterations for one in trials)
        self._done: dict[str, int] = {}
        self._best: float | None = None
        self._progress = progress

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune keeps a copy for its own restore, and a console cannot be copied."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Count the iterations of all trials."""
        self._done[trial.trial_id] = int(result[_ITERATION])
        if (best := result.get("best")) is not None:
            self._best = best if self._best is None else max(best, self._best)
        figures = {} if self._best is None else {"best": self._best}
        self._progress(sum(self._done.values()), self._total, figures)


def _as_yaml(config: Config, table: dict[str, Any]) -> str:
    """Return a config file: what the user's own says, and the settings of the best trial."""
    best = next((row for row in table["trials"] if row["best"]), None)
    if best is None:
        raise UserError("tune: every trial's training diverged; search smaller rank.lr")
    own = config.model_dump(mode="json", exclude_unset=True)
    full = changed(config, best["settings"]).model_dump(mode="json")
    for name in best["settings"]:
        level, *rest = name.split(".")
        there, here = own, full
        for part in rest:
            there, here = there.setdefault(level, {}), here[level]
            level = part
        there[level] = here[level]
    said = f"# The best of {len(table['trials'])} settings that `shelftalk tune` tried.\n"
    return said + yaml.safe_dump(own, sort_keys=False, allow_unicode=True)
