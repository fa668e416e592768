"""A target policy's propensities on a log of the simulated shop, by playing the log again.

A log of our own shop needs no candidate lists: session n of a log with seed s is the shop's session
of seed s + n, so the same slates shown to the same sessions give the same pages. The target scores
each page as if it had been there, and a rule turns scores into the probability of the logged slate.
What happens is compared with what was logged, so a log of another shop or seed is found out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs import sessions
from envs.errors import UserError
from envs.feedback import PROPENSITIES, slate_order
from envs.progress import Progress, silent
from envs.shop import ShopVectorEnv
from envs.world import World
from policies.baselines import Page, SlatePolicy
from policies.logging_policies import LoggingPolicy

#: Sessions played side by side.
_BATCH = 1_000


@dataclass(frozen=True)
class _Logged:
    """The log's S slates as arrays."""

    #: (S, k) item indexes and clicks.
    items: NDArray[np.int64]
    clicks: NDArray[np.int64]
    #: Slate of each session's page, (sessions, pages); -1 where there is none.
    slate: NDArray[np.int64]


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
    order, starts = slate_order(frame)
    logged = _arrays(frame, order, starts, item_ids, world.config.slots)
    count = len(logged.slate)
    env = ShopVectorEnv(world, min(_BATCH, count))
    found = {name: np.empty(logged.items.shape) for name in PROPENSITIES}
    for first in range(0, count, env.num_envs):
        pages = logged.slate[first : first + env.num_envs]
        _replay(env, pages, logged, target, rule, seed + first, found)
        progress(min(first + env.num_envs, count), count, {})
    columns = {}
    for name, grid in found.items():
        column = np.empty(len(frame))
        column[order] = grid.ravel()
        columns[f"eval_{name}"] = column
    return frame.assign(**columns)


def _replay(
    env: ShopVectorEnv,
    pages: NDArray[np.int64],
    logged: _Logged,
    target: SlatePolicy,
    rule: LoggingPolicy,
    seed: int,
    found: dict[str, NDArray[np.float64]],
) -> None:
    """Play sessions with slates ``pages (B, P)`` again, writing the target's propensities."""
    observation, _ = env.reset(seed=seed)
    for column in pages.T:
        rows = np.flatnonzero(column >= 0)
        slates = column[rows]
        page = Page(observation, env.world, env.state, env.click_model)
        scores, mask = target.score(page)[rows], observation["mask"][rows]
        _, candidates = sessions.candidates(env.world, env.state)
        same = candidates[rows][:, None, :] == logged.items[slates][:, :, None]
        if not same.any(axis=2).all():
            raise _another_shop()
        chosen = same.argmax(axis=2)
        for name, values in rule.propensities(scores, mask, chosen).items():
            found[name][slates] = values
        actions = np.tile(np.arange(chosen.shape[1]), (env.num_envs, 1))
        actions[rows] = chosen
        observation, _, _, _, info = env.step(actions)
        if (info["clicks"][rows] != logged.clicks[slates]).any():
            raise _another_shop()


def _arrays(
    frame: pd.DataFrame,
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    item_ids: Sequence[str],
    slots: int,
) -> _Logged:
    for column in ("session_id", "step", "click"):
        if column not in frame:
            raise UserError(f"a log can be played again only with its column {column!r}.")
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
    return _Logged(indexes, clicks, slate)


_PAGE = ("session_id", "step")


def _another_shop() -> UserError:
    return UserError(
        "played again, the log's sessions do not see what was logged: it was written in another "
        "shop or with another seed; give those that stand in its log.json."
    )
