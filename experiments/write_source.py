"""What `shelftalk write` is given: a catalogue or a run to write for, and who writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from envs.assemble import find_visitors
from envs.catalogue import Catalogue
from envs.errors import UserError
from envs.files import read_json
from envs.shoppers import Profiles, ShopperConfig
from envs.store import load_shop, load_visitors
from experiments.again import open_run
from experiments.config import Config
from experiments.config_io import config_as_dict
from experiments.run_folder import MARKER, RECORD, digest
from experiments.score_input import load_facts
from experiments.stages import stage_seed
from experiments.steps_reasons import make_reward
from policies.reasoner.backends import TextBackend, transformers_backend, vllm_backend
from policies.reasoner.best_of import RowReward, fitting_claims
from policies.reasoner.generate import check_prompts, load_reasoner
from policies.reasoner.sampling import Sampling
from rewards.claims import ClaimChecker
from sft.base_model import load_model
from sft.tasks import LIKES

I64 = NDArray[np.int64]

#: Name of the writer that is no model.
RULES = "rules"
#: Stages of a run that train a writer, the better one first.
_WRITERS = ("ppo", "sft")


@dataclass(frozen=True)
class Source:
    """Items and segments to write for."""

    folder: Path
    catalogue: Catalogue
    profiles: Profiles
    #: Settings of the run, or the defaults for a catalogue that is none's.
    config: Config
    is_run: bool


def open_source(folder: Path, seed: int) -> Source:
    """Open a run, or a catalogue folder and the segments of its shoppers.

    A catalogue's history is clustered into segments; one without a history gets shoppers as a run
    would give it, simulated from its aspects.

    Raises:
        UserError: the folder is neither, or a run whose catalogue stage is not finished.
    """
    if is_run(folder):
        context = open_run(folder, ("catalogue",))
        visitors = load_visitors(context.inputs["catalogue"])
        return Source(folder, visitors.catalogue, visitors.profiles, context.config, True)
    facts = load_facts(folder, seed)
    config = Config(name="write", seed=seed)
    if facts.profiles is not None:
        return Source(folder, facts.catalogue, facts.profiles, config, False)
    found = find_visitors(facts.catalogue, ShopperConfig(), np.random.default_rng(seed))
    return Source(folder, found.catalogue, found.profiles, config, False)


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / MARKER).is_file()


def find_model(model: str | None, source: Source) -> Path | str:
    """Return the reasoner folder, model folder or hub id that ``--model`` means, or `RULES`.

    Raises:
        UserError: nothing is named and the source is no run, or what is named holds no model.
    """
    if model is None:
        if not source.is_run:
            raise UserError(
                f"--model: {source.folder} is a catalogue, which brings no writer; name a reasoner "
                f"folder, a run, a model's folder or hub id, or {RULES}"
            )
        return _writer_of(source.folder)
    if model == RULES:
        return model
    folder = Path(model).expanduser()
    if is_run(folder):
        return _writer_of(folder)
    # A hub id is a name, or an owner and a name.
    if not folder.is_dir() and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise UserError(f"--model {model}: no such folder; name one that holds a reasoner or a run")
    if folder.is_dir():
        if not ((folder / "base").is_dir() or (folder / "config.json").is_file()):
            raise UserError(
                f"--model {model}: holds neither a reasoner (a folder base), nor a model "
                f"(config.json), nor a run ({MARKER}); name a folder that does"
            )
        return folder
    return model


def _writer_of(run: Path) -> Path:
    for name in _WRITERS:
        if (run / name / RECORD).is_file():
            return open_run(run, (name,)).inputs[name]
    raise UserError(
        f"{run}: neither {' nor '.join(_WRITERS)} is finished, so the run has no writer; finish "
        "it, or name another with --model"
    )


def open_writer(
    model: Path | str, backend: str, sampling: Sampling, batch_size: int, prompts: list[str]
) -> TextBackend:
    """Load a model; a prompt that is too long for it is told before anything is written."""
    if backend == "vllm":
        return vllm_backend(model, sampling)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if isinstance(model, Path) and (model / "base").is_dir():
        writer, tokenizer = load_reasoner(model, device)
    else:
        writer, tokenizer = load_model(model)
        writer.to(device)
    check_prompts(writer, tokenizer, prompts, sampling.max_new_tokens)
    return transformers_backend(writer, tokenizer, sampling, batch_size)


def open_reward(
    source: Source, checker: ClaimChecker, items: I64, segments: I64
) -> tuple[RowReward, str, Any]:
    """Return what texts are worth, its name, and what tells this reward from another.

    In a run it is the reward that its PPO maximises, in spreads of the uplift; elsewhere it is
    `fitting_claims`.

    Raises:
        UserError: for a run whose similarity stage is not finished.
    """
    if not source.is_run:
        liked = [source.profiles.liked(s, LIKES) for s in range(source.profiles.n_segments)]
        reward = fitting_claims(checker, items, [liked[segment] for segment in segments])
        about = [digest(source.folder), liked]
        return reward, "liked aspects that a supported claim speaks to", about
    needs = ("catalogue", "similarity")
    context, config = open_run(source.folder, needs), source.config
    shop = load_shop(*(context.inputs[name] for name in needs))
    mix = make_reward(config, shop, shop.world(config.shop), stage_seed(config.seed, "ppo"))

    def worth(rows: I64, texts: list[str]) -> NDArray[np.floating]:
        return mix.score(items[rows], segments[rows], texts).total

    stages = [read_json(source.folder / name / RECORD)["inputs_hash"] for name in needs]
    settings = [config_as_dict(part) for part in (config.shop, config.reward)]
    return worth, "the run's PPO reward", [config.seed, stages, settings]


def model_digest(model: Path | str) -> str:
    """Return what tells a model from another: the files of a folder, the name of a hub id."""
    return digest(model) if isinstance(model, Path) else model
