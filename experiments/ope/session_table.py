"""The estimators of whole sessions by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from experiments.ope import estimators, session_estimators
from experiments.ope.estimator import Estimator
from experiments.ope.estimators import Terms
from experiments.ope.sessions import Sessions
from experiments.ope.slates import Slates
from experiments.ope.state_density import marginalised

SESSION_MODEL = ("q_hat_session", "v_hat_session")


def _session(
    terms: Callable[..., Terms],
    weights: Callable[[Sessions], np.ndarray],
    modelled: bool = False,
    caveat: str = "",
) -> Estimator:
    model = SESSION_MODEL if modelled else ()

    def of_log(slates: Slates) -> Terms:
        log = Sessions(slates)
        return log.terms(terms(log.reward, log.cumulative, *map(log.prediction, model)))

    return Estimator(
        of_log,
        None,
        needs=("session_id", "pscore", "eval_pscore", *model),
        unit="session",
        session_weights=weights,
        whole_log=bool(caveat),
        caveat=caveat,
    )


def _fqe(slates: Slates) -> Terms:
    log = Sessions(slates)
    return log.terms(estimators.plain(log.prediction("v_hat_session")[:, 0]))


def _mis(slates: Slates) -> Terms:
    log = Sessions(slates)
    return log.terms(marginalised(log.reward, log.weight, log.state))


def _cumulative(log: Sessions) -> np.ndarray:
    return log.cumulative


def _last(log: Sessions) -> np.ndarray:
    return log.cumulative[:, -1:]


SESSION_ESTIMATORS: Mapping[str, Estimator] = {
    "TIS": _session(session_estimators.trajectory, _last),
    "PDIS": _session(session_estimators.per_decision, _cumulative),
    "SNTIS": _session(session_estimators.normalised_trajectory, _last),
    "SNPDIS": _session(session_estimators.normalised_per_decision, _cumulative),
    "SDR": _session(session_estimators.doubly_robust, _cumulative, modelled=True),
    "SNSDR": _session(session_estimators.weighted_doubly_robust, _cumulative, modelled=True),
    "MAGIC": _session(
        session_estimators.magic,
        _cumulative,
        modelled=True,
        caveat="the interval takes the blend of model and weights as given",
    ),
    "FQE": Estimator(
        _fqe,
        None,
        needs=("session_id", "v_hat_session"),
        unit="session",
        caveat="the interval takes the fitted model as given: it counts no bias of it",
    ),
    "MIS": Estimator(
        _mis,
        None,
        needs=("session_id", "pscore", "eval_pscore", "state"),
        unit="session",
        session_weights=lambda log: log.weight,
        whole_log=True,
        caveat="the interval takes the estimated state densities as given",
    ),
}
