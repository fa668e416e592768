"""Everything a shop env reads but never changes: items, shoppers, pools and reasons as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.behaviour import ShopConfig, packed
from envs.catalogue import Catalogue
from envs.errors import UserError
from envs.liking import Likes, learn_likes, nothing_known
from envs.observation import ItemFacts, item_facts
from envs.pools import Pools, item_popularity
from envs.reasons import ReasonTable, no_reasons
from envs.shoppers import Population, Profiles, price_z
from envs.tables import Tables, make_tables

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """The fixed side of a shop (I items, U shoppers, S segments, C classes, A aspects)."""

    config: ShopConfig
    # Items.
    aspects: F32
    price_z: F32
    quality: F32
    #: Margin in median margins of the catalogue, (I,) float32.
    margin: F32
    class_index: I64
    popularity: F32
    n_classes: int
    # Shoppers, hidden and observed.
    population: Population
    segment: I64
    price_level: F32
    segment_aspects: F32
    #: The item a shopper met last, (U,) int64.
    last_item: I64
    pools: Pools
    reasons: ReasonTable
    #: Observable features of items and reasons.
    facts: ItemFacts
    #: The R reasons that an agent may choose from beside each item, where it may.
    variants: tuple[ReasonTable, ...] = ()
    #: What the histories let the shop expect of its shoppers; None expects nothing of anyone.
    likes: Likes | None = None

    def __post_init__(self) -> None:
        """Check what every later gather relies on.

        Raises:
            UserError: if the pools are smaller than the candidate set.
            ValueError: if the reasons are those of another shop.
        """
        pool = self.pools.items.shape[1]
        if pool < self.config.candidates:
            raise UserError(
                f"shop.candidates is {self.config.candidates}, but candidate pools hold only "
                f"{pool} items (the smaller of similarity.pool and the catalogue); "
                "lower shop.candidates or raise similarity.pool"
            )
        expected = (len(self.quality), *self.segment_aspects.shape)
        for name, table in [("reasons", self.reasons)] + [("variants", v) for v in self.variants]:
            if table.claims.shape != expected:
                raise ValueError(
                    f"{name}.claims must have the shape (items, segments, aspects) = {expected} "
                    f"of this shop, but has {table.claims.shape}"
                )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is derived: a pickled world need not hold its arrays twice."""
        return {k: v for k, v in vars(self).items() if k not in ("tables", "numbers", "liked")}

    @cached_property
    def tables(self) -> Tables:
        """The arrays as kernels read them, laid out once."""
        return make_tables(self)

    @cached_property
    def liked(self) -> Likes:
        """The likes as kernels read them."""
        likes = self.likes or nothing_known(len(self.quality), self.n_shoppers, self.n_classes)
        # Kernels are compiled anew for a read-only array: what came from another process is one.
        return Likes(*(np.require(side, np.float32, ["C", "W"]) for side in vars(likes).values()))

    @cached_property
    def numbers(self) -> Any:
        """The numbers of the config as kernels read them."""
        return packed(self.config)

    @property
    def n_shoppers(self) -> int:
        """Number of shoppers U."""
        return len(self.segment)

    @property
    def n_queries(self) -> int:
        """Number of queries Q."""
        return int(self.pools.counts[2])

    def with_reasons(self, reasons: ReasonTable) -> World:
        """Return the same shop with other reasons beside its items."""
        facts = item_facts(
            self.price_z, self.popularity, self.margin, self.class_index, reasons,
            self.segment_aspects, self.config.words_free,
        )  # fmt: skip
        return replace(self, reasons=reasons, facts=facts)

    def with_variants(self, variants: Sequence[ReasonTable]) -> World:
        """Return the same shop, where an agent may choose among these reasons beside each item.

        They count under ``shop.reasons: choice``; a table of `no_reasons` offers to say nothing.
        """
        return replace(self, variants=tuple(variants))

    def with_config(self, config: ShopConfig) -> World:
        """Return the same shop under other behaviour parameters."""
        return replace(self, config=config).with_reasons(self.reasons)


def relative_margin(catalogue: Catalogue) -> F32:
    """Margin of each item in median margins, (I,) float32: the unit of rewards."""
    margin = catalogue.items["margin"].to_numpy(dtype=np.float64)
    return (margin / max(float(np.median(margin)), 1e-9)).astype(np.float32)


def build_world(
    catalogue: Catalogue,
    population: Population,
    profiles: Profiles,
    pools: Pools,
    config: ShopConfig,
    reasons: ReasonTable | None = None,
) -> World:
    """Assemble the world of a shop.

    Raises:
        UserError: if the pools are smaller than the candidate set.
    """
    z, popularity = price_z(catalogue), item_popularity(profiles, catalogue.n_items)
    margin = relative_margin(catalogue)
    reasons = reasons or no_reasons(catalogue.n_items, profiles.n_segments, len(catalogue.aspects))
    last_item = np.zeros(len(profiles.shopper_ids), dtype=np.int64)
    last_item[profiles.history_rows] = profiles.history_items  # in the order of time: last wins
    return World(
        config=config,
        aspects=catalogue.aspect_matrix,
        price_z=z,
        quality=catalogue.items["quality"].to_numpy(dtype=np.float32),
        margin=margin,
        class_index=catalogue.class_index,
        popularity=popularity,
        n_classes=len(catalogue.classes),
        population=population,
        segment=profiles.segment,
        price_level=profiles.price_level,
        segment_aspects=profiles.segment_aspects,
        last_item=last_item,
        pools=pools,
        reasons=reasons,
        facts=item_facts(
            z, popularity, margin, catalogue.class_index, reasons, profiles.segment_aspects,
            config.words_free,
        ),
        likes=learn_likes(catalogue, profiles),
    )  # fmt: skip
