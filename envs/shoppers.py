"""Shoppers: what they want (hidden), what a shop sees of them (observed), and their histories.

The hidden side is `Population`; nothing but the shop's own dynamics and the oracle may read it. The
observed side is `Profiles`, a function of the history table alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from envs.behaviour import cosine, price_fit
from envs.catalogue import Catalogue
from envs.settings import Settings

F32 = NDArray[np.float32]

#: How much an event in the history says about taste.
EVENT_WEIGHT = {"view": 1.0, "click": 1.0, "purchase": 3.0}
_DAY = 86_400.0
#: Histories end here; a fixed instant, so that a seed reproduces them (2026-01-01 UTC).
_HISTORY_END = 1_767_225_600.0


class ShopperConfig(Settings):
    """Who visits the shop."""

    shoppers: int = Field(2000, ge=10)
    """Number of shoppers, where the catalogue brings no history of its own."""
    types: int = Field(8, ge=1)
    """Number of hidden taste types that shoppers are drawn around."""
    favourites: int = Field(4, ge=1)
    """Number of aspects that a type cares about most."""
    individuality: float = Field(0.35, ge=0)
    """Log-scale standard deviation of a shopper's taste around the type's."""
    history_mean: float = Field(12.0, ge=2)
    """Mean number of past events of a shopper."""
    segments: int = Field(8, ge=1)
    """Number of segments that observed profiles are clustered into."""
    trust_mean: float = Field(2 / 3, gt=0, lt=1)
    """Mean trust in the shop's reasons at the start (0 to 1)."""
    trust_concentration: float = Field(9.0, gt=0)
    """How alike shoppers are in trust: it is drawn from Beta(mean * c, (1 - mean) * c)."""
    patience_low: float = Field(3.0, ge=0)
    """Pages that the least patient shopper looks at before the urge to leave grows."""
    patience_high: float = Field(8.0, ge=0)
    """Pages that the most patient shopper looks at before the urge to leave grows."""
    price_point_mean: float = -0.2
    """Mean preferred price, in standard deviations of log price within the class; where the
    catalogue brings a history, that is read off it."""
    price_point_spread: float = Field(0.7, ge=0)
    """Standard deviation of the preferred price, in the same unit."""
    price_point_error: float = Field(0.3, ge=0)
    """Standard deviation of the guess of a preferred price around what a real history shows."""
    price_sensitivity: float = Field(1.0, ge=0)
    """Median weight of price fit; `shop.w_price` multiplies it."""
    price_sensitivity_spread: float = Field(0.3, ge=0)
    """Log-scale standard deviation of that weight over shoppers."""

    @model_validator(mode="after")
    def _ordered(self) -> ShopperConfig:
        if self.patience_low > self.patience_high:
            raise ValueError(
                f"patience_low ({self.patience_low}) must not exceed patience_high "
                f"({self.patience_high})"
            )
        return self


@dataclass(frozen=True)
class Population:
    """Hidden state of U shoppers at the start of a session."""

    #: tau: how much aspect a matters to shopper u, (U, A) float32 >= 0, mean row sum 2.5.
    taste: F32
    #: Liking of each class in log units, (U, C) float32, mean 0.
    class_affinity: F32
    #: Preferred price as a within-class z-score of log price, (U,) float32.
    price_point: F32
    #: Weight of price fit, (U,) float32 around 1.
    price_sensitivity: F32
    #: Trust in the shop's reasons, (U,) float32 in [0, 1].
    trust: F32
    #: Pages a shopper likes to look at before the urge to leave grows, (U,) float32.
    patience: F32


@dataclass(frozen=True)
class Profiles:
    """What a shop knows of U shoppers and of its S segments, from the history alone."""

    shopper_ids: list[str]
    #: Mean within-class surplus of each aspect over the history, (U, A) float32.
    aspects: F32
    #: Share of each class in the history, (U, C) float32.
    class_mix: F32
    #: Mean within-class price z-score of the history, (U,) float32.
    price_level: F32
    #: Segment of each shopper, (U,) int64.
    segment: NDArray[np.int64]
    #: Aspect weights of each segment in [0, 1], largest first by `liked`, (S, A) float32.
    segment_aspects: F32
    #: Row-normalised history weights, as (shopper row, item index, weight) triples, each
    #: shopper's in the order of time.
    history_rows: NDArray[np.int64]
    history_items: NDArray[np.int64]
    history_weights: F32

    @property
    def n_segments(self) -> int:
        """Number of segments S."""
        return len(self.segment_aspects)

    def liked(self, segment: int, count: int) -> list[int]:
        """Return the aspect indexes that a segment likes most, best first."""
        order = np.argsort(-self.segment_aspects[segment], kind="stable")
        return [int(a) for a in order[:count] if self.segment_aspects[segment, a] > 0]


def price_z(catalogue: Catalogue) -> F32:
    """Within-class z-score of log price, clipped to [-3, 3], (I,) float32."""
    log_price = np.log(catalogue.items["price"].to_numpy(dtype=np.float64))
    classes, n = catalogue.class_index, len(catalogue.classes)
    count = np.bincount(classes, minlength=n)
    mean: NDArray[np.float64] = np.bincount(classes, log_price, minlength=n) / count
    spread = np.sqrt(np.bincount(classes, (log_price - mean[classes]) ** 2, minlength=n) / count)
    z = (log_price - mean[classes]) / np.maximum(spread, 0.1)[classes]
    return np.clip(z, -3, 3).astype(np.float32)


def make_population(
    catalogue: Catalogue, config: ShopperConfig, rng: np.random.Generator
) -> Population:
    """Draw hidden shoppers around a few taste types.

    Types favour aspects in proportion to how many items have a fact about them: a taste that no
    item can meet would only be noise.
    """
    aspects, classes, count = len(catalogue.aspects), len(catalogue.classes), config.shoppers
    coverage = (catalogue.aspect_matrix > 0).mean(axis=0) + 1e-6
    type_taste = np.full((config.types, aspects), 0.05)
    strength = np.linspace(1.0, 0.5, min(config.favourites, aspects))
    for row in type_taste:
        chosen = rng.choice(aspects, size=len(strength), replace=False, p=coverage / coverage.sum())
        row[chosen] = strength
    kind = rng.integers(config.types, size=count)
    taste = type_taste[kind] * np.exp(config.individuality * rng.normal(size=(count, aspects)))
    taste *= 2.5 / taste.sum(axis=1).mean()
    type_affinity = rng.normal(scale=0.6, size=(config.types, classes))
    affinity = type_affinity[kind] + rng.normal(scale=0.6, size=(count, classes))
    return Population(
        taste=taste.astype(np.float32),
        class_affinity=(affinity - affinity.mean(axis=1, keepdims=True)).astype(np.float32),
        price_point=rng.normal(
            config.price_point_mean, config.price_point_spread, size=count
        ).astype(np.float32),
        **_character(config, count, rng),
    )


def _character(config: ShopperConfig, count: int, rng: np.random.Generator) -> dict[str, F32]:
    """Price sensitivity, trust and patience of ``count`` shoppers, by name, each (U,)."""
    trusting = config.trust_mean * config.trust_concentration
    drawn = {
        "price_sensitivity": config.price_sensitivity
        * np.exp(rng.normal(0, config.price_sensitivity_spread, size=count)),
        "trust": rng.beta(trusting, config.trust_concentration - trusting, size=count),
        "patience": rng.uniform(config.patience_low, config.patience_high, size=count),
    }
    return {name: values.astype(np.float32) for name, values in drawn.items()}


def taste_match(taste: F32, aspects: F32) -> F32:
    """Cosine of taste (..., A) and item aspects (..., A): 0 no favourite met, 1 all of them."""
    norms = np.linalg.norm(taste, axis=-1) * np.linalg.norm(aspects, axis=-1)
    return cosine((taste * aspects).sum(axis=-1), norms)


def simulate_history(
    catalogue: Catalogue, population: Population, config: ShopperConfig, rng: np.random.Generator
) -> pd.DataFrame:
    """Let the hidden shoppers look around before the shop opens: a history table.

    Each event picks the best of 30 popular-ish items by match, class, price and quality plus Gumbel
    noise (a multinomial logit choice). Shoppers are named by number, so row u is population row u.
    """
    items, count = catalogue.n_items, len(population.taste)
    popularity = 1.0 / (1 + rng.permutation(items)) ** 0.7
    events = np.maximum(rng.poisson(config.history_mean, size=count), 2)
    shopper = np.repeat(np.arange(count), events)
    pool = rng.choice(items, size=(len(shopper), 30), p=popularity / popularity.sum())
    x, z = catalogue.aspect_matrix, price_z(catalogue)
    quality = catalogue.items["quality"].to_numpy(dtype=np.float32)
    utility = np.empty(pool.shape, dtype=np.float32)
    for start in range(0, len(shopper), 4096):  # bounds the (rows, 30, A) temporary
        rows, part = shopper[start : start + 4096], pool[start : start + 4096]
        utility[start : start + 4096] = (
            5.0 * taste_match(population.taste[rows, None], x[part])
            + population.class_affinity[rows[:, None], catalogue.class_index[part]]
            + price_fit(z[part], population.price_point[rows, None])
            + quality[part]
        )
    best = (utility + rng.gumbel(size=pool.shape)).argmax(axis=1)
    chosen = pool[np.arange(len(pool)), best]
    draw = rng.random(len(shopper))
    event = np.where(draw < 0.15, "purchase", np.where(draw < 0.5, "click", "view"))
    width = len(str(count - 1))
    frame = pd.DataFrame(
        {
            "shopper_id": [f"s{u:0{width}d}" for u in shopper],
            "item_id": catalogue.items["item_id"].to_numpy()[chosen],
            "event": event,
            "timestamp": np.round(_HISTORY_END - 90 * _DAY * rng.random(len(shopper))),
        }
    )
    return frame.sort_values(["shopper_id", "timestamp"], kind="stable").reset_index(drop=True)


def population_from_profiles(
    catalogue: Catalogue, profiles: Profiles, config: ShopperConfig, rng: np.random.Generator
) -> Population:
    """Guess a hidden population around the observed profiles of a real history.

    Taste is the positive surplus of each aspect with log-normal noise: what was never observed is a
    guess, and the report says so.
    """
    count, aspects = len(profiles.shopper_ids), profiles.aspects.shape[1]
    scale = np.maximum(profiles.aspects.std(axis=0), 1e-6)
    taste = np.log1p(np.exp(2 * profiles.aspects / scale - 1))
    taste = taste * np.exp(config.individuality * rng.normal(size=(count, aspects)))
    taste *= 2.5 / max(float(taste.sum(axis=1).mean()), 1e-6)
    affinity = np.log(profiles.class_mix + 0.05)
    noise = rng.normal(scale=0.3, size=affinity.shape)
    return Population(
        taste=taste.astype(np.float32),
        class_affinity=(affinity - affinity.mean(axis=1, keepdims=True) + noise).astype(np.float32),
        price_point=profiles.price_level
        + rng.normal(scale=config.price_point_error, size=count).astype(np.float32),
        **_character(config, count, rng),
    )


def observe_profiles(catalogue: Catalogue, segments: int, rng: np.random.Generator) -> Profiles:
    """Summarise the history table: aspect surplus, class mix, price level, segment of each shopper.

    The surplus of an aspect is its strength in the items met minus its mean within their class, so
    that liking headphones does not read as liking sound.
    """
    ids = catalogue.shopper_ids
    # A catalogue's own history may come in any order; the world reads the last item met off it.
    history = catalogue.history.sort_values(["shopper_id", "timestamp"], kind="stable")
    row_of = {shopper: row for row, shopper in enumerate(ids)}
    rows = np.array([row_of[shopper] for shopper in history["shopper_id"]], dtype=np.int64)
    position = catalogue.item_position
    items = np.array([position[item] for item in history["item_id"]], dtype=np.int64)
    weights = history["event"].map(EVENT_WEIGHT).to_numpy(dtype=np.float64)
    weights = weights / np.bincount(rows, weights, minlength=len(ids))[rows]
    x, classes = catalogue.aspect_matrix, catalogue.class_index
    n_classes = len(catalogue.classes)
    class_mean = np.zeros((n_classes, x.shape[1]), dtype=np.float64)
    np.add.at(class_mean, classes, x)
    class_mean /= np.maximum(np.bincount(classes, minlength=n_classes), 1)[:, None]
    surplus = np.zeros((len(ids), x.shape[1]))
    np.add.at(surplus, rows, weights[:, None] * (x[items] - class_mean[classes[items]]))
    mix = np.zeros((len(ids), n_classes))
    np.add.at(mix, (rows, classes[items]), weights)
    level = np.bincount(rows, weights * price_z(catalogue)[items], minlength=len(ids))
    segment, segment_aspects = _cluster(surplus, min(segments, len(ids)), rng)
    return Profiles(
        shopper_ids=ids,
        aspects=surplus.astype(np.float32),
        class_mix=mix.astype(np.float32),
        price_level=level.astype(np.float32),
        segment=segment,
        segment_aspects=segment_aspects,
        history_rows=rows,
        history_items=items,
        history_weights=weights.astype(np.float32),
    )


def _cluster(
    surplus: NDArray[np.float64], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], F32]:
    """K-means of standardised profiles; segment weights are mean z-scores scaled to [0, 1]."""
    from sklearn.cluster import KMeans  # heavy to import, and needed once for a catalogue

    z = (surplus - surplus.mean(axis=0)) / np.maximum(surplus.std(axis=0), 1e-6)
    # More segments than distinct profiles would leave some of them empty.
    count = min(count, len(np.unique(z.round(6), axis=0)))
    model = KMeans(count, n_init=4, random_state=int(rng.integers(2**31)))
    labels = model.fit_predict(z).astype(np.int64)
    means = np.stack([z[labels == s].mean(axis=0) for s in range(count)])
    positive = np.maximum(means, 0)
    top = np.maximum(positive.max(axis=1, keepdims=True), 1e-6)
    return labels, (positive / top).astype(np.float32)
