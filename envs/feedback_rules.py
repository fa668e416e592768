"""The rules of the feedback log: columns, types, ranges, whole slates, products of stages.

What each column means is told in `envs.feedback`. Everything is a few passes over whole columns: a
million rows take well under a second.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from envs.errors import UserError

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


@dataclass(frozen=True)
class Source:
    """What messages call a log: the name of the whole, and of the file that a row lies in."""

    name: str
    #: The parts in order, with their numbers of rows; empty where the log is one file.
    parts: Sequence[tuple[Path, int]] = ()

    def locate(self, row: int) -> tuple[str, int]:
        """Return the file of a row and the row's number in that file, both counted from 0."""
        for path, rows in self.parts:
            if row < rows:
                return str(path), row
            row -= rows
        return self.name, row


def check_feedback(frame: pd.DataFrame, source: str | Source, *, targets: bool = False) -> None:
    """Raise a UserError for the first rule of the log that ``frame`` breaks.

    Args:
        frame: the log, rows in any order.
        source: what the message calls it, usually the file's path.
        targets: whether ``eval_pscore`` must be there.
    """
    source = Source(source) if isinstance(source, str) else source
    _check_columns(frame, source, (*REQUIRED, "eval_pscore") if targets else REQUIRED)
    if frame.empty:
        raise UserError(f"{source.name}: the feedback log has no rows; log at least one slate.")
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


def _present(frame: pd.DataFrame, columns: tuple[str, ...]) -> list[str]:
    return [column for column in columns if column in frame]


def _check_columns(frame: pd.DataFrame, source: Source, required: tuple[str, ...]) -> None:
    for column in required:
        if column not in frame:
            raise UserError(
                f"{source.name}: column {column!r} is missing; add it, or map another column to it "
                f"({column}=NAME); the file has {', '.join(map(str, frame.columns))}."
            )


def _check_numbers(frame: pd.DataFrame, source: Source) -> None:
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


def _numbers(frame: pd.DataFrame, source: Source, column: str) -> np.ndarray:
    """Return a column as ``(R,) float64``, missing values as NaN."""
    values = frame[column]
    if not pd.api.types.is_numeric_dtype(values):
        bad = np.array([not isinstance(value, numbers.Real) for value in values])
        _refuse(frame, source, column, bad, "it must be a number")
    return values.to_numpy(dtype=float, na_value=np.nan)


def _check_positions(frame: pd.DataFrame, source: Source) -> tuple[np.ndarray, np.ndarray]:
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
    frame: pd.DataFrame, source: Source, order: np.ndarray, starts: np.ndarray
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
    frame: pd.DataFrame, source: Source, prefix: str, order: np.ndarray, starts: np.ndarray
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


def _refuse(frame: pd.DataFrame, source: Source, column: str, bad: np.ndarray, rule: str) -> None:
    """Fail on the first row flagged in ``bad (R,) bool``, in the file's order."""
    if bad.any():
        _fail(frame, source, column, int(np.argmax(bad)), rule)


def _fail(frame: pd.DataFrame, source: Source, column: str, row: int, rule: str) -> NoReturn:
    value = _plain(frame[column].iloc[row])
    name, row = source.locate(row)
    raise UserError(
        f"{name}: column {column!r}, row {row} (counted from 0): {rule}; it is {value!r}."
    )


def _plain(value: Any) -> Any:
    """A NumPy scalar as the Python value people read."""
    return value.item() if isinstance(value, np.generic) else value
