"""The feedback log: one Parquet row per impression, with the probability of having shown it.

Columns (`S` slates of `k` positions each make `S * k` rows, in any order):

- ``slate_id, position`` (0-based), ``item_id``, ``reward``: which item stood where, what it earned;
- ``pscore``: probability of the whole ordered slate under the logging policy, equal on its rows;
- ``pscore_cascade``: probability of the items up to and with this position;
- ``pscore_item_position``: probability of this item at this position, whatever stands elsewhere;
- ``session_id`` (the slate's own id when absent), ``step, timestamp, shopper_id, segment, scene,
  query, reason_id, click, purchase, logging_policy, done``: optional;
- ``eval_pscore``, ``eval_pscore_cascade``, ``eval_pscore_item_position``: the same three under a
  stored target policy, where 0 is allowed because a target may be deterministic;
- ``q_hat, v_hat, q_hat_cascade, v_hat_cascade``: predictions of a reward model, optional (see
  ``experiments/ope/slates.py``);
- any further column is kept as it is.

A log with neither ``slate_id`` nor ``position`` is a bandit log: every row is a slate of one.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa

from envs.errors import UserError, nearest
from envs.files import atomic_path

REQUIRED = ("slate_id", "position", "item_id", "reward", "pscore")
PROPENSITIES = ("pscore", "pscore_cascade", "pscore_item_position")
TARGETS = tuple(f"eval_{name}" for name in PROPENSITIES)
MODEL_COLUMNS = ("q_hat", "v_hat", "q_hat_cascade", "v_hat_cascade")
_IDENTIFIERS = ("slate_id", "item_id", "session_id")
_FLAGS = ("click", "purchase", "done")
_DESCRIPTIONS = ("timestamp", "shopper_id", "segment", "scene", "query", "reason_id")
COLUMNS = (
    *REQUIRED,
    *PROPENSITIES[1:],
    *TARGETS,
    *MODEL_COLUMNS,
    "session_id",
    "step",
    "logging_policy",
    *_FLAGS,
    *_DESCRIPTIONS,
)
#: Probabilities are multiplied in other orders by other writers: equal to this relative error.
TOLERANCE = 1e-6
#: exp(log-probability) of a sure choice may round to a hair above 1.
_ABOVE_ONE = 1e-9


def write_feedback(frame: pd.DataFrame, path: Path) -> None:
    """Check ``frame`` and write it to ``path`` as Parquet, atomically.

    Raises:
        UserError: the frame breaks a rule of the log; nothing is written.
    """
    check_feedback(frame, str(path))
    with atomic_path(path) as temporary:
        frame.to_parquet(temporary, engine="pyarrow", index=False)


def read_feedback(
    path: Path, *, column_map: Mapping[str, str] | None = None, targets: bool = False
) -> pd.DataFrame:
    """Read and check a feedback log.

    Args:
        path: a Parquet file.
        column_map: our name -> the name in the file, such as ``{"item_id": "action"}``. A mapped
            column takes the place of one that already has our name.
        targets: whether ``eval_pscore``, the target policy's probability, must be there.

    Returns:
        The rows in the file's order, with ``session_id`` filled in, extra columns kept.

    Raises:
        UserError: the file is absent, unreadable or breaks a rule of the log.
    """
    frame = _rename(_read_parquet(path), column_map or {}, str(path))
    if "slate_id" not in frame and "position" not in frame:
        frame = frame.assign(slate_id=np.arange(len(frame)), position=0)
    if "session_id" not in frame and "slate_id" in frame:
        frame = frame.assign(session_id=frame["slate_id"])
    check_feedback(frame, str(path), targets=targets)
    return frame


def check_feedback(frame: pd.DataFrame, source: str, *, targets: bool = False) -> None:
    """Raise a UserError for the first rule of the log that ``frame`` breaks.

    Args:
        frame: the log, rows in any order.
        source: what the message calls it, usually the file's path.
        targets: whether ``eval_pscore`` must be there.
    """
    _check_columns(frame, source, (*REQUIRED, "eval_pscore") if targets else REQUIRED)
    if frame.empty:
        raise UserError(f"{source}: the feedback log has no rows; log at least one slate.")
    for column in _present(frame, _IDENTIFIERS):
        missing = frame[column].isna().to_numpy()
        _refuse(frame, source, column, missing, "an identifier must not be missing")
    _check_numbers(frame, source)
    order, starts = _check_positions(frame, source)
    _check_sessions(frame, source, order, starts)
    for prefix in ("", "eval_"):
        _check_products(frame, source, prefix, order, starts)


def slate_order(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return how to sort rows by slate (in order of appearance) and position.

    Returns:
        ``order (R,) int``, row numbers so sorted, and ``starts (S,) int``, the place in ``order``
        where each slate begins.
    """
    codes, _ = pd.factorize(frame["slate_id"])
    order = np.lexsort((frame["position"].to_numpy(), codes))
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    return order, starts


def _read_parquet(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; name a Parquet file of logged feedback.")
    try:
        return pd.read_parquet(path, engine="pyarrow")
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path}: cannot be read as Parquet ({reason}); it may be truncated or of another kind."
        ) from error


def _rename(frame: pd.DataFrame, column_map: Mapping[str, str], source: str) -> pd.DataFrame:
    for ours, theirs in column_map.items():
        if ours not in COLUMNS:
            raise UserError(
                f"{source}: the column map names {ours!r}, which is no column of the feedback log; "
                f"write OURS=THEIRS, as in item_id=action.{nearest(ours, COLUMNS)}"
            )
        if theirs not in frame:
            raise UserError(
                f"{source}: the column map {ours}={theirs} asks for column {theirs!r}, "
                f"which the file does not have.{nearest(theirs, map(str, frame.columns))}"
            )
    replaced = [name for name in frame.columns if name in {*column_map, *column_map.values()}]
    columns: dict[str, Any] = {ours: frame[theirs] for ours, theirs in column_map.items()}
    return frame.drop(columns=replaced).assign(**columns)


def _present(frame: pd.DataFrame, columns: tuple[str, ...]) -> list[str]:
    return [column for column in columns if column in frame]


def _check_columns(frame: pd.DataFrame, source: str, required: tuple[str, ...]) -> None:
    for column in required:
        if column not in frame:
            raise UserError(
                f"{source}: column {column!r} is missing; add it, or map another column to it "
                f"({column}=NAME); the file has {', '.join(map(str, frame.columns))}."
            )


def _check_numbers(frame: pd.DataFrame, source: str) -> None:
    """Types and ranges, column by column."""
    for column in _present(frame, ("position", "step")):
        values = _numbers(frame, source, column)
        bad = ~((values >= 0) & (values == np.floor(values)))
        _refuse(frame, source, column, bad, "it must be a whole number from 0 on")
    for column in _present(frame, ("reward", *MODEL_COLUMNS)):
        bad = ~np.isfinite(_numbers(frame, source, column))
        _refuse(frame, source, column, bad, "it must be a finite number")
    for column in _present(frame, _FLAGS):
        bad = ~np.isin(_numbers(frame, source, column), (0.0, 1.0))
        _refuse(frame, source, column, bad, "it must be 0 or 1")
    for column in _present(frame, PROPENSITIES):
        values = _numbers(frame, source, column)
        bad = ~((values > 0) & (values <= 1 + _ABOVE_ONE))
        rule = "the probability of something that was shown must lie in (0, 1]"
        _refuse(frame, source, column, bad, rule)
    for column in _present(frame, TARGETS):
        values = _numbers(frame, source, column)
        bad = ~((values >= 0) & (values <= 1 + _ABOVE_ONE))
        _refuse(frame, source, column, bad, "a target's probability must lie in [0, 1]")


def _numbers(frame: pd.DataFrame, source: str, column: str) -> np.ndarray:
    """Return a column as ``(R,) float64``, missing values as NaN."""
    values = frame[column]
    if not pd.api.types.is_numeric_dtype(values):
        bad = np.array([not isinstance(value, numbers.Real) for value in values])
        _refuse(frame, source, column, bad, "it must be a number")
    return values.to_numpy(dtype=float, na_value=np.nan)


def _check_positions(frame: pd.DataFrame, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Each slate has the positions 0..k-1, each once."""
    order, starts = slate_order(frame)
    positions = frame["position"].to_numpy(dtype=float)[order]
    expected = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    wrong = positions != expected
    if wrong.any():
        place = int(np.argmax(wrong))
        # Sorted positions that fall behind their rank repeat one; those ahead of it skipped one.
        repeats = positions[place] < expected[place]
        rule = (
            f"slate {_plain(frame['slate_id'].iloc[order[place]])!r} must show each position once"
            if repeats
            else f"slate {_plain(frame['slate_id'].iloc[order[place]])!r} lacks position "
            f"{int(expected[place])}; positions must run from 0 without gaps"
        )
        _fail(frame, source, "position", int(order[place]), rule)
    return order, starts


def _check_sessions(
    frame: pd.DataFrame, source: str, order: np.ndarray, starts: np.ndarray
) -> None:
    """All rows of a slate belong to one session."""
    if "session_id" not in frame:
        return
    codes, _ = pd.factorize(frame["session_id"])
    changed = codes[order] != _spread(codes[order][starts], starts, len(order))
    _refuse(
        frame, source, "session_id", _in_file_order(changed, order), "a slate lies in one session"
    )


def _check_products(
    frame: pd.DataFrame, source: str, prefix: str, order: np.ndarray, starts: np.ndarray
) -> None:
    """The slate's probability is the product of its stages."""
    whole_name, stages_name = f"{prefix}pscore", f"{prefix}pscore_cascade"
    if whole_name not in frame:
        return
    whole = frame[whole_name].to_numpy(dtype=float)[order]
    first = _spread(whole[starts], starts, len(order))
    differs = ~np.isclose(whole, first, rtol=TOLERANCE, atol=0.0)
    rule = "the probability of the whole slate must be the same on all its rows"
    _refuse(frame, source, whole_name, _in_file_order(differs, order), rule)
    if stages_name not in frame:
        return
    stages = frame[stages_name].to_numpy(dtype=float)[order]
    above = np.ones(len(order))
    above[1:] = stages[:-1]
    above[starts] = 1.0
    rises = stages > above * (1 + TOLERANCE)
    rule = "the probability of a longer prefix must not exceed that of a shorter one"
    _refuse(frame, source, stages_name, _in_file_order(rises, order), rule)
    last = np.append(starts[1:], len(order)) - 1
    unequal = np.zeros(len(order), dtype=bool)
    unequal[last] = ~np.isclose(stages[last], whole[last], rtol=TOLERANCE, atol=0.0)
    if unequal.any():
        row = int(order[np.argmax(unequal)])
        rule = (
            f"at a slate's last position it must equal {whole_name!r} "
            f"({_plain(frame[whole_name].iloc[row])!r}), the product of all stages"
        )
        _fail(frame, source, stages_name, row, rule)


def _spread(per_slate: np.ndarray, starts: np.ndarray, rows: int) -> np.ndarray:
    """Repeat ``per_slate (S,)`` over each slate's sorted rows, to ``(R,)``."""
    return np.repeat(per_slate, np.diff(starts, append=rows))


def _in_file_order(flags: np.ndarray, order: np.ndarray) -> np.ndarray:
    unsorted = np.empty_like(flags)
    unsorted[order] = flags
    return unsorted


def _refuse(frame: pd.DataFrame, source: str, column: str, bad: np.ndarray, rule: str) -> None:
    """Fail on the first row flagged in ``bad (R,) bool``, in the file's order."""
    if bad.any():
        _fail(frame, source, column, int(np.argmax(bad)), rule)


def _fail(frame: pd.DataFrame, source: str, column: str, row: int, rule: str) -> NoReturn:
    value = _plain(frame[column].iloc[row])
    raise UserError(
        f"{source}: column {column!r}, row {row} (counted from 0): {rule}; it is {value!r}."
    )


def _plain(value: Any) -> Any:
    """A NumPy scalar as the Python value people read."""
    return value.item() if isinstance(value, np.generic) else value
