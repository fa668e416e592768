"""Slate policies under one contract: a policy scores candidates, the slate is the top k.

Each policy turns a page into scores (B, N): higher is shown first. The same scores are the logits
of a Plackett-Luce policy when slates are sampled (`slates`), so that every policy can log with
exact propensities. Only the oracle looks at hidden state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from envs import sessions
from envs.clicks import ClickModel, PositionBased
from envs.counter_rng import fold, uniform
from envs.observation import ITEM_FEATURES
from envs.sessions import SessionState
from envs.similarity import SCORES
from envs.world import World
from policies.ranker.scorer import SlateScorer

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Page:
    """What a policy is asked to order."""

    #: context (B, C_ctx), items (B, N, F), mask (B, N), float32.
    observation: dict[str, F32]
    # For the oracle and for the random policy's own coin; nothing else may look.
    world: World
    state: SessionState
    click_model: ClickModel


@dataclass(frozen=True)
class SlatePolicy:
    """A named policy."""

    name: str
    #: Page -> scores (B, N) float32.
    score: Callable[[Page], F32]

    def slates(self, page: Page) -> I64:
        """Return the k best candidates of each row, best first, (B, k) int64."""
        scores = np.where(page.observation["mask"] > 0, self.score(page), -np.inf)
        return np.argsort(-scores, axis=1, kind="stable")[:, : page.world.config.slots]


def _feature(page: Page, name: str) -> F32:
    return page.observation["items"][..., ITEM_FEATURES.index(name)]


def random_policy() -> SlatePolicy:
    """Order at random, by a coin of the session's own key: the same luck in every comparison."""

    def score(page: Page) -> F32:
        shape = page.observation["mask"].shape
        key = fold(fold(page.state.key, page.state.page), 1_000)
        return uniform(fold(key[:, None], np.arange(shape[1]))).astype(np.float32)

    return SlatePolicy("random", score)


def popularity_policy() -> SlatePolicy:
    """Most popular first."""
    return SlatePolicy("popularity", lambda page: _feature(page, "popularity"))


def mix_policy(name: str, weights: F32) -> SlatePolicy:
    """Weighted sum of the six similarity scores."""
    return SlatePolicy(name, lambda page: page.observation["items"][..., : len(SCORES)] @ weights)


def similarity_policy() -> SlatePolicy:
    """Equal-weight mean of the six scores: what a shop has today, and the baseline to beat."""
    return mix_policy("similarity", np.full(len(SCORES), 1 / len(SCORES), dtype=np.float32))


def scorer_logits(scorer: SlateScorer, observation: dict[str, F32]) -> F32:
    """Return the logits (B, N) of a trained ranker."""
    with torch.no_grad():
        tensors = [torch.from_numpy(observation[name]) for name in ("context", "items", "mask")]
        return scorer.logits(*tensors).numpy()


def ranker_policy(scorer: SlateScorer, name: str = "ranker") -> SlatePolicy:
    """Return the trained ranker as a policy."""
    return SlatePolicy(name, lambda page: scorer_logits(scorer, page.observation))


def oracle_policy(stay: float) -> SlatePolicy:
    """Order by true expected reward of the page, given hidden taste, trust and click model.

    Each click is worth its reward plus ``stay``, what a click brings later by keeping the shopper;
    ``stay`` is found by search (`search_stay`). Under the position-based model ordering by
    attraction times worth is optimal for a page; under the cascade model, where reading stops at
    the first click, the best k items are found by dynamic programming and shown by falling worth.
    """

    def score(page: Page) -> F32:
        config, world = page.world.config, page.world
        columns, items = sessions.candidates(world, page.state)
        charm = sessions.appeal(world, page.state, columns, items)
        worth = config.w_click + config.w_buy * world.margin[items] * charm.purchase + stay
        if isinstance(page.click_model, PositionBased):
            return charm.attraction * worth
        return cascade_order(charm.attraction, worth, config.slots, page.observation["mask"])

    return SlatePolicy("oracle", score)


def cascade_order(attraction: F32, worth: F32, slots: int, mask: F32) -> F32:
    """Return scores whose top k is the best cascade slate of what ``mask`` allows, (B, N).

    For a fixed set, showing by falling worth is optimal (exchange argument). The set is chosen by
    V(i, j) = max(V(i+1, j), a_i w_i + (1 - a_i) V(i+1, j-1)) over items sorted by worth.
    """
    rows, count = attraction.shape
    # What is masked comes last and is never worth taking.
    order = np.argsort(np.where(mask > 0, -worth, np.inf), axis=1, kind="stable")
    a, w = (np.take_along_axis(x * (mask > 0), order, axis=1) for x in (attraction, worth))
    allowed = (mask > 0).sum(axis=1)
    value = np.zeros((count + 1, rows, slots + 1))
    for i in range(count - 1, -1, -1):
        taken = a[:, i, None] * w[:, i, None] + (1 - a[:, i, None]) * value[i + 1, :, :-1]
        value[i, :, 1:] = np.maximum(value[i + 1, :, 1:], taken)
    scores = np.full(attraction.shape, -np.inf)
    left = np.full(rows, slots)
    everyone = np.arange(rows)
    for i in range(count):
        better = value[i, everyone, left] > value[i + 1, everyone, left]
        # Where too few items are left to choose from, the rest must be taken.
        take = (left > 0) & (better | (allowed - i <= left)) & (i < allowed)
        scores[everyone[take], order[take, i]] = count - i
        left = left - take
    return scores.astype(np.float32)
