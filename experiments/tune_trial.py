"""One trial of a search: train a ranker with its settings, then let it serve sessions."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import UserError
from envs.files import atomic_path, read_json, write_json
from envs.progress import Progress
from envs.shop import ShopVectorEnv
from envs.store import load_shop
from envs.world import World
from experiments.config import Config
from experiments.config_io import config_as_dict, validate_config
from experiments.run_folder import RECORD
from experiments.simulate import TRAINING_SEEDS, play
from policies.baselines import ranker_policy
from policies.ranker.scorer import save_scorer
from policies.ranker.train import train_ranker
from policies.reasoner.book import load_book
from rewards.claims import ClaimChecker

RESULT, SESSIONS = "result.json", "sessions.npy"
#: Stages of the run whose shop the ranker is trained in.
SHOP = ("catalogue", "similarity", "reasons")


@dataclass(frozen=True)
class Trial:
    """Settings to try, and the folder that keeps what they came to."""

    number: int
    #: What differs from the config, by dotted name.
    settings: dict[str, Any]
    #: The whole config with these settings.
    config: Config
    run: Path
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether the folder holds a result."""
        return (self.folder / RESULT).is_file()

    def result(self) -> dict[str, Any]:
        """Return what a finished trial came to."""
        return read_json(self.folder / RESULT)

    def sessions(self) -> NDArray[np.float64]:
        """Return the return of each evaluation session, ``(S,)``."""
        return np.load(self.folder / SESSIONS, allow_pickle=False)

    def packed(self) -> dict[str, Any]:
        """Return plain values that another process makes the trial of again."""
        return {
            "number": self.number, "settings": self.settings, "config": config_as_dict(self.config),
            "run": str(self.run), "folder": str(self.folder),
        }  # fmt: skip


def unpacked(packed: dict[str, Any]) -> Trial:
    """Return the trial of `Trial.packed`."""
    return Trial(
        packed["number"], packed["settings"], validate_config(Config, packed["config"], "trial"),
        Path(packed["run"]), Path(packed["folder"]),
    )  # fmt: skip


def trial_folder(config: Config, run: Path, tuning: Path) -> Path:
    """Return the folder of a trial: the same for the same settings in the same shop."""
    whole = config_as_dict(config)
    parts = {
        "settings": {name: whole[name] for name in ("rank", "shop", "seed")},
        "sessions": [config.simulate.sessions, config.simulate.search_sessions],
        "shop": [read_json(run / stage / RECORD)["inputs_hash"] for stage in SHOP],
    }
    text = json.dumps(parts, sort_keys=True)
    return tuning / hashlib.sha256(text.encode()).hexdigest()[:16]


def run_trial(trial: Trial, progress: Progress) -> None:
    """Train (going on from a checkpoint where there is one), measure, and write the result.

    The search compares trials on training sessions; the evaluation sessions are those that
    `shelftalk simulate` plays, on which a table may then say what the best one is worth. Training
    that diverges is a result too.
    """
    world, config = open_world(trial.config, trial.run), trial.config
    try:
        trained = train_ranker(
            lambda count, seed: ShopVectorEnv(world, count, seed),
            config.rank, trial.folder / "work", progress, config.seed,
        )  # fmt: skip
    except UserError as error:
        write_json(trial.folder / RESULT, {"settings": trial.settings, "failed": str(error)})
        return
    policy, settings = ranker_policy(trained.scorer), config.simulate
    search = play(world, policy, settings.search_sessions, TRAINING_SEEDS).reward
    served = play(world, policy, settings.sessions, config.seed).reward
    save_scorer(trained.scorer, trial.folder / "scorer")
    with atomic_path(trial.folder / SESSIONS) as temporary:
        np.save(temporary, served, allow_pickle=False)
    write_json(
        trial.folder / RESULT,
        {
            "settings": trial.settings,
            "search": float(search.mean()),
            "iterations": len(trained.curve) - 1,
            "seconds": trained.curve[-1]["seconds"],
        },
    )


def open_world(config: Config, run: Path) -> World:
    """Return the shop of a run, showing the reasons that its rankers are trained beside."""
    shop = load_shop(run / "catalogue", run / "similarity")
    visitors = shop.visitors
    book = load_book(
        run / "reasons" / "ppo.parquet",
        visitors.catalogue,
        visitors.profiles.n_segments,
        ClaimChecker(visitors.catalogue),
    )
    return shop.world(config.shop).with_reasons(book.arrays)
