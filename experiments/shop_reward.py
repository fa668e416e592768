"""What a reason is worth in a shop, where its present ranker puts the items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs import sessions
from envs.shop import ShopVectorEnv
from envs.world import World
from policies.baselines import Page, SlatePolicy
from rewards.claims import ClaimChecker
from rewards.clicks import ClickReward
from rewards.mix import RewardMix, uplift_spread
from rewards.mix_config import RewardConfig
from rewards.placement import Pages, Placement, click_worth, placement_on

#: Sessions that show where the present ranker puts each item.
PLACEMENT_SESSIONS = 1_000
#: Sessions stepped side by side, and pages that each of their rows shows.
_BATCH, _PAGES = 1_000, 4


def shop_reward(
    world: World, policy: SlatePolicy, checker: ClaimChecker, config: RewardConfig, seed: int,
    references: Sequence[tuple[int, str]] = (),
) -> RewardMix:  # fmt: skip
    """Return the reward of reasons in ``world``, where ``policy`` orders the items.

    Args:
        world: the shop that the policy works in, with the reasons that it shows now.
        policy: orders each page.
        checker: finds the claims of texts.
        config: what is rewarded.
        seed: of the sessions that are looked at, the shoppers who are asked, and what learns.
        references: item index and text of reasons, for the parts that judge the wording.
    """
    rng = np.random.default_rng(seed)
    placement = placement_under(world, policy, PLACEMENT_SESSIONS, seed, config.clicks.trust_value)
    clicks = ClickReward(world, config.clicks, placement, rng)
    spread = uplift_spread(clicks, world.aspects, len(world.segment_aspects), rng)
    return RewardMix(checker, clicks, config, spread, references, seed)


def placement_under(
    world: World, policy: SlatePolicy, count: int, seed: int, trust_value: float
) -> Placement:
    """Let ``policy`` serve some ``count`` sessions; return where it puts the items.

    Args:
        world: the shop that the policy works in.
        policy: orders each page.
        count: sessions, 1 or more.
        seed: of the first session.
        trust_value: worth of one unit of trust (`ClickRewardConfig.trust_value`).
    """
    env = ShopVectorEnv(world, min(count, _BATCH))
    observation, _ = env.reset(seed=seed)
    live = np.ones(env.num_envs, dtype=bool)
    shown = []
    for _ in range(max(1, count // env.num_envs) * _PAGES):
        page = Page(observation, world, env.state, env.click_model)
        slates = policy.slates(page)
        # A row whose session is over shows nothing until its next one starts.
        shown.append(_pages(page, slates, trust_value, live))
        observation, _, terminated, truncated, _ = env.step(slates)
        live = ~(terminated | truncated)
    parts = ([getattr(each, name) for each in shown] for name in Pages.__dataclass_fields__)
    return placement_on(env.click_model, Pages(*map(np.concatenate, parts)), len(world.quality))


def _pages(page: Page, slates: np.ndarray, trust_value: float, live: np.ndarray) -> Pages:
    """Return the shown slates of the ``live`` rows, with what each item attracts and brings."""
    columns, items = sessions.candidates(page.world, page.state)
    columns, items = (np.take_along_axis(x, slates, axis=1) for x in (columns, items))
    charm = sessions.appeal(page.world, page.state, columns, items)
    worth = click_worth(
        page.world, items, page.state.trust, charm.purchase, charm.unsupported, charm.claimed,
        trust_value,
    )  # fmt: skip
    return Pages(items[live], charm.attraction[live], worth[live])
