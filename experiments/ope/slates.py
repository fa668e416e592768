"""A feedback log as dense arrays: rewards, importance weights, model predictions, clusters.

Slates may differ in length. A position that a slate does not have is a choice that both policies
make with probability 1 and that earns nothing: item weight 1, cascade weight carried on, reward
and predictions 0. Every mean weight then still expects 1, so no estimator needs a mask.

Model columns: ``q_hat`` is the predicted reward of the logged item at its position given the items
above, ``v_hat`` the expectation of that prediction at that position when the target policy fills
the slate. ``q_hat_cascade`` and ``v_hat_cascade`` are Kiyohara's pair for CascadeDR: the reward
*to go*, and its expectation over the target's choice at this position given the logged items above.

Further columns that some estimators read, all optional:

- ``pscore_embedding``, ``pscore_cluster``: probability (or density) of the shown item's embedding
  or cluster (`experiments.ope.embeddings`); ``pscore_reason``, ``pscore_claims``: of the reason
  beside the item, and of what it claims (`experiments.ope.text_actions`); each with its ``eval_``;
- ``weight_pi, weight_balanced, weight_kernel``: importance weights that are no ratio of two stored
  probabilities (`pseudo_inverse`, `balanced`, `text_actions`);
- ``q_hat_mrdr, v_hat_mrdr`` and ``q_hat_claims, v_hat_claims``: other reward models' q and v;
- ``q_hat_session, v_hat_session, state``: of sessions (`experiments.ope.sessions`).
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd

from envs.errors import UserError
from envs.feedback import PROPENSITIES, check_feedback, slate_order

#: Propensities of whole prefixes: a position that a slate lacks carries on the last one's weight.
_CARRIED = ("pscore", "pscore_cascade")


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
        values = self._frame[column].to_numpy(dtype=float)[self._order]
        if len(values) == self.n * self.k:  # all slates are of one length
            return values.reshape(self.n, self.k)
        out = np.full((self.n, self.k), np.nan)
        out[~self._absent] = values
        return out

    @cached_property
    def reward(self) -> np.ndarray:
        """(S, k) float64."""
        return np.where(self._absent, 0.0, self.grid("reward"))

    def weight(self, kind: str) -> np.ndarray:
        """Return the importance weights of one kind, ``(S, k) float64``.

        ``pscore`` weighs the whole slate (the same at all its positions), ``pscore_cascade`` the
        items up to a position, ``pscore_item_position`` the item at a position, other ``pscore_*``
        what their column says of a position; all are pi_e / pi_b. ``weight_*`` is a stored weight.
        ``A*B`` is A times the product of B over the positions down to each.

        Raises:
            UserError: a column is absent, or a value is no probability (density) or no number.
        """
        if "*" in kind:
            above, beside = kind.split("*")
            return self.weight(above) * np.cumprod(self.weight(beside), axis=1)
        ratio = kind.startswith("pscore")
        weight = self._ratio(kind) if ratio else self.grid(kind)
        absent = self._absent
        if not np.isfinite(weight[~absent]).all():
            raise UserError(
                f"the feedback log's column {kind!r} must hold "
                f"{'positive' if ratio else 'finite'} numbers without gaps"
                f"{', and its eval_ numbers from 0 on' if ratio else ''}; mend or drop them."
            )
        if kind not in _CARRIED:
            return np.where(absent, 1.0, weight)
        last = weight[np.arange(self.n), self._lengths - 1]
        return np.where(absent, last[:, None], weight)

    def per_slate(self, column: str) -> np.ndarray:
        """Return a column's value on each slate's first row, ``(S,)``, of the column's own type."""
        if column not in self._frame:
            raise UserError(f"the feedback log has no column {column!r}; add it.")
        return self._frame[column].to_numpy()[self._order[self._starts]]

    def prediction(self, column: str) -> np.ndarray:
        """Return a model column as ``(S, k) float64``.

        Raises:
            UserError: a prediction is missing or not finite.
        """
        values = self.grid(column)
        if not np.isfinite(values[~self._absent]).all():
            raise UserError(
                f"the feedback log's model column {column!r} must hold a finite number on each row."
            )
        return np.where(self._absent, 0.0, values)

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

    @cached_property
    def _absent(self) -> np.ndarray:
        """(S, k) bool: positions that a slate does not have."""
        return np.arange(self.k) >= self._lengths[:, None]

    def _ratio(self, propensity: str) -> np.ndarray:
        """pi_e / pi_b, NaN where either is not what a probability or density can be."""
        target, logged = self.grid(f"eval_{propensity}"), self.grid(propensity)
        lawful = (logged > 0) & (target >= 0)
        return np.divide(target, logged, out=np.full_like(target, np.nan), where=lawful)

    def _stand_in(self, column: str) -> str:
        """On slates of one the three propensities are one number."""
        name = column.removeprefix("eval_")
        if column in self._frame or name not in PROPENSITIES or self.k > 1:
            return column
        return column.removesuffix(name) + "pscore"
