"""Paired simulation: every policy meets the same shoppers, candidates and coin flips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from envs import sessions as shop
from envs.progress import Progress, silent
from envs.shop import ShopVectorEnv
from envs.similarity import SCORES
from envs.world import World
from policies.baselines import Page, SlatePolicy, mix_policy, oracle_policy

F64 = NDArray[np.float64]

#: Figures of a session that comparisons are made of.
METRICS = ("return", "ctr", "purchases", "session_length")
#: Sessions stepped side by side.
_BATCH = 1_000


@dataclass(frozen=True)
class Sessions:
    """What n simulated sessions came to; every array is (n,) float64."""

    reward: F64
    clicks: F64
    impressions: F64
    purchases: F64
    pages: F64
    #: Trust of the shopper when the session ended, in [0, 1].
    trust: F64

    def values(self, metric: str) -> F64:
        """Per-session values whose mean is the metric.

        The click-through rate is a ratio of sums; its values are linearised (delta method):
        R + (clicks - R impressions) / mean(impressions), with mean R.
        """
        if metric == "ctr":
            rate = self.clicks.sum() / self.impressions.sum()
            return rate + (self.clicks - rate * self.impressions) / self.impressions.mean()
        return {
            "return": self.reward,
            "purchases": self.purchases,
            "session_length": self.pages,
            "trust": self.trust,
        }[metric]


@dataclass(frozen=True)
class Contestant:
    """A policy in a world (the worlds of a comparison differ in their reasons alone)."""

    name: str
    policy: SlatePolicy
    world: World


def play(world: World, policy: SlatePolicy, sessions: int, seed: int) -> Sessions:
    """Let ``policy`` serve the sessions of seeds seed, seed + 1, ..."""
    parts = [
        _play_batch(world, policy, min(_BATCH, sessions - start), seed + start)
        for start in range(0, sessions, _BATCH)
    ]
    return Sessions(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in Sessions.__dataclass_fields__
        )
    )


def _play_batch(world: World, policy: SlatePolicy, count: int, seed: int) -> Sessions:
    env = ShopVectorEnv(world, count)
    observation, _ = env.reset(seed=seed)
    totals = {name: np.zeros(count) for name in ("reward", "clicks", "impressions", "purchases")}
    pages, trust = np.zeros(count), np.zeros(count)
    live = np.ones(count, dtype=bool)
    while live.any():
        page = Page(observation, world, env.state, env.click_model)
        observation, reward, terminated, truncated, info = env.step(policy.slates(page))
        totals["reward"] += np.where(live, reward, 0)
        totals["clicks"] += np.where(live, info["clicks"].sum(axis=1), 0)
        totals["purchases"] += np.where(live, info["purchases"].sum(axis=1), 0)
        totals["impressions"] += np.where(live, world.config.slots - info["illegal_slots"], 0)
        pages += live
        trust = np.where(live, env.state.trust, trust)
        live &= ~(terminated | truncated)
    return Sessions(**totals, pages=pages, trust=trust)


def interval(values: F64, level: float = 0.95) -> dict[str, float]:
    """Mean of i.i.d. values with its Student t interval: ``{mean, low, high}``."""
    mean = float(values.mean())
    half = float(stats.t.ppf(0.5 + level / 2, len(values) - 1) * stats.sem(values))
    return {"mean": mean, "low": mean - half, "high": mean + half}


def compare(
    contestants: Sequence[Contestant],
    pairs: Sequence[tuple[str, str]],
    sessions: int,
    seed: int,
    progress: Progress = silent,
) -> tuple[dict[str, dict[str, dict[str, float]]], list[dict[str, float | str]]]:
    """Play every contestant on the same sessions.

    Returns:
        Figures by name and metric, and the paired differences a - b of each pair and metric.
    """
    played: dict[str, Sessions] = {}
    for done, one in enumerate(contestants, start=1):
        played[one.name] = play(one.world, one.policy, sessions, seed)
        progress(done, len(contestants), {"return": float(played[one.name].reward.mean())})
    figures = {
        name: {metric: interval(result.values(metric)) for metric in (*METRICS, "trust")}
        for name, result in played.items()
    }
    return figures, [paired(played, a, b, metric) for a, b in pairs for metric in METRICS]


def paired(played: dict[str, Sessions], a: str, b: str, metric: str) -> dict[str, float | str]:
    """Return ``{a, b, metric, diff, low, high}`` of a - b over the same sessions."""
    found = interval(played[a].values(metric) - played[b].values(metric))
    return {
        "a": a, "b": b, "metric": metric,
        "diff": found["mean"], "low": found["low"], "high": found["high"],
    }  # fmt: skip


def search_mix(
    world: World, candidates: int, sessions: int, seed: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Find the best fixed weights of the six scores on training sessions, (6,) float32.

    Weights are drawn from a flat Dirichlet; equal weights and each single score take part.
    """
    size = len(SCORES)
    drawn = rng.dirichlet(np.ones(size), size=candidates)
    tried = np.concatenate([np.full((1, size), 1 / size), np.eye(size), drawn]).astype(np.float32)
    means = [play(world, mix_policy("mix", w), sessions, seed).reward.mean() for w in tried]
    return tried[int(np.argmax(means))]


def search_stay(world: World, sessions: int, seed: int) -> float:
    """Find what a click is worth for keeping the shopper, for the oracle, on training sessions."""
    tried = (0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
    means = [play(world, oracle_policy(s), sessions, seed).reward.mean() for s in tried]
    return tried[int(np.argmax(means))]


def examination_under(
    world: World, policy: SlatePolicy, sessions: int, seed: int
) -> NDArray[np.float32]:
    """How likely each item is examined where ``policy`` puts it, per impression, (I,) float32.

    An item that was never shown gets the mean over all impressions.
    """
    env = ShopVectorEnv(world, min(sessions, _BATCH))
    observation, _ = env.reset(seed=seed)
    seen, shown = np.zeros(len(world.quality)), np.zeros(len(world.quality))
    live = np.ones(env.num_envs, dtype=bool)
    for _ in range(max(1, sessions // env.num_envs) * 4):
        page = Page(observation, world, env.state, env.click_model)
        slates = policy.slates(page)
        chance, items = examined(page, slates)
        # A row whose session is over shows nothing until its next one starts.
        np.add.at(seen, items[live], chance[live])
        np.add.at(shown, items[live], 1.0)
        observation, _, terminated, truncated, _ = env.step(slates)
        live = ~(terminated | truncated)
    mean = seen.sum() / shown.sum()
    return np.where(shown > 0, seen / np.maximum(shown, 1), mean).astype(np.float32)


def examined(page: Page, slates: NDArray[np.int64]) -> tuple[F64, NDArray[np.int64]]:
    """Examination probability of each slot of the shown slates, and its item, both (B, k)."""
    columns, items = shop.candidates(page.world, page.state)
    columns, items = (np.take_along_axis(x, slates, axis=1) for x in (columns, items))
    charm = shop.appeal(page.world, page.state, columns, items)
    return page.click_model.examination_probability(charm.attraction), items
