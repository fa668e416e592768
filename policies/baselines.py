"""Slate policies under one contract: a policy scores candidates, the slate is the top k.

Each policy turns a page into scores (B, N): higher is shown first. The same scores are the logits
of a Plackett-Luce policy when slates are sampled (`slates`), so that every policy can log with
exact propensities. Only the oracle looks at hidden state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from envs import sessions
from envs.clicks import ClickModel
from envs.counter_rng import fold, uniform
from envs.observation import ITEM_FEATURES
from envs.sessions import SessionState
from envs.similarity import SCORES
from envs.world import World
from policies.best_page import best_page, top_slates
from policies.constraints_page import best_slates, world_rules
from policies.ranker.scorer import SlateScorer

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Page:
    """What a policy is asked to order."""

    #: context (B, C_ctx), items (B, N, F), mask (B, N), float32.
    observation: dict[str, F32]
    # For the oracle and for the random policy's own coin; of these, nothing else may look at more
    # than the length of the slate and `items`.
    world: World
    state: SessionState
    click_model: ClickModel

    @property
    def items(self) -> I64:
        """Item index of each candidate, (B, N) int64: a shop knows what it offers."""
        return sessions.candidates(self.world, self.state)[1]


@dataclass(frozen=True)
class SlatePolicy:
    """A named policy."""

    name: str
    #: Page -> scores (B, N) float32.
    score: Callable[[Page], F32]

    def slates(self, page: Page) -> I64:
        """Return the k best candidates of each row, best first, (B, k) int64.

        Where the page's shop keeps rules (`policies.constraints`), they are the best that keep
        them, and the policy is asked about what the rules' filters leave.
        """
        mask = page.observation["mask"]
        rules = world_rules(page.world, page.state, mask)
        if rules is None:
            return top_slates(self.score(page), page.world.config.slots, mask)
        left = replace(page, observation=page.observation | {"mask": rules.mask})
        return best_slates(self.score(left), rules)


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
    ``stay`` is found by search (`search_stay`). How good the slate is for the page, `best_page`
    says: exact under the position-based and cascade models, a local optimum under the others.
    """

    def score(page: Page) -> F32:
        charm, worth = page_worth(page)
        mask = page.observation["mask"]
        slots = page.world.config.slots
        best = best_page(page.click_model, charm.attraction, worth + stay, slots, mask)
        # Whoever is outside the best slate follows by worth: a shop's rules may ask for more.
        alone = charm.attraction * (worth + stay)
        return np.where(np.isfinite(best), best, alone - alone.max() - 1).astype(np.float32)

    return SlatePolicy("oracle", score)


def page_worth(page: Page) -> tuple[sessions.Appeal, F32]:
    """Return the hidden appeal of the N candidates and the expected reward of a click, (B, N)."""
    config, world = page.world.config, page.world
    columns, items = sessions.candidates(world, page.state)
    charm = sessions.appeal(world, page.state, columns, items)
    return charm, config.w_click + config.w_buy * world.margin[items] * charm.purchase
