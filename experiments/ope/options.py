"""What the options of ``shelftalk ope`` mean: from words on the command line to estimates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from envs.errors import UserError
from envs.feedback import read_feedback
from envs.progress import Progress, silent
from experiments.ope.chunks import evaluate_chunks
from experiments.ope.evaluate import RECOMMENDED, Estimate, Interval, check_choices, evaluate

#: Estimators that have a clipped form, and its name.
_CLIPPED = {"IPS": "ClippedIPS", "SIPS": "ClippedIPS", "DR": "ClippedDR"}


def evaluate_log(
    path: Path,
    estimators: Sequence[str] | None = None,
    *,
    column_map: Mapping[str, str] | None = None,
    interval: Interval = RECOMMENDED,
    level: float = 0.95,
    cluster: str = "session_id",
    resamples: int = 1000,
    reward_range: tuple[float, float] | None = None,
    chunk_rows: int | None = None,
    workers: int = 1,
    address: str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> list[Estimate]:
    """Evaluate a log on disk whose columns hold the target, whole or in chunks.

    Args:
        path: a Parquet file or a folder of them.
        estimators: names from ``ESTIMATORS``; None for all that fit.
        column_map: our name -> the name in the file, model columns included.
        interval: one of ``experiments.ope.evaluate.INTERVALS``.
        level: its level.
        cluster: the column whose values are independent.
        resamples: of a bootstrap.
        reward_range: least and largest possible reward of a row.
        chunk_rows: rows to hold at once; None reads the log whole.
        workers: chunks to read side by side, each on a CPU of its own.
        address: of a running Ray cluster that reads them; None for this machine.
        seed: of the bootstrap.
        progress: of the chunks.

    Raises:
        UserError: as ``evaluate``, before the log is read where a choice is wrong.
    """
    check_choices(estimators or (), interval, level)
    rng = np.random.default_rng(seed)
    if chunk_rows is not None:
        engine: Callable[..., list[Estimate]] = evaluate_chunks
        if workers > 1 or address is not None:
            # Here, because it brings the simulator with it, which one process does without.
            from experiments.ope.chunks_ray import evaluate_on_ray

            engine = partial(evaluate_on_ray, workers=workers, address=address)
        return engine(
            path, estimators, rng=rng, interval=interval, level=level, cluster=cluster,
            resamples=resamples, column_map=column_map, chunk_rows=chunk_rows, progress=progress,
        )  # fmt: skip
    frame = read_feedback(path, column_map=column_map, targets=True)
    return evaluate(
        frame, estimators, rng=rng, interval=interval, level=level, cluster=cluster,
        resamples=resamples, reward_range=reward_range,
    )  # fmt: skip


def model_columns(text: str) -> dict[str, str]:
    """Return the column map of ``--model-columns Q,V``: the model's q_hat and v_hat by name."""
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names):
        raise UserError(
            f"--model-columns {text}: name two columns, the predicted reward of the logged item "
            "and its expectation under the target, as in q_hat,v_hat."
        )
    return dict(zip(("q_hat", "v_hat"), names, strict=True))


def clipped(estimators: Sequence[str], cap: float) -> list[str]:
    """Return the names with those that have a clipped form in it: ``--clip CAP``."""
    if not (math.isfinite(cap) and cap > 0):
        raise UserError(f"--clip {cap:g}: the largest weight that counts must lie above 0.")
    if not set(estimators) & set(_CLIPPED):
        raise UserError(
            f"--clip {cap:g}: none of the estimators has a clipped form; {', '.join(_CLIPPED)} do."
        )
    return [f"{_CLIPPED[name]}@{cap:g}" if name in _CLIPPED else name for name in estimators]


def reward_bounds(text: str) -> tuple[float, float]:
    """Return the two numbers of ``--reward-range LEAST,MOST``."""
    try:
        least, most = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(
            f"--reward-range {text}: write the least and the largest possible reward of a row, as "
            "in 0,1."
        ) from None
    return least, most


def target_names(text: str) -> list[str]:
    """Return the prefixes of ``--targets A,B``."""
    return [name for name in (part.strip() for part in text.split(",")) if name]
