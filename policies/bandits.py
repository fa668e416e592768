"""LinUCB and linear Thompson sampling on slates, learned online from what shoppers click.

The reward of the item in slot j is modelled as

    E[r_j | x_j] = theta_j * <beta, x_j>,

x the joint features (`policies.page_features`) and theta_j how likely slot j is examined: the
position-based model of Lagree, Vernade, Cappe 2016 ("Multiple-play bandits in the position-based
model"). It is one ridge regression of r on theta * x, so an unseen slot teaches little and nothing
is divided by a small probability. (The cascade's alternative, to count the items above the last
click as seen, is right only where shoppers read from the top and stop at a click, and a shop does
not know whether they do.)

theta comes from the shop's own randomised traffic: the first sessions are served at random, where
all slots hold equally good items, so click rates by slot stand in the ratio of examination under
any click model (Joachims, Swaminathan, Schnabel 2017, "Unbiased learning-to-rank with biased
feedback", section 5.3).

The rest of the sessions is served by the k best candidates of

    LinUCB    <beta_hat, x> + alpha * sigma * sqrt(x' A^-1 x)
              (Li, Chu, Langford, Schapire 2010, algorithm 1)
    Thompson  <beta, x>, beta ~ N(beta_hat, alpha^2 sigma^2 A^-1), one draw a page
              (Agrawal, Goyal 2013, "Thompson sampling for contextual bandits with linear payoffs")

with A = ridge + sum theta^2 x x', and sigma the residual spread, so that alpha has no unit. Many
shoppers are served side by side: A and beta_hat are renewed after each page of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.progress import Progress, silent
from envs.shop import ShopVectorEnv
from envs.world import World
from policies.best_page import top_slates
from policies.linear_scores import LinearScores
from policies.page_features import JOINT_FEATURES, joint_features

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

#: Sessions side by side: each batch of pages is learned from at once.
_BATCH = 500
#: Share of the sessions that is served at random, to learn examination by.
_RANDOM = 0.1
#: No slot is taken to be examined more rarely: a bound on what few clicks can make of it.
_RAREST = 0.02
_RIDGE = 1.0


class LinearPosterior:
    """Ridge regression that rows are added to: A, b and what follows from them."""

    def __init__(self, size: int) -> None:
        self._precision = _RIDGE * np.eye(size)
        self._moment = np.zeros(size)
        self._squares, self._rows = 0.0, 0
        self._solve()

    def add(self, rows: F64, rewards: F64) -> None:
        """Add rows (n, D) with rewards (n,): a block update of A and b."""
        self._precision += rows.T @ rows
        self._moment += rows.T @ rewards
        self._squares += float(rewards @ rewards)
        self._rows += len(rows)
        self._solve()

    def _solve(self) -> None:
        self.covariance: F64 = np.linalg.inv(self._precision).astype(np.float64)
        #: beta_hat, (D,).
        self.mean: F64 = self.covariance @ self._moment
        residual = self._squares - float(self._moment @ self.mean)
        #: Residual spread of one reward.
        self.sigma = float(np.sqrt(max(residual, 0.0) / max(self._rows, 1)))


#: What was shown in the slots: features (n, k, D), rewards and clicks, both (n, k).
_Shown = tuple[F32, F64, NDArray[np.bool_]]
#: Features (n, N, D) -> scores (n, N).
_Choose = Callable[[F32], F64]
_Learn = Callable[[_Shown], None]
#: (posterior, features (n, N, D), alpha, rng) -> scores (n, N).
Explore = Callable[[LinearPosterior, F32, float, np.random.Generator], F64]


def linucb(
    posterior: LinearPosterior, features: F32, alpha: float, rng: np.random.Generator
) -> F64:
    """Score by the upper end of what an item may be worth, (B, N); needs no coin."""
    spread = ((features @ posterior.covariance) * features).sum(axis=-1)
    bonus = alpha * posterior.sigma * np.sqrt(np.maximum(spread, 0))
    return features @ posterior.mean + bonus


def thompson(
    posterior: LinearPosterior, features: F32, alpha: float, rng: np.random.Generator
) -> F64:
    """Score by one draw of beta for each page, (B, N)."""
    root = np.linalg.cholesky(posterior.covariance)
    noise = rng.standard_normal((len(features), len(root)))
    drawn = posterior.mean + alpha * posterior.sigma * (noise @ root.T)
    return np.matmul(features, drawn[..., None])[..., 0]


@dataclass(frozen=True)
class TrainedBandit:
    """A bandit that has stopped learning."""

    #: The posterior mean, in units of the spread of a page's scores.
    scores: LinearScores
    #: Examination of each slot as estimated, relative to the first, (k,) float64.
    examination: F64
    #: Mean return of the sessions of each batch that was served while learning, (batches,): what
    #: learning cost the shop. The first tenth was served at random.
    returns: F64


def train_bandit(
    world: World,
    name: str,
    explore: Explore,
    *,
    sessions: int,
    seed: int,
    rng: np.random.Generator,
    alpha: float = 1.0,
    progress: Progress = silent,
) -> TrainedBandit:
    """Serve sessions seed, seed + 1, ... while learning; return the frozen posterior mean.

    Args:
        world: the shop; only observations, masks, clicks and rewards of slots are read.
        name: of the frozen policy.
        explore: `linucb` or `thompson`.
        sessions: how many are served, the first tenth at random.
        seed: of the first session.
        rng: the learner's own coins.
        alpha: how much uncertainty counts.
        progress: told after each batch of sessions.
    """
    posterior = LinearPosterior(len(JOINT_FEATURES))
    at_random = max(1, round(_RANDOM * sessions))
    returns: list[float] = []

    def serve(start: int, stop: int, choose: _Choose, learn: _Learn) -> None:
        for first in range(start, stop, _BATCH):
            count = min(_BATCH, stop - first)
            returns.append(_serve(world, seed + first, count, choose, learn))
            progress(first + count, sessions, {"return": returns[-1]})

    pages: list[_Shown] = []
    serve(0, at_random, lambda features: rng.random(features.shape[:2]), pages.append)
    features, rewards, clicks = (np.concatenate(part) for part in zip(*pages))
    examination = examination_by_slot(clicks)

    def learn(shown: _Shown) -> None:
        rows = shown[0] * examination[:, None]
        posterior.add(rows.reshape(-1, rows.shape[-1]), shown[1].reshape(-1))

    learn((features, rewards, clicks))
    serve(at_random, sessions, lambda seen: explore(posterior, seen, alpha, rng), learn)
    # The same order at any scale; one that Plackett-Luce slates can be sampled from.
    spread = float((features @ posterior.mean).std(axis=1).mean())
    weights = (posterior.mean / max(spread, 1e-12)).astype(np.float32)
    return TrainedBandit(LinearScores(name, weights), examination, np.array(returns))


def examination_by_slot(clicks: NDArray[np.bool_]) -> F64:
    """Examination of each slot relative to the first, (k,), from clicks (n, k) on random slates.

    One click is added to each slot, so that a short experiment divides by no zero.
    """
    counts = clicks.sum(axis=0) + 1.0
    return np.maximum(counts / counts[0], _RAREST)


def _serve(world: World, seed: int, count: int, choose: _Choose, learn: _Learn) -> float:
    """Serve sessions seed, seed + 1, ... to their ends, side by side; return their mean return."""
    env, slots = ShopVectorEnv(world, count), world.config.slots
    observation, _ = env.reset(seed=seed)
    live, earned = np.arange(count), 0.0
    # A row whose session is over shows its first candidates to nobody.
    actions = np.tile(np.arange(slots), (count, 1))
    while len(live):
        features = joint_features(observation["context"][live], observation["items"][live])
        scores = choose(features).astype(np.float32)
        slates = top_slates(scores, slots, observation["mask"][live])
        actions[live] = slates
        observation, reward, terminated, truncated, info = env.step(actions)
        earned += float(reward[live].sum())
        shown = np.take_along_axis(features, slates[..., None], axis=1)
        learn((shown, info["slot_reward"][live].astype(np.float64), info["clicks"][live]))
        live = live[~(terminated | truncated)[live]]
    return earned / count
