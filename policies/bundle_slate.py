"""From scores to a slate: the best one, or one by chance, with its propensities and under rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.catalogue import Catalogue
from envs.feedback import PROPENSITIES
from policies.bundle_rules import decode, notes_on, page_of
from policies.constraints import ConstraintsConfig, ShelfRules
from policies.logging_policies import LoggingPolicy

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Explore:
    """How a shelf is sampled instead of the best one shown."""

    rule: LoggingPolicy
    #: Decides the draw: the same key, shelf and rule give the same slate.
    key: int


@dataclass(frozen=True)
class Slate:
    """What is shown of N candidates."""

    #: Places of the items, best first, (k,) int64.
    order: I64
    #: The three propensities by name, (k,) float64 each; ones for the best slate.
    chances: dict[str, F64]
    #: Where rules changed the slate, or could not be kept.
    notes: list[str]


def choose_slate(
    items: I64, logits: F32, count: int, rules: ShelfRules | None, asked: ConstraintsConfig,
    catalogue: Catalogue, explore: Explore | None,
) -> Slate:  # fmt: skip
    """Choose ``count`` of the candidates.

    Args:
        items: their indexes, (N,), all of which may be shown.
        logits: their scores, (N,).
        count: at most N.
        rules: of the request; ``asked`` and ``catalogue`` are for what is said of them.
        asked: the bundle's settings of the rules.
        catalogue: names the items.
        explore: how to sample; None takes the best.
    """
    # Differences below the rounding of either backend must not decide the order.
    rounded = np.round(logits, 5)
    free = np.argsort(-rounded, kind="stable")[:count]
    if not count or (explore is None and rules is None):
        return Slate(free, _certain(count), [])
    if explore is None:
        assert rules is not None
        order, kept = decode(rules, items, rounded, count)
        notes = notes_on(kept, order, free, rules, asked, catalogue)
        return Slate(order, _certain(count), notes)
    scores, mask = logits[None].astype(np.float64), np.ones((1, len(items)))
    page = None if rules is None else page_of(rules, items, count)
    key = np.array([explore.key % 2**64], dtype=np.uint64)
    slate = explore.rule.sample(scores, mask, count, key, page)
    found = explore.rule.propensities(scores, mask, slate, page)
    notes = []
    if page is not None and rules is not None:
        # Only what could not be met: a sampled order is no news.
        notes = notes_on(page, slate[0], slate[0], rules, asked, catalogue)
    return Slate(slate[0], {name: found[name][0] for name in PROPENSITIES}, notes)


def _certain(count: int) -> dict[str, F64]:
    return {name: np.ones(count) for name in PROPENSITIES}
