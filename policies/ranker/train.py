"""Train the ranker: warm start, PPO iterations, evaluation, checkpoints, the best scorer."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch.utils.tensorboard import SummaryWriter

from envs.errors import UserError
from envs.progress import Progress, silent
from policies.ranker.algorithm import Trainer, make_trainer
from policies.ranker.checkpoint import Row, Standing, load_checkpoint, save_checkpoint
from policies.ranker.config import RankerConfig
from policies.ranker.scorer import SlateScorer
from policies.ranker.shelf import MakeEnv, Shelf, mean_return, observe, read_shelf
from policies.ranker.warm_start import (
    fit_log,
    log_pages,
    logging_rows,
    logging_scorer,
    search_prices,
    set_spread,
)

__all__ = ["RankerConfig", "RankerResult", "train_ranker"]

#: Figures of an iteration: the mean return of the sessions that ended while it collected; then
#: on the evaluation sessions, showing the most probable slates and sampled ones; the update.
MEASURED = ("return_sampled", "return_topk", "return_explored", "entropy", "kl", "vf_loss")

# Steps of the evaluation env from which the inputs are standardised.
_OBSERVED_STEPS = 8


@dataclass(frozen=True)
class RankerResult:
    """A trained ranker.

    ``scorer`` is the one with the best return of its most probable slates, ``best_return``;
    ``curve`` has a row an iteration (`MEASURED`, with ``iteration, env_steps, seconds``; None
    where not measured; iteration 0 is the warm start, before PPO).
    """

    scorer: SlateScorer
    curve: list[Row]
    best_return: float


def train_ranker(
    make_env: MakeEnv,
    config: RankerConfig,
    work: Path,
    progress: Progress = silent,
    seed: int = 0,
) -> RankerResult:
    """Train a ranker in the envs of ``make_env(num_envs, seed)``, resuming what ``work`` holds.

    PPO starts from what a log of sampled slates tells (`policies.ranker.warm_start`), where the
    settings ask for one and the env's info tells what each slot earned.
    ``work`` gets ``checkpoint/`` (resume only) and ``tb/`` (TensorBoard). A killed run called
    again with the same settings and seed goes on from its last checkpoint; a larger
    ``iterations`` trains a finished one further. Raises `UserError` where the env or
    ``baseline_features`` do not fit.
    """
    with isolated_randomness(seed):
        return _train(make_env, config, work, progress, seed)


def _train(
    make_env: MakeEnv, config: RankerConfig, work: Path, progress: Progress, seed: int
) -> RankerResult:
    started = time.monotonic()
    first_seed, eval_seed, warm_seed = _seeds([seed], 3)
    with closing(make_env(config.eval_sessions, eval_seed)) as eval_env:
        shelf = read_shelf(eval_env)
        fingerprint = _fingerprint(config, shelf, seed)
        found = load_checkpoint(work / "checkpoint", fingerprint)
        scorer = _first_scorer(eval_env, config, shelf, first_seed)
        if found is None and config.warm_start.slates:
            _warm_up(make_env, scorer, config, shelf, warm_seed)
        standing, state, best = found or (Standing(), {"weights": scorer.state_dict()}, scorer)
        # A resumed run meets new shoppers, not those of its first iterations again.
        (train_seed,) = _seeds([seed, standing.iteration], 1)
        trainer = make_trainer(make_env, shelf, config, train_seed)
        with closing(trainer), closing(_writer(work, standing)) as board:
            trainer.set_state(state)
            before = standing.seconds - started
            while standing.iteration < config.iterations or not standing.curve:
                row: Row = {} if not standing.curve else _learn(trainer, standing)
                weights = trainer.get_state()["weights"]
                _check_converging(weights, standing.iteration)
                scorer.load_state_dict(weights)
                if _is_due(standing.iteration, config.eval_every, config.iterations):
                    row |= _evaluate(eval_env, scorer, shelf, eval_seed)
                    measured = row["return_topk"]
                    assert measured is not None
                    if standing.best_return is None or measured > standing.best_return:
                        standing.best_return, best = measured, copy.deepcopy(scorer)
                standing.seconds = before + time.monotonic()
                _record(standing, row, board)
                if _is_due(standing.iteration, config.checkpoint_every, config.iterations):
                    save_checkpoint(
                        work / "checkpoint", fingerprint, standing, trainer.get_state(), best
                    )
                progress(standing.iteration, config.iterations, _worth_a_glance(standing))
    assert standing.best_return is not None
    return RankerResult(best.eval(), standing.curve, standing.best_return)


def _learn(trainer: Trainer, standing: Standing) -> Row:
    figures = trainer.step()
    standing.iteration += 1
    standing.env_steps += int(figures.pop("env_steps"))
    return dict(figures)


def _evaluate(env: VectorEnv, scorer: SlateScorer, shelf: Shelf, seed: int) -> Row:
    """Return both returns on the same sessions; the same luck in sampling every time."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "return_topk": mean_return(env, scorer, shelf.slots, seed),
        "return_explored": mean_return(env, scorer, shelf.slots, seed, generator),
    }


def _check_converging(weights: dict[str, torch.Tensor], iteration: int) -> None:
    if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        raise UserError(
            f"ranker training diverged in iteration {iteration}: its weights are no finite numbers"
            f" any more; lower rank.lr or rank.clip and start over (--fresh)."
        )


def _record(standing: Standing, measured: Row, board: SummaryWriter) -> None:
    """Append a full row to the curve and to TensorBoard."""
    row: Row = {"iteration": standing.iteration, "env_steps": standing.env_steps}
    for name in MEASURED:
        row[name] = measured.get(name)
        if row[name] is not None:
            board.add_scalar(f"ranker/{name}", row[name], standing.env_steps)
    row["seconds"] = round(standing.seconds, 3)
    standing.curve.append(row)


def _worth_a_glance(standing: Standing) -> dict[str, float]:
    row = standing.curve[-1]
    figures = {"return": row["return_sampled"], "best": standing.best_return, "kl": row["kl"]}
    return {name: value for name, value in figures.items() if value is not None}


def _is_due(iteration: int, every: int, total: int) -> bool:
    return iteration % every == 0 or iteration >= total


def _first_scorer(env: Any, config: RankerConfig, shelf: Shelf, seed: int) -> SlateScorer:
    """Return an untrained scorer whose inputs are standardised on what its first policy meets."""
    generator = torch.Generator().manual_seed(seed)
    scorer = SlateScorer(config.scorer, shelf.item_features, shelf.context_features, generator)
    scorer.fit_standardiser(**observe(env, scorer, shelf.slots, _OBSERVED_STEPS, seed))
    return scorer


def _warm_up(
    make_env: MakeEnv, scorer: SlateScorer, config: RankerConfig, shelf: Shelf, seed: int
) -> None:
    """Teach the scorer, in place, what a log of training sessions tells; see `WarmStartConfig`."""
    settings = config.warm_start
    logger = logging_scorer(scorer, settings.logging_weight)
    with closing(make_env(logging_rows(settings.slates), seed)) as env:
        log = log_pages(env, logger, shelf.slots, settings.slates, config.gamma, seed)
    generator = torch.Generator().manual_seed(seed)
    if log is None or not fit_log(scorer, log, settings, generator):
        return
    set_spread(scorer, log, settings.spread)
    if scorer.crowd is not None and config.gamma:  # with gamma 0 no later page counts
        with closing(make_env(config.eval_sessions, seed)) as env:
            search_prices(
                scorer, settings.spread, lambda: mean_return(env, scorer, shelf.slots, seed)
            )


def _fingerprint(config: RankerConfig, shelf: Shelf, seed: int) -> dict[str, Any]:
    """Return what a checkpoint must share with this training; its length may differ."""
    return {
        "config": config.model_dump(mode="json", exclude={"iterations"}),
        "item_features": list(shelf.item_features),
        "context_features": list(shelf.context_features),
        "slots": shelf.slots,
        "seed": seed,
    }


def _writer(work: Path, standing: Standing) -> SummaryWriter:
    # What a killed run wrote after its last checkpoint is taken back.
    return SummaryWriter(str(work / "tb"), purge_step=standing.env_steps + 1)


def _seeds(entropy: list[int], count: int) -> list[int]:
    """Return independent seeds, small enough to add worker and row numbers to."""
    return [int(one) >> 2 for one in np.random.SeedSequence(entropy).generate_state(count)]


@contextmanager
def isolated_randomness(seed: int) -> Iterator[None]:
    """Keep RLlib's global seeding and one-thread torch inside; give the caller's back after.

    RLlib seeds `random`, `numpy.random` and torch for the whole process, makes torch refuse
    nondeterministic algorithms, and draws from the global generators.
    One thread, because spinning threads slow small networks down under contention.
    """
    python, numpy, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(torch_state)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)
