"""A feedback log as dense arrays: rewards, importance weights, model predictions, clusters.

Slates may differ in length. A position that a slate does not have is a choice that both policies
make with probability 1 and that earns nothing: item weight 1, cascade weight carried on, reward
and predictions 0. Every mean weight then still expects 1, so no estimator needs a mask.

Model columns: ``q_hat`` is the predicted reward of the logged item at its position given the items
above, ``v_hat`` the expectation of that prediction at that position when the target policy fills
the slate. ``q_hat_cascade`` and ``v_hat_cascade`` are Kiyohara's pair for CascadeDR: the reward
*to go*, and its expectation over the target's choice at this position given the logged items above.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd

from envs.errors import UserError
from envs.feedback import PROPENSITIES, check_feedback, slate_order


class Slates:
    """The log as ``(S, k)`` arrays, each made when first asked for.

    Args:
        frame: a feedback log in any row order; it is checked here.
        cluster: the column whose values are resampled as one, such as ``session_id``; when it is
            ``session_id`` and absent, each slate is its own cluster.

    Raises:
        UserError: the log breaks a rule, or a column that is asked for is absent.
    """

    def __init__(self, frame: pd.DataFrame, cluster: str = "session_id") -> None:
        check_feedback(frame, "the feedback log", targets=True)
        self._frame = frame
        self._cluster = cluster
        self._order, self._starts = slate_order(frame)
        self._lengths = np.diff(self._starts, append=len(frame))

    @property
    def n(self) -> int:
        """Number of slates, S."""
        return len(self._starts)

    @property
    def k(self) -> int:
        """Positions of the longest slate."""
        return int(self._lengths.max())

    def has(self, column: str) -> bool:
        """Whether ``column`` is in the log or follows from it: on slates of one, all agree."""
        return self._stand_in(column) in self._frame

    def grid(self, column: str) -> np.ndarray:
        """Return a column as ``(S, k) float64``, NaN where a slate has no such position."""
        column = self._stand_in(column)
        if column not in self._frame:
            raise UserError(
                f"the feedback log has no column {column!r}; add it, or ask for estimators that "
                "do not need it."
            )
        out = np.full((self.n, self.k), np.nan)
        rows = np.repeat(np.arange(self.n), self._lengths)
        columns = np.arange(len(self._order)) - np.repeat(self._starts, self._lengths)
        out[rows, columns] = self._frame[column].to_numpy(dtype=float)[self._order]
        return out

    @cached_property
    def reward(self) -> np.ndarray:
        """(S, k) float64."""
        return self._filled("reward")

    def weight(self, propensity: str) -> np.ndarray:
        """Return the importance weights pi_e / pi_b of one kind of propensity, ``(S, k) float64``.

        ``pscore`` weighs the whole slate (the same at all its positions), ``pscore_cascade`` the
        items up to a position, ``pscore_item_position`` the item at a position.
        """
        weight = self.grid(f"eval_{propensity}") / self.grid(propensity)
        absent = np.isnan(weight)
        if propensity == "pscore_item_position":
            return np.where(absent, 1.0, weight)
        last = weight[np.arange(self.n), self._lengths - 1]
        return np.where(absent, last[:, None], weight)

    def prediction(self, column: str) -> np.ndarray:
        """Return a model column as ``(S, k) float64``."""
        return self._filled(column)

    @cached_property
    def clusters(self) -> np.ndarray:
        """(S,) int: the number of the cluster each slate belongs to, from 0 without gaps."""
        if self._cluster not in self._frame:
            if self._cluster == "session_id":
                return np.arange(self.n)
            raise UserError(f"the feedback log has no column {self._cluster!r} to cluster by.")
        keys = self._frame[self._cluster]
        if keys.isna().any():
            raise UserError(
                f"column {self._cluster!r} has missing values; fill them to cluster by."
            )
        codes, _ = pd.factorize(keys)
        # A cluster that starts in the middle of a slate would cut it in two.
        if (codes[self._order] != np.repeat(codes[self._order][self._starts], self._lengths)).any():
            raise UserError(f"column {self._cluster!r} varies within a slate; cluster by another.")
        return codes[self._order][self._starts]

    def _stand_in(self, column: str) -> str:
        """On slates of one the three propensities are one number."""
        name = column.removeprefix("eval_")
        if column in self._frame or name not in PROPENSITIES or self.k > 1:
            return column
        return column.removesuffix(name) + "pscore"

    def _filled(self, column: str) -> np.ndarray:
        """The grid with 0 at the positions that a slate does not have."""
        values = self.grid(column)
        return np.where(np.isnan(values), 0.0, values)
