"""The held-out shop: other readers, other weights, other tastes and words; no training sees it.

A gain that lives in one simulated shop only has learned that shop's quirks. So the trained writer
is judged once more where everything that a shop's equations leave open is drawn anew: how a page is
read, how much each thing weighs, who the shoppers behind the observed profiles are, and in which
words the facts are told. Catalogue, observed profiles and candidate pools stay: they are what the
writer was given.

What stays, too, is how often a shopper clicks and buys where no reason is shown. A shop with half
the clicks would show half the lift of any text, and that says nothing about the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from envs.assemble import Shop
from envs.behaviour import ShopConfig, browse_logit, price_fit, purchase_logit, sigmoid
from envs.catalogue import Catalogue
from envs.shoppers import Population, ShopperConfig, population_from_profiles, taste_match
from envs.world import World, build_world
from experiments.held_out_config import HeldOutConfig

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Behaviour weights that get a random factor. The biases follow from the level that is kept, the
#: reward's own weights are the unit of the result, and the scenes are the catalogue's.
WEIGHTS = (
    "w_match", "w_class", "w_scene", "w_search", "w_price", "w_quality", "w_satiation",
    "w_reason", "w_dilute", "w_length", "words_free",
    "buy_match", "buy_price", "buy_quality", "buy_lie", "trust_lost", "trust_won",
    "satiation_gain", "leave_no_click", "leave_distrust", "leave_satiation", "leave_impatience",
    "return_click", "return_buy", "return_trust",
)  # fmt: skip
#: Those of them that are shares.
_SHARES = ("trust_lost", "trust_won")
#: Impressions that the level of clicks and purchases is taken over.
_IMPRESSIONS = 8_192


def held_out_worlds(
    shop: Shop, home: ShopConfig, config: HeldOutConfig, rng: np.random.Generator
) -> list[World]:
    """Return a held-out shop, without reasons, for each click model but the training shop's own.

    Each is an independent draw from ``rng``, so their spread shows what one draw is worth.
    """
    models = [name for name in config.click_models if name != home.click_model]
    return [
        held_out_world(shop, home.model_copy(update={"click_model": name}), config, stream)
        for name, stream in zip(models, rng.spawn(len(models)))
    ]


def held_out_world(
    shop: Shop, home: ShopConfig, config: HeldOutConfig, rng: np.random.Generator
) -> World:
    """Return the shop with perturbed weights and other shoppers, read by ``home.click_model``.

    Args:
        shop: catalogue, observed profiles and pools, which stay, and the shoppers that do not.
        home: the training shop's behaviour, with the click model of the held-out shop.
        config: how far from home.
        rng: draws weights and shoppers.
    """
    visitors = shop.visitors
    people = other_population(shop, config, rng)
    away = build_world(
        visitors.catalogue, people, visitors.profiles, shop.pools, perturbed(home, config, rng)
    )
    return away.with_config(at_level_of(shop.world(home), away, rng))


def perturbed(home: ShopConfig, config: HeldOutConfig, rng: np.random.Generator) -> ShopConfig:
    """Return the behaviour with each of `WEIGHTS` times exp(weight_spread * N(0, 1))."""
    factors = np.exp(config.weight_spread * rng.standard_normal(len(WEIGHTS)))
    changed: dict[str, float] = {
        name: float(getattr(home, name) * factor) for name, factor in zip(WEIGHTS, factors)
    }
    changed |= {name: min(changed[name], 1.0) for name in _SHARES}
    changed["words_free"] = max(1, round(changed["words_free"]))
    return ShopConfig.model_validate({**home.model_dump(), **changed})


def other_population(shop: Shop, config: HeldOutConfig, rng: np.random.Generator) -> Population:
    """Draw other shoppers behind the same observed profiles.

    Tastes are guessed around the profile, as for a catalogue with a real history. Trust, price
    sensitivity and patience are those of the training shop, dealt out anew.
    """
    visitors = shop.visitors
    guessed = population_from_profiles(
        visitors.catalogue,
        visitors.profiles,
        ShopperConfig(individuality=config.taste_spread),
        rng,
    )
    home, deal = visitors.population, rng.permutation(len(visitors.population.trust))
    return replace(
        guessed,
        trust=home.trust[deal],
        price_sensitivity=home.price_sensitivity[deal],
        patience=home.patience[deal],
    )


def at_level_of(home: World, away: World, rng: np.random.Generator) -> ShopConfig:
    """Return ``away``'s behaviour with biases that give home's level of clicks and purchases.

    Level means attraction, and purchase after a click, of the items in the shoppers' own pools at
    home, without a reason, averaged over random impressions.
    """
    shoppers = rng.integers(home.n_shoppers, size=_IMPRESSIONS)
    columns = rng.integers(home.pools.items.shape[1], size=_IMPRESSIONS)
    items = home.pools.items[shoppers, columns].astype(np.int64)
    look, buy = _logits(home, shoppers, items)
    look_away, buy_away = _logits(away, shoppers, items)
    clicks = sigmoid(look)
    bias = _shift(look_away, np.ones(_IMPRESSIONS), float(clicks.mean()))
    clicks_away = sigmoid(look_away + bias)
    buy_bias = _shift(buy_away, clicks_away, float(np.average(sigmoid(buy), weights=clicks)))
    config = away.config
    return config.model_copy(
        update={"bias": config.bias + bias, "buy_bias": config.buy_bias + buy_bias}
    )


def _logits(world: World, shoppers: I64, items: I64) -> tuple[F64, F64]:
    """Logits of attraction without a reason and of purchase after a click, (n,) each.

    Home page, nothing seen yet: neither relevance to a scene nor satiation counts.
    """
    people = world.population
    match = taste_match(people.taste[shoppers], world.aspects[items])
    price = price_fit(world.price_z[items], people.price_point[shoppers])
    price = price * people.price_sensitivity[shoppers]
    quality, nothing = world.quality[items], np.zeros(len(items), dtype=np.float32)
    affinity = people.class_affinity[shoppers, world.class_index[items]]
    look = browse_logit(world.config, match, affinity, nothing, nothing, price, quality, nothing)
    buy = purchase_logit(world.config, match, price, quality, nothing)
    return look.astype(np.float64), buy.astype(np.float64)


def _shift(logits: F64, weights: F64, level: float) -> float:
    """Return what added to all logits gives them the weighted mean probability ``level``."""

    def off(shift: float) -> float:
        return float(np.average(sigmoid(logits + shift), weights=weights)) - level

    return float(brentq(off, -60.0, 60.0))


def rephrased(catalogue: Catalogue, chance: float, rng: np.random.Generator) -> Catalogue:
    """Return the catalogue with facts told by another of their phrases, where there is one.

    The first phrase is the one that prompts show; the others stay, so that a claim checker of
    either catalogue knows the same phrases.
    """

    def told(phrases: Sequence[str]) -> list[str]:
        if len(phrases) < 2 or rng.random() >= chance:
            return list(phrases)
        place = int(rng.integers(1, len(phrases)))
        return [phrases[place], *phrases[:place], *phrases[place + 1 :]]

    facts = catalogue.facts.copy()
    facts["phrases"] = [told(list(cell)) for cell in facts["phrases"]]
    return replace(catalogue, facts=facts)
