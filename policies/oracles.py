"""Upper anchors: policies that look at hidden state and at the shop's own dynamics.

No policy for a real shop can be one of these. They say how much there is to win: `myopic_policy`
on the page at hand, `rollout_policy` over the rest of the session.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from envs import sessions
from envs.counter_rng import fold
from envs.sessions import SessionState
from policies.baselines import Page, SlatePolicy, oracle_policy, page_worth
from policies.best_page import best_page, slate_scores, slate_values, top_slates

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Counters of imagined futures: far above every page number, so that the future that the session
#: will really have is never among them.
_FUTURE = 1 << 40
#: Rows simulated side by side: what fits the processor's cache and a small memory.
_ROWS = 20_000


def myopic_policy() -> SlatePolicy:
    """Return the oracle of the page alone: it maximises the page's expected reward.

    Exact under the position-based and cascade models, a local optimum (`best_page`) under others.
    """
    return replace(oracle_policy(0.0), name="myopic")


@dataclass(frozen=True)
class Rollouts:
    """How far and how often the rollout oracle looks ahead."""

    #: Imagined futures of each slate (M).
    futures: int = 16
    #: Pages after the present one (H).
    horizon: int = 4
    #: Items beside the slate that are tried in each of its slots.
    reach: int = 2
    #: Worths of a click for keeping the shopper, whose best slates are tried as well.
    stays: tuple[float, ...] = (0.0, 0.8, 3.2)
    #: Standard errors by which a slate must beat the base policy's.
    errors: float = 1.0


def rollout_policy(stay: float, settings: Rollouts = Rollouts()) -> SlatePolicy:
    """Return the rollout oracle: one step of policy improvement over ``oracle_policy(stay)``.

    On each page it tries the base policy's slate, those of other worths of a click, and slates with
    one item replaced; each is followed by the base policy for ``horizon`` pages in the same
    ``futures`` imagined futures (common random numbers; Tesauro and Galperin 1996, "On-line policy
    improvement using Monte-Carlo search"). Clicks and purchases count with their expectation given
    the state, so that only leaving and turning to other scenes is sampled. The base policy's slate
    gives way only to one that is better by ``errors`` standard errors of the paired difference.

    It is an anchor and not a bound: the futures are noisy and not all slates are tried. It is
    slow, some hundred times slower than the base policy.
    """
    others = [oracle_policy(other) for other in settings.stays if other != stay]

    def score(page: Page) -> F32:
        tried = _tried_slates(page, oracle_policy(stay), others, settings.reach)
        block = max(1, _ROWS // (tried.shape[1] * settings.futures))
        chosen = [
            _best(_look_ahead(page, stay, tried, rows, settings), settings.errors)
            for rows in np.array_split(np.arange(len(tried)), -(-len(tried) // block))
        ]
        best = tried[np.arange(len(tried)), np.concatenate(chosen)]
        return slate_scores(best, page.observation["mask"].shape[1])

    return SlatePolicy("rollout", score)


def _best(values: F64, errors: float) -> I64:
    """Choose a slate by its values in each future, (B, P, M): the first unless one is better."""
    gain = values - values[:, :1]
    mean = gain.mean(axis=2)
    error = gain.std(axis=2, ddof=1) / np.sqrt(values.shape[2])
    best = np.where(mean > errors * error, mean, -np.inf).argmax(axis=1)
    # Where nothing is surely better, all are -inf and the first is taken.
    return best


def _tried_slates(page: Page, base: SlatePolicy, others: list[SlatePolicy], reach: int) -> I64:
    """Return the slates to try, the base policy's first, (B, P, k) int64."""
    charm, worth = page_worth(page)
    mask = page.observation["mask"]
    first = base.slates(page)
    rows, slots = first.shape
    alone = np.where(mask > 0, charm.attraction * worth, -np.inf)
    np.put_along_axis(alone, first, -np.inf, axis=1)
    spare = np.argsort(-alone, axis=1, kind="stable")[:, :reach]
    # Where too few are left to replace with, the slate itself is tried again.
    legal = np.isfinite(np.take_along_axis(alone, spare, axis=1))
    replaced = np.repeat(first[:, None], slots * spare.shape[1], axis=1)
    replaced = replaced.reshape(rows, spare.shape[1], slots, slots)
    for slot in range(slots):
        replaced[:, :, slot, slot] = np.where(legal, spare, first[:, slot, None])
    return np.concatenate(
        [
            first[:, None],
            *(other.slates(page)[:, None] for other in others),
            replaced.reshape(rows, -1, slots),
        ],
        axis=1,
    )


def _look_ahead(page: Page, stay: float, tried: I64, rows: I64, settings: Rollouts) -> F64:
    """Return the value of each tried slate of the given rows in each future, (R, P, M) float64."""
    world, count, many = page.world, tried.shape[1], settings.futures
    state = take(page.state, np.repeat(rows, count * many))
    # The same futures for every slate of a row.
    luck = fold(page.state.key[rows][:, None], _FUTURE + np.arange(many))
    state.key = np.repeat(luck[:, None], count, axis=1).reshape(-1)
    slates = np.repeat(tried[rows].reshape(-1, tried.shape[2]), many, axis=0)
    mask = np.repeat(page.observation["mask"][rows], count * many, axis=0)
    page = replace(page, observation={"mask": mask}, state=state)

    total, where = np.zeros(len(slates)), np.arange(len(slates))
    for turn in range(settings.horizon + 1):
        charm, worth = page_worth(page)
        if turn:
            mask, slots = page.observation["mask"], slates.shape[1]
            scores = best_page(page.click_model, charm.attraction, worth + stay, slots, mask)
            slates = top_slates(scores, slots, mask)
        value = slate_values(page.click_model, charm.attraction, worth, slates[:, None])
        total[where] += value[:, 0]
        state, outcome, _ = sessions.show(world, page.click_model, page.state, slates)
        total[where] += outcome.parts["leave"]
        ends = outcome.gone | outcome.cut | (state.page >= world.config.max_pages)
        stays = np.flatnonzero(~ends)
        if not len(stays):
            break
        where, state = where[stays], take(state, stays)
        # Oracles read the mask alone; the whole observation would cost most of the time.
        mask = sessions.available(state, sessions.candidates(world, state)[1])
        page = replace(page, observation={"mask": mask}, state=state)
    return total.reshape(len(rows), count, many)


def take(state: SessionState, rows: I64) -> SessionState:
    """Return the sessions of the given rows, each as often as it is named."""
    return SessionState(**{f.name: getattr(state, f.name)[rows] for f in fields(state)})
