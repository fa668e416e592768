"""From a catalogue to a shop that can be stepped: shoppers, profiles, similarity, pools."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.behaviour import ShopConfig
from envs.catalogue import Catalogue, with_history
from envs.pools import Pools, anchor_count, build_pools
from envs.progress import Progress, silent
from envs.shoppers import (
    Population,
    Profiles,
    ShopperConfig,
    make_population,
    observe_profiles,
    population_from_profiles,
    simulate_history,
)
from envs.similarity import ItemIndex, SimilarityConfig, build_index
from envs.synthetic import SyntheticConfig, synthetic_catalogue, with_reviews
from envs.synthetic_words import Locale
from envs.world import World, build_world

SIMULATED_NOTE = (
    "Shoppers and their histories are simulated from the catalogue's aspects: the source has no "
    "interactions. Behaviour similarity and every figure about shoppers rest on that simulation."
)
GUESSED_NOTE = (
    "Shoppers' hidden tastes are guessed around their observed histories; what a history does not "
    "show is simulated."
)


@dataclass(frozen=True)
class Visitors:
    """A catalogue with a history, and who is behind it."""

    catalogue: Catalogue
    population: Population
    profiles: Profiles


def synthetic_visitors(
    config: SyntheticConfig, shoppers: ShopperConfig, rng: np.random.Generator
) -> Visitors:
    """Make the embedded default shop with its shoppers, histories and reviews."""
    visitors = find_visitors(synthetic_catalogue(config, rng), shoppers, rng)
    return Visitors(with_reviews(visitors.catalogue, rng), visitors.population, visitors.profiles)


def find_visitors(
    catalogue: Catalogue, config: ShopperConfig, rng: np.random.Generator
) -> Visitors:
    """Return the shoppers of a catalogue: guessed around its history, or simulated without one."""
    if len(catalogue.history):
        profiles = observe_profiles(catalogue, config.segments, rng)
        population = population_from_profiles(catalogue, profiles, config, rng)
        return Visitors(
            with_history(catalogue, catalogue.history, GUESSED_NOTE), population, profiles
        )
    population = make_population(catalogue, config, rng)
    history = simulate_history(catalogue, population, config, rng)
    catalogue = with_history(catalogue, history, SIMULATED_NOTE)
    return Visitors(catalogue, population, observe_profiles(catalogue, config.segments, rng))


@dataclass(frozen=True)
class Shop:
    """All that is computed once for a catalogue."""

    visitors: Visitors
    index: ItemIndex
    pools: Pools

    def world(self, config: ShopConfig) -> World:
        """Return the shop under the given behaviour, without reasons."""
        visitors = self.visitors
        return build_world(
            visitors.catalogue, visitors.population, visitors.profiles, self.pools, config
        )


def open_shop(
    visitors: Visitors,
    config: SimilarityConfig,
    rng: np.random.Generator,
    progress: Progress = silent,
) -> Shop:
    """Compute similarity scores and candidate pools.

    ``progress`` counts the items whose text is encoded, then the pools made.
    """
    catalogue, profiles = visitors.catalogue, visitors.profiles
    read = catalogue.n_items
    total = read + anchor_count(catalogue, profiles, config)
    index = build_index(
        catalogue, profiles, config, rng, lambda done, _, figures: progress(done, total, figures)
    )
    pools = build_pools(
        catalogue, profiles, index, config, rng,
        lambda done, _, figures: progress(read + done, total, figures),
    )  # fmt: skip
    return Shop(visitors, index, pools)


def default_world(
    shop: ShopConfig | None = None,
    *,
    items: int = 300,
    locale: Locale = "en",
    shoppers: int | ShopperConfig = 300,
    synthetic: SyntheticConfig | None = None,
    similarity: SimilarityConfig | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> World:
    """Return a synthetic shop, ready to step: for `gymnasium.make`, for tests and benchmarks.

    ``shoppers`` is a number of them or all that is to say about them; ``synthetic`` takes the place
    of ``items`` and ``locale``.
    """
    rng = np.random.default_rng(seed)
    visitors = synthetic_visitors(
        synthetic or SyntheticConfig(items=items, locale=locale),
        ShopperConfig(shoppers=shoppers) if isinstance(shoppers, int) else shoppers,
        rng,
    )
    opened = open_shop(visitors, similarity or SimilarityConfig(), rng, progress)
    return opened.world(shop or ShopConfig())
