"""Paired simulation: every policy meets the same shoppers, candidates and coin flips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from envs import sessions as shop
from envs.progress import Progress, silent
from envs.shop import ShopVectorEnv
from envs.similarity import SCORES
from envs.statistics import Traffic
from envs.world import World
from policies.baselines import Page, SlatePolicy, mix_policy, oracle_policy

F64 = NDArray[np.float64]

#: Figures of a session that comparisons are made of.
METRICS = ("return", "ctr", "purchases", "session_length", "trust")
#: Seeds of training sessions start here, those of evaluation at 0: never the same.
TRAINING_SEEDS = 10_000_000
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


@dataclass(frozen=True)
class Turn:
    """One page of B sessions: what was shown, and what came of it."""

    #: Whether row b is in its session; where it is not, the rest of the row means nothing.
    live: NDArray[np.bool_]
    #: What the policy was asked to order, with the state before the page.
    page: Page
    #: Candidate positions, (B, k) int64.
    slates: NDArray[np.int64]
    #: Reward of the page, (B,) float64.
    reward: F64
    #: As `envs.shop.ShopVectorEnv.step` gives it.
    info: dict[str, Any]
    #: State after the page; that of a later visit where the shopper left and came back.
    after: shop.SessionState


#: Told of every page of a batch of sessions; the rows stay the same.
Watch = Callable[[Turn], None]


def play(world: World, policy: SlatePolicy, sessions: int, seed: int) -> Sessions:
    """Let ``policy`` serve the sessions of seeds seed, seed + 1, ..."""
    return joined(play_part(world, policy, part) for part in parts_of(range(seed, seed + sessions)))


def parts_of(seeds: range) -> list[range]:
    """Cut seeds into the batches that are played side by side; always the same ones."""
    return [seeds[start : start + _BATCH] for start in range(0, len(seeds), _BATCH)]


def joined(parts: Iterable[Sessions]) -> Sessions:
    """Return the sessions of all parts, in order."""
    kept = list(parts)
    return Sessions(
        *(
            np.concatenate([getattr(part, name) for part in kept])
            for name in Sessions.__dataclass_fields__
        )
    )


def traffic(world: World, policy: SlatePolicy, seeds: range) -> Traffic:
    """Play the sessions of ``seeds`` and count what each item got, for `envs.statistics`."""
    counts = np.zeros((3, len(world.quality)))

    def count(turn: Turn) -> None:
        info = turn.info
        shown = turn.live[:, None] & np.ones_like(info["clicks"])
        for row, flag in enumerate((shown, info["clicks"] & shown, info["purchases"] & shown)):
            np.add.at(counts[row], info["items"][flag], 1)

    played = joined(play_part(world, policy, part, count) for part in parts_of(seeds))
    return Traffic(
        played.pages, played.impressions, played.clicks, played.purchases,
        item_impressions=counts[0], item_clicks=counts[1], item_purchases=counts[2],
    )  # fmt: skip


def play_part(
    world: World, policy: SlatePolicy, seeds: range, watch: Watch | None = None
) -> Sessions:
    """Let ``policy`` serve the sessions of ``seeds`` side by side; row b is that of seeds[b]."""
    count = len(seeds)
    env = ShopVectorEnv(world, count)
    observation, _ = env.reset(seed=seeds.start)
    totals = {name: np.zeros(count) for name in ("reward", "clicks", "impressions", "purchases")}
    pages, trust = np.zeros(count), np.zeros(count)
    live = np.ones(count, dtype=bool)
    while live.any():
        page = Page(observation, world, env.state, env.click_model)
        slates = policy.slates(page)
        observation, reward, terminated, truncated, info = env.step(slates)
        if watch is not None:
            watch(Turn(live, page, slates, reward, info, env.state))
        totals["reward"] += np.where(live, reward, 0)
        totals["clicks"] += np.where(live, info["clicks"].sum(axis=1), 0)
        totals["purchases"] += np.where(live, info["purchases"].sum(axis=1), 0)
        totals["impressions"] += np.where(live, world.config.slots - info["illegal_slots"], 0)
        pages += live
        trust = np.where(live, env.state.trust, trust)
        live = live & ~(terminated | truncated)
    return Sessions(**totals, pages=pages, trust=trust)


class Figure(TypedDict):
    """A mean with its interval."""

    mean: float
    low: float
    high: float


class Difference(TypedDict):
    """The paired difference a - b of a metric over the same sessions, with its interval."""

    a: str
    b: str
    metric: str
    diff: float
    low: float
    high: float


def interval(values: F64, level: float = 0.95) -> Figure:
    """Mean of i.i.d. values with its Student t interval."""
    mean = float(values.mean())
    half = float(stats.t.ppf(0.5 + level / 2, len(values) - 1) * stats.sem(values))
    return {"mean": mean, "low": mean - half, "high": mean + half}


def paired(
    played: Mapping[str, Sessions], a: str, b: str, metric: str, level: float = 0.95
) -> Difference:
    """Return the difference of a - b over the same sessions."""
    found = interval(played[a].values(metric) - played[b].values(metric), level)
    return {
        "a": a, "b": b, "metric": metric,
        "diff": found["mean"], "low": found["low"], "high": found["high"],
    }  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """What policies came to in the same sessions; session n of each has the seed ``seeds[n]``."""

    seeds: range
    #: By contestant, in the order given.
    played: dict[str, Sessions]

    def figures(self, level: float = 0.95) -> dict[str, dict[str, Figure]]:
        """Return means with intervals by contestant and metric."""
        return {
            name: {metric: interval(one.values(metric), level) for metric in METRICS}
            for name, one in self.played.items()
        }

    def paired(
        self, pairs: Sequence[tuple[str, str]] | None = None, level: float = 0.95
    ) -> list[Difference]:
        """Return the differences a - b of each pair; by default each against the first."""
        first, *others = self.played
        wanted = [(name, first) for name in others] if pairs is None else pairs
        return [paired(self.played, a, b, metric, level) for a, b in wanted for metric in METRICS]


#: Plays every contestant on the sessions of the given seeds.
Player = Callable[[Sequence[Contestant], range, Progress], dict[str, Sessions]]


def play_here(
    contestants: Sequence[Contestant], seeds: range, progress: Progress
) -> dict[str, Sessions]:
    """Play in this process, one contestant after the other."""
    parts, played = parts_of(seeds), {}
    total = len(contestants) * len(parts)
    for number, one in enumerate(contestants):
        done = []
        for place, part in enumerate(parts, start=1):
            done.append(play(one.world, one.policy, len(part), part.start))
            progress(number * len(parts) + place, total, {"return": done[-1].reward.mean()})
        played[one.name] = joined(done)
    return played


def evaluate(
    contestants: Sequence[Contestant],
    seeds: range,
    *,
    player: Player = play_here,
    progress: Progress = silent,
) -> Evaluation:
    """Let every contestant serve the sessions of the same seeds: common random numbers.

    A session's shopper, scenes and coin flips follow from its seed, and those of a click or a
    purchase from (session, page, item): policies that show the same item in the same place meet
    the same luck, so what differs is the policies' doing (Law, Kelton 2000, "Simulation modeling
    and analysis", section 11.2).

    Args:
        contestants: policies with their worlds, no name twice; any `SlatePolicy` will do.
        seeds: consecutive seeds, one a session, two at least.
        player: `play_here`, or `experiments.simulate_workers.on_workers` to spread the sessions.
        progress: told after each batch of sessions.

    Raises:
        ValueError: no or equally named contestants, or other seeds.
    """
    names = [one.name for one in contestants]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"contestants must be one or more, each name once, but were {names}")
    if seeds.step != 1 or len(seeds) < 2 or seeds.start < 0:
        raise ValueError(f"seeds must be a range of two or more from 0 up, but was {seeds}")
    return Evaluation(seeds, player(contestants, seeds, progress))


def compare(
    contestants: Sequence[Contestant],
    pairs: Sequence[tuple[str, str]],
    sessions: int,
    seed: int,
    progress: Progress = silent,
) -> tuple[dict[str, dict[str, Figure]], list[Difference]]:
    """Evaluate on ``sessions`` sessions; return `Evaluation.figures` and `Evaluation.paired`."""
    found = evaluate(contestants, range(seed, seed + sessions), progress=progress)
    return found.figures(), found.paired(pairs)


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
