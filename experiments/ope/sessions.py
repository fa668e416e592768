"""A log's sessions as dense arrays: step by step rewards and weights, with an absorbing end.

A session is the slates that share ``session_id``, in the order of ``step`` (of the log where that
column is absent). Past its end it stays where it is: reward 0, weight 1, predictions 0, so that
sessions of any length stand side by side and every mean weight still expects 1.

Columns of session models, the same on all rows of a slate: ``q_hat_session``, predicted reward from
this slate to the session's end under the target policy, given this slate; ``v_hat_session``, its
expectation over the target's choice of the slate; ``state``, a discrete summary of the session
before the slate, in which both policies choose alike.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd

from envs.errors import UserError
from experiments.ope.estimators import Terms
from experiments.ope.slates import Slates


class Sessions:
    """E sessions of up to H slates each.

    Args:
        slates: the log.

    Raises:
        UserError: a session has a step twice.
    """

    def __init__(self, slates: Slates) -> None:
        self._slates = slates
        codes = np.arange(slates.n)
        if slates.has("session_id"):
            codes, _ = pd.factorize(slates.per_slate("session_id"))
        step = slates.per_slate("step") if slates.has("step") else np.arange(slates.n)
        order = np.lexsort((step, codes))
        self._rows = codes[order]
        starts = np.flatnonzero(np.diff(self._rows, prepend=-1))
        lengths = np.diff(starts, append=slates.n)
        self._columns = np.arange(slates.n) - np.repeat(starts, lengths)
        same = (np.diff(step[order]) == 0) & (np.diff(self._rows) == 0)
        if slates.has("step") and same.any():
            raise UserError(
                f"the feedback log's column 'step' has {step[order][np.argmax(same)]} twice in "
                "one session; number a session's slates from 0 on."
            )
        self._order = order
        self.first = order[starts]
        """(E,) int: the slate that each session starts with."""
        self.lengths = lengths
        """(E,) int: slates of each session."""

    @property
    def n(self) -> int:
        """Number of sessions, E."""
        return len(self.lengths)

    def grid(self, values: np.ndarray, beyond: float) -> np.ndarray:
        """Lay values of slates (S, ...) out as ``(E, H, ...)``, ``beyond`` past a session's end."""
        shape = (self.n, int(self.lengths.max()), *values.shape[1:])
        out = np.full(shape, beyond, dtype=np.result_type(values, type(beyond)))
        out[self._rows, self._columns] = values[self._order]
        return out

    @cached_property
    def reward(self) -> np.ndarray:
        """(E, H) float64: summed reward of each slate."""
        return self.grid(self._slates.reward.sum(axis=1), 0.0)

    @cached_property
    def weight(self) -> np.ndarray:
        """(E, H) float64: pi_e / pi_b of each whole slate."""
        return self.grid(self._slates.weight("pscore")[:, 0], 1.0)

    @cached_property
    def cumulative(self) -> np.ndarray:
        """(E, H) float64: product of the weights up to and with each step."""
        return np.cumprod(self.weight, axis=1)

    def prediction(self, column: str) -> np.ndarray:
        """Return a session model's column as ``(E, H) float64``."""
        return self.grid(self._slates.prediction(column)[:, 0], 0.0)

    @cached_property
    def state(self) -> np.ndarray:
        """(E, H) int: the number of the state before each slate, -1 past a session's end."""
        codes, _ = pd.factorize(self._slates.per_slate("state"))
        if (codes < 0).any():
            raise UserError("the feedback log's column 'state' has gaps; give each slate a state.")
        return self.grid(codes, -1)

    def terms(self, per_session: Terms) -> Terms:
        """Put the terms of E sessions, (E, T), on their first slates, ``(S, T)`` and 0 elsewhere.

        Sums over slates are then sums over sessions, so values, errors and resamples of whole
        sessions come out as those of any other estimator.
        """
        spread = []
        for part in per_session:
            rows = np.zeros((self._slates.n, part.shape[1]))
            rows[self.first] = part
            spread.append(rows)
        return Terms(*spread)
