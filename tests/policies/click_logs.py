"""Made-up logs for the click regression, with propensities that are exact by construction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES
from policies.click_regression import ClickLog

#: How likely each slot is examined.
EXAMINED = (1.0, 0.6, 0.3)
#: The features that drive clicks here; the logger prefers the first of them.
DRIVING = ("text", "margin")
_CANDIDATES = 4


def straight_log(
    pages: int, seed: int, bias: float = -2.5, examined: Sequence[float] = EXAMINED
) -> ClickLog:
    """Attraction sigma(bias + 3 text - 2 margin): what a logistic regression can say."""
    return _log(pages, seed, lambda text, margin: bias + 3 * text - 2 * margin, examined)


def bent_log(pages: int, seed: int) -> ClickLog:
    """Only a text score in the middle attracts: no line says that."""
    return _log(pages, seed, lambda text, margin: 4.0 * (np.abs(text - 0.5) < 0.2) - 2.5)


def _log(
    pages: int,
    seed: int,
    appeal: Callable[[np.ndarray, np.ndarray], np.ndarray],
    examined: Sequence[float] = EXAMINED,
) -> ClickLog:
    """Log slates of 3 of 4 candidates: the one with the best text on top in most of them."""
    rng = np.random.default_rng(seed)
    items = rng.random((pages, _CANDIDATES, len(ITEM_FEATURES))).astype(np.float32)
    text, margin = (items[..., ITEM_FEATURES.index(name)] for name in DRIVING)
    order = np.argsort(-text, axis=1)
    # With probability 0.4 a random slate, else the sorted one: an item's chance of a slot is exact.
    random = rng.random(pages) < 0.4
    shuffled = rng.permuted(order, axis=1)
    slates = np.where(random[:, None], shuffled, order)[:, : len(examined)]
    sorted_here = slates == order[:, : len(examined)]
    attraction = 1 / (1 + np.exp(-appeal(text, margin)))
    shown = np.take_along_axis(attraction, slates, axis=1)
    clicks = rng.random(shown.shape) < np.array(examined) * shown
    context = np.zeros((pages, len(CONTEXT_FEATURES)), dtype=np.float32)
    context[:, 0] = 1
    return ClickLog(
        context=context,
        items=np.take_along_axis(items, slates[..., None], axis=1),
        clicks=clicks,
        rewards=clicks * np.take_along_axis(margin, slates, axis=1).astype(np.float64),
        propensity=0.4 / _CANDIDATES + 0.6 * sorted_here,
        sessions=np.arange(pages),
    )
