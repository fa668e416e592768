"""Numbers that come from outside, one for each text: checked before anything learns from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import UserError

F64 = NDArray[np.float64]


def finite_column(
    values: Any, what: str, count: int, rows: str, named: Callable[[int], str]
) -> F64:
    """Return ``values`` as (count,) float64.

    Args:
        values: what a reward returned.
        what: what messages call it, for example ``ppo: reward 'clicks'``.
        count: how many numbers there must be.
        rows: what they are numbers of, for example ``completions``.
        named: what messages call a row.

    Raises:
        UserError: values that are no numbers, of another shape, or not finite.
    """
    try:
        column = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise _misshapen(what, count, rows, f"a {type(values).__name__}") from error
    if column.shape != (count,):
        raise _misshapen(what, count, rows, f"shape {column.shape}")
    bad = np.flatnonzero(~np.isfinite(column))
    if bad.size:
        raise UserError(
            f"{what} is {column[bad[0]]} for {named(int(bad[0]))}: every number must be finite; "
            "mend the reward, and look for NaN in the catalogue's margins and in shop.*"
        )
    return column


def _misshapen(what: str, count: int, rows: str, found: str) -> UserError:
    return UserError(
        f"{what} must be one number for each of {count} {rows}, but was {found}: mend the reward."
    )
