"""Click models, one file each, one contract (`envs.clicks.base.ClickModel`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from envs.clicks.base import F64, ClickModel
from envs.clicks.cascade import Cascade
from envs.clicks.ccm import ClickChain
from envs.clicks.dbn import DynamicBayesian
from envs.clicks.dcm import DependentClick
from envs.clicks.mnl import MultinomialLogit
from envs.clicks.parameters import ClickParameters
from envs.clicks.position import PositionBased
from envs.clicks.sdbn import SimplifiedDynamicBayesian
from envs.clicks.ubm import UserBrowsing
from envs.errors import UserError

ClickModelName = Literal["position", "cascade", "dcm", "dbn", "sdbn", "ubm", "ccm", "mnl"]


def make_click_model(name: ClickModelName, slots: int, parameters: ClickParameters) -> ClickModel:
    """Return the click model ``name`` for slates of ``slots`` items.

    Raises `UserError` where a list in ``parameters`` does not fit ``slots``.
    """
    return _MAKERS[name](slots, parameters)


def _position(slots: int, parameters: ClickParameters) -> ClickModel:
    if not parameters.theta:
        return PositionBased.decaying(slots, parameters.decay)
    return PositionBased(_listed("theta", parameters.theta, slots))


def _dcm(slots: int, parameters: ClickParameters) -> ClickModel:
    given = parameters.continuation
    if isinstance(given, float):
        return DependentClick(np.full(slots - 1, given))
    return DependentClick(_listed("continuation", given, slots - 1))


def _ubm(slots: int, parameters: ClickParameters) -> ClickModel:
    rows = parameters.ubm_gamma
    if not rows:
        return UserBrowsing.decaying(slots, parameters.ubm_decay)
    if [len(row) for row in rows] != list(range(1, slots + 1)):
        raise UserError(
            f"clicks.ubm_gamma: rows of 1, 2, ..., {slots} numbers are needed for slates of "
            f"{slots}, got rows of {[len(row) for row in rows]}: give one row a position, or []"
        )
    gamma = np.ones((slots, slots))
    gamma[np.tri(slots, dtype=bool)] = np.concatenate(rows)
    return UserBrowsing(gamma)


def _listed(name: str, values: Sequence[float], count: int) -> F64:
    """Return the listed parameter as an array (count,), or raise `UserError`."""
    if len(values) != count:
        raise UserError(
            f"clicks.{name}: {count} numbers are needed for slates of this length (one a position"
            f"{', but the last' if name == 'continuation' else ''}), got {len(values)}"
        )
    return np.array(values, dtype=np.float64)


_MAKERS: dict[ClickModelName, Callable[[int, ClickParameters], ClickModel]] = {
    "position": _position,
    "cascade": lambda slots, parameters: Cascade(),
    "dcm": _dcm,
    "dbn": lambda slots, p: DynamicBayesian(p.gamma, p.satisfaction),
    "sdbn": lambda slots, p: SimplifiedDynamicBayesian(p.satisfaction),
    "ubm": _ubm,
    "ccm": lambda slots, p: ClickChain(p.tau1, p.tau2, p.tau3),
    "mnl": lambda slots, p: MultinomialLogit(),
}
