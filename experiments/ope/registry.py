"""The estimators by name: their terms, the weights they use and the columns they need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from envs.errors import UserError
from experiments.ope import estimators
from experiments.ope.estimators import Terms
from experiments.ope.slates import Slates

MODEL = ("q_hat", "v_hat")
CASCADE_MODEL = ("q_hat_cascade", "v_hat_cascade")


@dataclass(frozen=True)
class Estimator:
    """How a name becomes terms to average."""

    terms: Callable[[Slates], Terms]
    propensity: str | None
    """The propensity column whose weights it uses; None where it uses none."""
    model: tuple[str, ...] = ()
    """The model columns it needs."""


def _cascade_dr(slates: Slates) -> Terms:
    """With reward-to-go predictions when the log has them, else with immediate ones."""
    weight = slates.weight("pscore_cascade")
    if all(map(slates.has, CASCADE_MODEL)):
        to_go = map(slates.prediction, CASCADE_MODEL)
        return estimators.cascade_doubly_robust(slates.reward, weight, *to_go)
    return estimators.doubly_robust(slates.reward, weight, *map(slates.prediction, MODEL))


def _importance_sampling(propensity: str) -> Estimator:
    return Estimator(
        lambda s: estimators.importance_sampling(s.reward, s.weight(propensity)), propensity
    )


def _self_normalised(propensity: str) -> Estimator:
    return Estimator(
        lambda s: estimators.self_normalised(s.reward, s.weight(propensity)), propensity
    )


#: A bandit is a slate of one, so IPS is SIPS and SNIPS is SNSIPS, on slates of any length.
ESTIMATORS: Mapping[str, Estimator] = {
    "IPS": _importance_sampling("pscore"),
    "SNIPS": _self_normalised("pscore"),
    "SIPS": _importance_sampling("pscore"),
    "IIPS": _importance_sampling("pscore_item_position"),
    "RIPS": _importance_sampling("pscore_cascade"),
    "SNSIPS": _self_normalised("pscore"),
    "SNIIPS": _self_normalised("pscore_item_position"),
    "SNRIPS": _self_normalised("pscore_cascade"),
    "DM": Estimator(lambda s: estimators.direct(s.prediction("v_hat")), None, ("v_hat",)),
    "DR": Estimator(
        lambda s: estimators.doubly_robust(s.reward, s.weight("pscore"), *map(s.prediction, MODEL)),
        "pscore",
        MODEL,
    ),
    "SNDR": Estimator(
        lambda s: estimators.self_normalised_doubly_robust(
            s.reward, s.weight("pscore")[:, 0], *map(s.prediction, MODEL)
        ),
        "pscore",
        MODEL,
    ),
    "CascadeDR": Estimator(_cascade_dr, "pscore_cascade", MODEL),
}


#: One name for each estimator that differs, in the words of the log's kind.
_OF_BANDITS = ("IPS", "SNIPS", "DM", "DR", "SNDR")
_OF_SLATES = tuple(name for name in ESTIMATORS if name not in ("IPS", "SNIPS"))


def available(slates: Slates) -> list[str]:
    """Return the estimators whose columns the log has, each under one name."""
    names = _OF_BANDITS if slates.k == 1 else _OF_SLATES
    return [name for name in names if not _missing(name, slates)]


def _missing(name: str, slates: Slates) -> list[str]:
    """The columns that an estimator needs and the log lacks."""
    wanted = ESTIMATORS[name]
    model: tuple[str, ...] = wanted.model
    if name == "CascadeDR" and all(map(slates.has, CASCADE_MODEL)):
        model = CASCADE_MODEL
    weights = () if wanted.propensity is None else (wanted.propensity, f"eval_{wanted.propensity}")
    return [column for column in (*weights, *model) if not slates.has(column)]


def require(name: str, slates: Slates) -> None:
    """Raise a UserError that names the first column which ``name`` needs and the log lacks."""
    missing = _missing(name, slates)
    if missing:
        raise UserError(
            f"estimator {name} needs column {missing[0]!r}, which the feedback log does not have; "
            "add it, map another column to it, or leave the estimator out."
        )
