"""A target policy's propensities on a log of the simulated shop, by playing the log again.

A log of our own shop needs no candidate lists: session n of a log with seed s is the shop's session
of seed s + n, so the same slates shown to the same sessions give the same pages. The target scores
each page as if it had been there, and a rule turns scores into the probability of the logged slate.
What happens is compared with what was logged, so a log of another shop or seed is found out.

Played again, the shop can also be asked what no log holds: the target's true value on these pages.

Where the world that is given keeps rules (`policies.constraints`), the target's slates keep them:
not necessarily the rules that the log was written under.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs import sessions
from envs.counter_rng import new_keys
from envs.errors import UserError
from envs.feedback import PROPENSITIES, slate_order
from envs.progress import Progress, silent
from envs.sessions import SessionState
from envs.shop import ShopVectorEnv
from envs.world import World
from experiments.ope.shop_log import expected_reward, state_rows
from policies.baselines import Page, SlatePolicy
from policies.constraints_page import PageRules, world_rules
from policies.logging_policies import LoggingPolicy

#: Sessions played side by side.
_BATCH = 1_000
_PAGE = ("session_id", "step")


@dataclass(frozen=True)
class _Logged:
    """The log's S slates as arrays."""

    #: (S, k) item indexes and clicks.
    items: NDArray[np.int64]
    clicks: NDArray[np.int64]
    #: Slate of each session's page, (sessions, pages); -1 where there is none.
    slate: NDArray[np.int64]
    #: The log's rows sorted by slate and position, (S * k,).
    order: NDArray[np.int64]

    @classmethod
    def of(cls, frame: pd.DataFrame, item_ids: Sequence[str], slots: int) -> _Logged:
        """Lay a log out.

        Raises:
            UserError: a column is missing, or this is no log of such a shop.
        """
        for column in ("session_id", "step", "click"):
            if column not in frame:
                raise UserError(f"a log can be played again only with its column {column!r}.")
        order, starts = slate_order(frame)
        if len(order) != len(starts) * slots:
            raise UserError(f"the log's slates must have the shop's {slots} positions each.")
        place = {name: index for index, name in enumerate(item_ids)}
        items = frame["item_id"].map(place)
        if items.isna().any():
            raise _another_shop()
        session, step = (frame[name].to_numpy(dtype=np.int64)[order][starts] for name in _PAGE)
        slate = np.full((int(session.max()) + 1, int(step.max()) + 1), -1)
        slate[session, step] = np.arange(len(starts))
        shape = (len(starts), slots)
        clicks = frame["click"].to_numpy(dtype=np.int64)[order].reshape(shape)
        indexes = np.asarray(items, dtype=np.int64)[order].reshape(shape)
        return cls(indexes, clicks, slate, order)


def replay_target(
    frame: pd.DataFrame,
    world: World,
    item_ids: Sequence[str],
    target: SlatePolicy,
    rule: LoggingPolicy,
    *,
    seed: int,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Return the log with ``eval_pscore, eval_pscore_cascade, eval_pscore_item_position``.

    Args:
        frame: a log that `experiments.ope.log_shop` or `shop_log` wrote, sessions numbered from 0.
        world: the shop that it was written in.
        item_ids: names of the world's items, in their order.
        target: what scores the pages.
        rule: how the target's scores become slates, such as `PlackettLuce(0.25)`.
        seed: the log's seed.
        progress: called with sessions done and sessions in all.

    Raises:
        UserError: the log was written in another shop, or with another seed.
    """
    log = _Logged.of(frame, item_ids, world.config.slots)
    found = {name: np.empty(log.items.shape) for name in PROPENSITIES}
    for page in _replay(log, world, target, seed, progress):
        chances = rule.propensities(page.scores, page.mask, page.chosen, page.rules)
        for name, values in found.items():
            values[page.slates] = chances[name]
    columns = {}
    for name, grid in found.items():
        column = np.empty(len(frame))
        column[log.order] = grid.ravel()
        columns[f"eval_{name}"] = column
    return frame.assign(**columns)


def replay_truth(
    frame: pd.DataFrame,
    world: World,
    item_ids: Sequence[str],
    target: SlatePolicy,
    rule: LoggingPolicy,
    *,
    seed: int,
    rng: np.random.Generator,
    draws: int = 16,
    progress: Progress = silent,
) -> NDArray[np.float64]:
    """Return the target's expected reward on each logged page, (S,), slates as they appear.

    Its slates are drawn on the page as it was, in the state that the shopper was in, and their
    expected reward comes from the shop's equations, without coin flips. Its mean is what estimates
    from the log should find.

    Args:
        frame: as for `replay_target`, and so the next five.
        world: see there.
        item_ids: see there.
        target: see there.
        rule: see there.
        seed: see there.
        rng: draws the slates.
        draws: slates of the target on each page.
        progress: called with sessions done and sessions in all.

    Raises:
        UserError: the log was written in another shop, or with another seed.
    """
    log = _Logged.of(frame, item_ids, world.config.slots)
    truth, slots = np.zeros(len(log.items)), world.config.slots
    model = ShopVectorEnv(world, 1).click_model
    for page in _replay(log, world, target, seed, progress):
        for _ in range(draws):
            keys = new_keys(rng, len(page.slates))
            drawn = rule.sample(page.scores, page.mask, slots, keys, page.rules)
            truth[page.slates] += expected_reward(world, model, page.state, drawn) / draws
    return truth


@dataclass(frozen=True)
class _Page:
    """P pages that stand before their shoppers again."""

    #: Which of the log's slates were shown on them, (P,).
    slates: NDArray[np.int64]
    #: The target's scores and what may be shown, (P, N).
    scores: NDArray[np.float32]
    mask: NDArray[np.float32]
    #: Candidate positions of the logged slates, (P, k).
    chosen: NDArray[np.int64]
    state: SessionState
    #: What the target's slates keep.
    rules: PageRules | None


def _replay(
    log: _Logged, world: World, target: SlatePolicy, seed: int, progress: Progress
) -> Iterator[_Page]:
    """Play the log's sessions again, a batch at a time, and yield its pages."""
    count = len(log.slate)
    env = ShopVectorEnv(world, min(_BATCH, count))
    for first in range(0, count, env.num_envs):
        yield from _replay_batch(env, log, first, target, seed)
        progress(min(first + env.num_envs, count), count, {})


def _replay_batch(
    env: ShopVectorEnv, log: _Logged, first: int, target: SlatePolicy, seed: int
) -> Iterator[_Page]:
    observation, _ = env.reset(seed=seed + first)
    for column in log.slate[first : first + env.num_envs].T:
        rows = np.flatnonzero(column >= 0)
        slates = column[rows]
        rules = world_rules(env.world, env.state, observation["mask"])
        if rules is not None:
            observation = observation | {"mask": rules.mask}
            rules = rules.rows(rows)
        page = Page(observation, env.world, env.state, env.click_model)
        scores, mask = target.score(page)[rows], observation["mask"][rows]
        _, candidates = sessions.candidates(env.world, env.state)
        same = candidates[rows][:, None, :] == log.items[slates][:, :, None]
        if not same.any(axis=2).all():
            raise _another_shop()
        chosen = same.argmax(axis=2)
        yield _Page(slates, scores, mask, chosen, state_rows(env.state, rows), rules)
        actions = np.tile(np.arange(chosen.shape[1]), (env.num_envs, 1))
        actions[rows] = chosen
        observation, _, _, _, info = env.step(actions)
        if (info["clicks"][rows] != log.clicks[slates]).any():
            raise _another_shop()


def _another_shop() -> UserError:
    return UserError(
        "played again, the log's sessions do not see what was logged: it was written in another "
        "shop or with another seed; give those that stand in its log.json."
    )
