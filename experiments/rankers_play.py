"""A policy in the sessions of a comparison, with what happens on each of their pages.

Hidden state is looked at here, to analyse what policies do; no policy sees any of it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial

import numpy as np
from numpy.typing import NDArray

from envs.world import World
from experiments.simulate import Sessions, Turn, joined, parts_of, play_part
from policies.baselines import SlatePolicy, page_worth
from policies.best_page import slate_values

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

#: What the table shows of a session, the first one foremost.
FIGURES = ("return", "expected_return", "ctr", "purchases", "session_length", "trust")


@dataclass(frozen=True)
class Pages:
    """What n sessions came to on each of P pages; 0 where a session was over, all (n, P)."""

    #: 1 where the page was shown.
    there: F32
    #: What the page was expected to earn, see `expected_reward`.
    expected: F32
    #: Mean satiation of the shown classes after the page, which is what makes shoppers leave.
    satiation: F32
    #: Trust after the page, in [0, 1].
    trust: F32
    #: How many classes the page showed.
    classes: F32


@dataclass(frozen=True)
class Played(Sessions):
    """What n sessions came to; every array is (n,) float64."""

    #: Sum of what the pages were expected to earn: the mean of ``reward`` with less luck in it.
    expected: F64

    def values(self, metric: str) -> F64:
        """Per-session values whose mean is the metric, one of `FIGURES`."""
        return self.expected if metric == "expected_return" else super().values(metric)


def play_all(world: World, policy: SlatePolicy, seeds: range) -> tuple[Played, Pages]:
    """Let ``policy`` serve the sessions of ``seeds`` and note every page."""
    parts, notes = [], []
    for part in parts_of(seeds):
        pages = _blank(len(part), world.config.max_pages)
        parts.append(play_part(world, policy, part, partial(_note, pages)))
        notes.append(pages)
    whole, pages = joined(parts), _stacked(notes)
    expected = pages.expected.sum(axis=1, dtype=np.float64)
    return Played(**vars(whole), expected=expected), pages


def expected_reward(turn: Turn) -> F64:
    """What shown pages earn on average over clicks and purchases, (B,) float64.

    sum_j P(click_j) (w_click + w_buy margin_j P(buy_j)), given the hidden state, plus the cost of
    leaving where the shopper left. Over a session these add up to something of the same mean as
    the return (conditional Monte Carlo), and the rare purchases' luck is gone.
    """
    page = turn.page
    charm, worth = page_worth(page)
    value = slate_values(page.click_model, charm.attraction, worth, turn.slates[:, None])[:, 0]
    return value + turn.info["reward_leave"]


def shown_satiation(turn: Turn) -> F32:
    """Mean satiation of the shown classes after the page, (B,) float32.

    It follows from the state before the page: the state after it may be that of a visit days later.
    """
    config = turn.page.world.config
    kinds = _kinds(turn)
    tired = turn.page.state.satiation * np.float32(config.satiation_decay)
    rows = np.arange(len(kinds))[:, None]
    np.add.at(tired, (rows, kinds), np.float32(config.satiation_gain / config.slots))
    return tired[rows, kinds].mean(axis=1)


def distinct_classes(turn: Turn) -> NDArray[np.int64]:
    """How many classes each page shows, (B,) int64."""
    kinds = np.sort(_kinds(turn), axis=1)
    return 1 + (kinds[:, 1:] != kinds[:, :-1]).sum(axis=1)


def _kinds(turn: Turn) -> NDArray[np.int64]:
    """Class of each shown item, (B, k)."""
    return turn.page.world.class_index[turn.info["items"]]


def _blank(rows: int, pages: int) -> Pages:
    return Pages(*(np.zeros((rows, pages), dtype=np.float32) for _ in fields(Pages)))


def _note(to: Pages, turn: Turn) -> None:
    """Write a page of the sessions that are still going on."""
    live = np.flatnonzero(turn.live)
    at = live, turn.page.state.page[live]
    to.there[at] = 1
    to.expected[at] = expected_reward(turn)[live]
    to.satiation[at] = shown_satiation(turn)[live]
    to.trust[at] = turn.after.trust[live]
    to.classes[at] = distinct_classes(turn)[live]


def _stacked(parts: list[Pages]) -> Pages:
    return Pages(
        *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Pages))
    )
