"""What a reward may return: one finite number a text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.errors import UserError
from rewards.column import finite_column


def column(values: Any) -> np.ndarray:
    return finite_column(values, "reward 'mine'", 4, "reasons", lambda row: f"reason {row}")


def test_numbers_of_any_kind_come_back_as_float64() -> None:
    found = column([True, 2, 0.5, np.float32(1)])
    assert found.dtype == np.float64
    assert found.tolist() == [1, 2, 0.5, 1]


@pytest.mark.parametrize("shape", [(3,), (4, 1), ()])
def test_another_shape_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"^reward 'mine' must be one number for each of 4 reasons"):
        column(np.zeros(shape))


def test_what_is_no_number_is_named() -> None:
    with pytest.raises(UserError, match=r"must be one number .* but was a list"):
        column(["a", "b", "c", "d"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_first_row_that_is_not_finite_is_named(bad: float) -> None:
    with pytest.raises(UserError, match=rf"^reward 'mine' is {bad} for reason 2: every number"):
        column([0, 1, bad, bad])
