"""A bundle as the target policy of a log: the probability of each logged slate under its ranker.

The log needs what `policies.bundle_logged` says. Features are not logged: the bundle computes them
as it would have done when asked, so the target is the shelf that ``recommend`` deploys. It keeps
the bundle's rules, which count in the probabilities: what they filter has none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs import sessions
from envs.feedback import PROPENSITIES, slate_order
from envs.progress import Progress, silent
from envs.sessions import SEARCH
from envs.world import World
from experiments.ope.impressions import ShopNames
from policies.baselines import Page, SlatePolicy
from policies.bundle import Bundle
from policies.bundle_logged import (
    LogColumns,
    LoggedPage,
    cached_visits,
    known_items,
    logged_page,
    side_by_side,
)
from policies.constraints import with_rules
from policies.constraints_page import page_rules
from policies.logging_policies import LoggingPolicy

#: How a service names the sampled shelves of its bundle's own ranker.
_SAMPLED = re.compile(r"plackett_luce\(temperature=([0-9.e+-]+)\) over tuned")
#: Slates whose logits are computed at once.
_BATCH = 512

F64 = NDArray[np.float64]


def bundle_target(
    frame: pd.DataFrame, bundle: Bundle, rule: LoggingPolicy, *, progress: Progress = silent
) -> pd.DataFrame:
    """Return the log with ``eval_pscore, eval_pscore_cascade, eval_pscore_item_position``.

    Args:
        frame: a feedback log with ``candidates``.
        bundle: an exported shelf.
        rule: how its logits become slates: `PlackettLuce(1.0)` samples as the ranker was trained,
            `TopK()` shows what ``recommend`` shows, which few logged slates will match.
        progress: called with slates done and slates in all.

    Raises:
        UserError: the log has no candidates, or the bundle does not know an item.
    """
    order, starts = slate_order(frame)
    slates = np.split(order, starts[1:])
    log = LogColumns.of(frame, "a bundle as the target")
    visit = cached_visits(bundle)
    found: dict[str, F64] = {}
    for first in range(0, len(slates), _BATCH):
        pages = [logged_page(log, rows, bundle, visit) for rows in slates[first : first + _BATCH]]
        _into(found, pages, bundle, rule, len(frame))
        progress(min(first + _BATCH, len(slates)), len(slates), {})
    return frame.assign(**{f"eval_{name}": values for name, values in found.items()})


def served_temperature(frame: pd.DataFrame) -> float | None:
    """Return the temperature at which a service sampled its shelves, if it was one throughout.

    Only a service's log (`policies.service.export`) tells: elsewhere a temperature may be that of
    other scores than a ranker's.
    """
    if not {"bundle", "logging_policy"} <= set(frame.columns):
        return None
    found = {_SAMPLED.fullmatch(str(name)) for name in frame["logging_policy"].unique()}
    one = found.pop() if len(found) == 1 else None
    return float(one[1]) if one else None


def page_chances(
    pages: Sequence[LoggedPage], bundle: Bundle, rule: LoggingPolicy, rows: int
) -> dict[str, F64]:
    """Return the three propensities of rebuilt pages under a bundle's ranker, by name.

    Args:
        pages: of a log.
        bundle: the target.
        rule: how its logits become slates.
        rows: of the log; those of no page get NaN.
    """
    found: dict[str, F64] = {}
    for first in range(0, len(pages), _BATCH):
        _into(found, pages[first : first + _BATCH], bundle, rule, rows)
    return found


def _into(
    found: dict[str, F64], pages: Sequence[LoggedPage], bundle: Bundle, rule: LoggingPolicy,
    rows: int,
) -> None:  # fmt: skip
    """Put the propensities of some pages into the columns of a log, (rows,) each."""
    for length in {len(one.slate) for one in pages}:
        alike = [one for one in pages if len(one.slate) == length]
        places = np.concatenate([one.rows for one in alike])
        for name, values in _chances(alike, bundle, rule).items():
            found.setdefault(name, np.full(rows, np.nan))[places] = values.ravel()


def _chances(asked: list[LoggedPage], bundle: Bundle, rule: LoggingPolicy) -> dict[str, F64]:
    """The three propensities of slates of one length, (B, k) each; candidates padded to one N."""
    widest = max(one.observation["mask"].shape[1] for one in asked)
    observation = side_by_side(asked, widest)
    slates = np.stack([one.slate for one in asked])
    rules = None
    if bundle.rules is not None:
        items = np.stack([np.pad(one.items, (0, widest - len(one.items))) for one in asked])
        rules = page_rules(bundle.rules, items, observation["mask"], slates.shape[1])
        observation["mask"] = rules.mask
    found = rule.propensities(bundle.logits(observation), observation["mask"], slates, rules)
    return {name: found[name] for name in PROPENSITIES}


def bundle_policy(bundle: Bundle, world: World, names: ShopNames) -> SlatePolicy:
    """Return the bundle as a policy of the simulated shop whose items and shoppers it knows.

    It scores a page by what `bundle_target` is told of it: shopper, query and candidates.

    Args:
        bundle: an exported shelf.
        world: the shop.
        names: what the shop's rows are called.

    Raises:
        UserError: the bundle does not know an item of the shop.
    """
    items = known_items(names.items.to_pylist(), bundle, "the shop")
    known = [bundle.rows.get(name, len(bundle.rows)) for name in names.shoppers.to_pylist()]
    queries, visit = names.queries.to_pylist(), cached_visits(bundle)
    first_query = world.pools.first_row(SEARCH)

    def score(page: Page) -> NDArray[np.float32]:
        _, candidates = sessions.candidates(world, page.state)
        seen = []
        for row, shopper in enumerate(page.state.shopper):
            searching = page.state.scene[row] == SEARCH
            query = queries[page.state.anchor[row] - first_query] if searching else None
            asked = visit(known[shopper], query, None)
            seen.append(bundle.observation_for(asked, items[candidates[row]]))
        joined = {name: np.concatenate([one[name] for one in seen]) for name in seen[0]}
        # What may be shown is the page's, not what the bundle would guess.
        return bundle.logits(joined | {"mask": page.observation["mask"]})

    return SlatePolicy("bundle", score)


def bundle_world(bundle: Bundle, world: World, names: ShopNames) -> World:
    """Return the shop under the bundle's rules, instead of its own.

    Raises:
        UserError: the bundle does not know an item of the shop.
    """
    if bundle.rules is None:
        return with_rules(world, None)
    items = known_items(names.items.to_pylist(), bundle, "the shop")
    return with_rules(world, bundle.rules.over(items))
