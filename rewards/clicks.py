"""What a reason earns in the shop: expected uplift in clicks, purchases and trust.

For item i shown to segment s with a reason of claims c, over shoppers u of the segment:

    uplift = E_u[ V_i(p1, w_click + w_buy·m_i·b1 + v_trust·(t1 - t0))
                  - V_i(p0, w_click + w_buy·m_i·b0) ],    V_i(p, w) = E_i(p)·p·w + O_i(p)

with p1 and p0 the attraction with and without the reason, b1 and b0 the purchase probability after
a click, m_i the margin and t1 - t0 the change of trust that a click on this reason brings. V_i is
the value of a page that shows i, averaged over the slots and neighbours that the current ranker
gives it (`rewards.placement`): E_i is how likely i is examined there, O_i what the clicks on its
neighbours bring, some of which a click on i takes from them. Under the position-based model E_i is
a constant and O_i drops out: uplift = E_u[E_i·(p1·w1 - p0·w0)].

Expected, not sampled: the shop's own equations (`envs.behaviour`) and its click model are
evaluated, so the reward has no noise of coin flips. The unit is reward per impression, in median
margins of the catalogue. Left out: that a page with a click keeps the shopper, that the ranker
would move the item, and what more a search asks of relevance (`shop.w_search`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from envs.behaviour import browse_logit, next_trust, persuasion, purchase_probability, sigmoid
from envs.settings import Settings
from envs.shoppers import price_fit, taste_match
from envs.world import World
from rewards.placement import Placement, fixed_placement

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


class ClickRewardConfig(Settings):
    """How the shop is asked what a reason is worth."""

    shoppers: int = Field(32, ge=1)
    """Shoppers of the segment that the expectation is taken over."""
    trust_value: float = Field(0.3, ge=0)
    """Worth of one unit of trust in reward: what a distrusting shopper would not bring again. The
    default is what trust brings to a later session of the default shop (docs/LOG.md)."""
    satiation: float = Field(0.2, ge=0)
    """Satiation of the class that the typical impression meets."""


class ClickReward:
    """Scores many reasons at once against the shop's equations."""

    def __init__(
        self,
        world: World,
        config: ClickRewardConfig,
        placement: Placement | F32,
        rng: np.random.Generator,
    ) -> None:
        """Prepare the panel of shoppers.

        Args:
            world: the shop.
            config: settings.
            placement: where the current ranker puts the items; or just how likely each is examined
                there, (I,) float32, which is all there is to know under the position-based model.
            rng: draws the panel of shoppers, once.
        """
        self._world, self._config = world, config
        self._placement = (
            placement if isinstance(placement, Placement) else fixed_placement(placement)
        )
        segments = len(world.segment_aspects)
        #: Shopper rows of the panel, (S, M) int64.
        self._panel = np.stack(
            [
                rng.choice(np.flatnonzero(world.segment == s), config.shoppers)
                for s in range(segments)
            ]
        )
        self._relevance = mean_relevance(world)

    def score(self, items: I64, segments: I64, claims: F32, unsupported: F32, words: F32) -> F32:
        """Return the uplift of n reasons, (n,) float32.

        Args:
            items: item index, (n,).
            segments: segment index, (n,).
            claims: claimed aspects in {0, 1}, (n, A).
            unsupported: number of unsupported claims, (n,).
            words: number of words, (n,).
        """
        world, shop, config = self._world, self._world.config, self._config
        people, panel = world.population, self._panel[segments]  # (n, M)
        taste, trust = people.taste[panel], people.trust[panel]
        match = taste_match(taste, world.aspects[items][:, None])
        price = price_fit(world.price_z[items][:, None], people.price_point[panel])
        price = price * people.price_sensitivity[panel]
        quality = world.quality[items][:, None]
        affinity = people.class_affinity[panel, world.class_index[items][:, None]]
        relevance, no_query = self._relevance[items][:, None], np.float32(0)
        base = browse_logit(
            shop,
            match,
            affinity,
            relevance,
            no_query,
            price,
            quality,
            np.full_like(match, config.satiation),
        )
        liked = np.einsum("nma,na->nm", taste, claims)
        lies = unsupported[:, None]
        pull = persuasion(shop, trust, liked, claims.sum(axis=1, keepdims=True), words[:, None])
        with_reason = sigmoid(base + shop.w_reason * pull * (words[:, None] > 0))
        without = sigmoid(base)
        gain = shop.w_buy * world.margin[items][:, None]
        buy_with = purchase_probability(shop, match, price, quality, lies)
        buy_without = purchase_probability(shop, match, price, quality, np.zeros_like(lies))
        lied = (lies > 0).astype(np.float32)
        kept = (1 - lied) * claims.max(axis=1, keepdims=True)
        # Where nothing is claimed trust stays as it is; float32 would leave a crumb.
        trusted = np.where(lied + kept > 0, next_trust(shop, trust, lied, kept) - trust, 0)
        told = shop.w_click + gain * buy_with + config.trust_value * trusted
        value = self._placement.value
        uplift = value(items, with_reason, told) - value(
            items, without, shop.w_click + gain * buy_without
        )
        return uplift.mean(axis=1).astype(np.float32)


def mean_relevance(world: World) -> F32:
    """Mean hidden scene relevance of each item over the pools that hold it, (I,) float32."""
    items = world.pools.items.ravel()
    count = np.bincount(items, minlength=len(world.quality))
    total = np.bincount(items, world.pools.relevance.ravel(), minlength=len(world.quality))
    return (total / np.maximum(count, 1)).astype(np.float32)
