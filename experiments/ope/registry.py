"""The estimators by name: their terms, the weights they use and the columns they need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from envs.errors import UserError
from envs.feedback_rules import TOLERANCE
from experiments.ope import adaptive_slates, estimators
from experiments.ope.estimator import (
    MODEL,
    Estimator,
    control_variate,
    doubly_robust,
    self_normalised,
    weighted,
)
from experiments.ope.estimators import Terms
from experiments.ope.pseudo_inverse import factored_weights
from experiments.ope.session_table import SESSION_ESTIMATORS
from experiments.ope.shrunk_estimators import SHRUNK, parsed_choice
from experiments.ope.slates import Slates

__all__ = ["ESTIMATORS", "Estimator", "available", "require"]

CASCADE_MODEL = ("q_hat_cascade", "v_hat_cascade")
MRDR_MODEL = ("q_hat_mrdr", "v_hat_mrdr")
CLAIM_MODEL = ("q_hat_claims", "v_hat_claims")
#: Kinds of weights as `Slates.weight` takes them: items down to here, with what stands beside them.
TEXT = "pscore_cascade*pscore_reason"
CLAIMS = "pscore_cascade*pscore_claims"
KERNEL = "pscore_cascade*weight_kernel"


def _sndr(slates: Slates) -> Terms:
    weight = slates.weight("pscore")[:, 0]
    return estimators.self_normalised_doubly_robust(
        slates.reward, weight, *map(slates.prediction, MODEL)
    )


def _cascade_dr(slates: Slates) -> Terms:
    """With reward-to-go predictions when the log has them, else with immediate ones."""
    weight = slates.weight("pscore_cascade")
    if all(map(slates.has, CASCADE_MODEL)):
        to_go = map(slates.prediction, CASCADE_MODEL)
        return estimators.cascade_doubly_robust(slates.reward, weight, *to_go)
    return estimators.doubly_robust(slates.reward, weight, *map(slates.prediction, MODEL))


def _replay(slates: Slates) -> Terms:
    """``sum r / count`` over the slates that the deterministic target would have shown."""
    target = slates.grid("eval_pscore")[:, 0]
    if not np.isin(target, (0.0, 1.0)).all():
        raise UserError(
            "estimator Replay needs a deterministic target: each eval_pscore must be 0 or 1; use "
            "SNIPS for a target that draws its slates."
        )
    return estimators.replay(slates.reward, target == 1)


def _stored_pi(slates: Slates) -> Terms:
    return estimators.importance_sampling(slates.reward, slates.weight("weight_pi")[:, :1])


def _factored_pi(slates: Slates) -> Terms:
    item = "pscore_item_position"
    product = np.nan_to_num(slates.grid(item), nan=1.0).prod(axis=1)
    whole = slates.grid("pscore")[:, 0]
    if not np.allclose(product, whole, rtol=TOLERANCE, atol=0.0):
        raise UserError(
            "estimator FactoredPI needs a log whose slots were drawn one by one, independently "
            "(pscore the product of pscore_item_position); add weight_pi "
            "(experiments.ope.pseudo_inverse) and use PI."
        )
    weight = factored_weights(slates.weight(item))
    return estimators.importance_sampling(slates.reward, weight[:, None])


#: The log's column of groups for AIPS, with the columns that stand in for it.
_GROUPS = ("behaviour_group", "segment", "scene")


def _aips(slates: Slates) -> Terms:
    kinds = ("pscore", "pscore_cascade", "pscore_item_position")
    weights = {
        name: slates.weight(kind)
        for name, kind in zip(adaptive_slates.BEHAVIOURS, kinds, strict=True)
    }
    groups = np.zeros(slates.n, dtype=np.int64)
    column = next((name for name in _GROUPS if slates.has(name)), None)
    if column is not None:
        groups, _ = pd.factorize(slates.per_slate(column), use_na_sentinel=False)
    chosen = adaptive_slates.choose_behaviours(slates.reward, weights, groups, slates.clusters)
    adapted = adaptive_slates.adaptive_weights(weights, groups, chosen)
    return estimators.importance_sampling(slates.reward, adapted)


#: A bandit is a slate of one, so IPS is SIPS and SNIPS is SNSIPS, on slates of any length.
_NAMED: Mapping[str, Estimator] = {
    "IPS": weighted("pscore"),
    "SNIPS": self_normalised("pscore"),
    "SIPS": weighted("pscore"),
    "IIPS": weighted("pscore_item_position"),
    "RIPS": weighted("pscore_cascade"),
    "SNSIPS": self_normalised("pscore"),
    "SNIIPS": self_normalised("pscore_item_position"),
    "SNRIPS": self_normalised("pscore_cascade"),
    "DM": Estimator(lambda s: estimators.direct(s.prediction("v_hat")), None, ("v_hat",)),
    "DR": doubly_robust("pscore", MODEL),
    "SNDR": Estimator(_sndr, "pscore", MODEL),
    "CascadeDR": Estimator(_cascade_dr, "pscore_cascade", MODEL),
    "MRDR": doubly_robust("pscore", MRDR_MODEL),
    **{name: shrunk.made("mse") for name, shrunk in SHRUNK.items()},
    "BetaIPS": control_variate("pscore"),
    "BetaRIPS": control_variate("pscore_cascade"),
    "BalancedIPS": Estimator(
        self_normalised("weight_balanced").terms,
        "weight_balanced",
        caveat="the interval takes the learned weights as given",
    ),
    "Replay": Estimator(_replay, "pscore"),
    "MIPS": weighted("pscore_embedding"),
    "SNMIPS": self_normalised("pscore_embedding"),
    "OffCEM": doubly_robust("pscore_cluster", MODEL),
    "PI": Estimator(_stored_pi, "weight_pi"),
    "FactoredPI": Estimator(_factored_pi, "pscore_item_position", needs=("pscore",)),
    "AIPS": Estimator(
        _aips,
        "pscore",
        needs=(
            "pscore_cascade",
            "eval_pscore_cascade",
            "pscore_item_position",
            "eval_pscore_item_position",
        ),
        whole_log=True,
        caveat="the interval takes the chosen behaviours, and the bias they cost, as given",
    ),
    "TextIPS": weighted(TEXT),
    "SNTextIPS": self_normalised(TEXT),
    "ClaimIPS": weighted(CLAIMS),
    "SNClaimIPS": self_normalised(CLAIMS),
    "KernelIPS": weighted(KERNEL),
    # Its columns are no `model`: a model of slates is held against SNIPS, which knows no reasons.
    "ClaimDR": replace(
        doubly_robust(CLAIMS, CLAIM_MODEL),
        model=(),
        needs=CLAIM_MODEL,
        caveat="the interval takes the reward model of claims as given",
    ),
    **SESSION_ESTIMATORS,
}


class Estimators(Mapping[str, Estimator]):
    """The estimators by name; ``NAME@LAMBDA`` and ``NAME@slope`` name the shrunk ones' choices.

    ``DRos@10`` shrinks with lambda 10; ``DRos@slope`` and ``DRos@mse`` (the same as ``DRos``)
    choose it from the log. Iteration gives the plain names.
    """

    def __getitem__(self, name: str) -> Estimator:
        plain, at, choice = name.partition("@")
        if not at:
            return _NAMED[name]
        if plain not in SHRUNK:
            raise KeyError(name)
        return SHRUNK[plain].made(parsed_choice(plain, choice))

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMED)

    def __len__(self) -> int:
        return len(_NAMED)


ESTIMATORS: Mapping[str, Estimator] = Estimators()

#: What is shown unasked: one name for each that differs, in the words of the log's kind, without
#: those that choose something on the log.
_OF_BANDITS = ("IPS", "SNIPS", "DM", "DR", "SNDR")
_OF_SLATES = (
    *("SIPS", "IIPS", "RIPS", "SNSIPS", "SNIIPS", "SNRIPS"),
    *("DM", "DR", "SNDR", "CascadeDR"),
)


def available(slates: Slates) -> list[str]:
    """Return the usual estimators whose columns the log has, each under one name."""
    names = _OF_BANDITS if slates.k == 1 else _OF_SLATES
    return [name for name in names if not _missing(name, slates)]


def _missing(name: str, slates: Slates) -> list[str]:
    """The columns that an estimator needs and the log lacks."""
    wanted = ESTIMATORS[name].columns()
    if name == "CascadeDR" and all(map(slates.has, CASCADE_MODEL)):
        wanted = tuple(column for column in wanted if column not in MODEL)
    return [column for column in wanted if not slates.has(column)]


def require(name: str, slates: Slates) -> None:
    """Raise a UserError that names the first column which ``name`` needs and the log lacks."""
    missing = _missing(name, slates)
    if missing:
        raise UserError(
            f"estimator {name} needs column {missing[0]!r}, which the feedback log does not have; "
            "add it, map another column to it, or leave the estimator out."
        )
