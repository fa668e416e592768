"""A seeded, made-up department store: the shop that works without any download.

What an item is like (its level of each attribute) is drawn first; facts, description, price and
reviews all follow from it, so that a reason, a review and the simulated shopper agree.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from envs.catalogue import Catalogue, check_catalogue, typed_table
from envs.margins import default_margin
from envs.settings import Settings
from envs.synthetic_words import ReviewWords, ShopClass, Words, load_words

#: How many facts an item states, inclusive.
FACTS_PER_ITEM = (4, 7)
#: How many reviews an item gets where enough shoppers met it, inclusive.
REVIEWS_PER_ITEM = (1, 3)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class SyntheticConfig(Settings):
    """The made-up shop."""

    items: int = Field(default=1000, ge=12, le=1_000_000)
    """Number of items, spread evenly over the 12 classes."""
    locale: Literal["en"] = "en"
    """Language of all texts."""


def synthetic_catalogue(config: SyntheticConfig, rng: np.random.Generator) -> Catalogue:
    """Make a shop of ``config.items`` items; history and reviews are still empty."""
    words = load_words(config.locale)
    items, features = _items(config.items, words, rng)
    facts = _facts(items, words, rng)
    items["description"] = _descriptions(items, facts, words, rng)
    stated = facts[["item_id", "key", "value"]]
    catalogue = Catalogue(
        name=words.name,
        locale=config.locale,
        currency=words.currency,
        aspects=words.aspects,
        items=typed_table(items, "items", words.name),
        facts=typed_table(facts, "facts", words.name),
        features=typed_table(pd.concat([stated, features]), "features", words.name),
        queries=typed_table(_queries(items, words), "queries", words.name),
        notes=["The shop, its brands and its items are made up."],
    )
    return check_catalogue(catalogue, words.name)


def _pick(options: list[str], size: int, rng: np.random.Generator) -> list[str]:
    """Return ``size`` options, drawn evenly."""
    return [options[i] for i in rng.integers(len(options), size=size)]


def _items(n: int, words: Words, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw the items (without descriptions) and the features that no fact states."""
    class_names = list(words.classes)
    brand_names = sorted({b for brands in words.brands.values() for b in brands})
    brand_quality = dict(zip(brand_names, rng.uniform(0.2, 0.9, len(brand_names)), strict=True))
    # Every class gets its share before chance orders the shelf, so that none is ever empty.
    class_of = rng.permutation(np.arange(n) % len(class_names))
    ids = np.array([f"I{i:0{len(str(n))}d}" for i in range(1, n + 1)])
    parts, extras = [], []
    for index, name in enumerate(class_names):
        about = words.classes[name]
        rows = np.flatnonzero(class_of == index)
        brands = words.brands[about.department]
        brand = _pick(list(brands), len(rows), rng)
        known = np.array([brand_quality[b] for b in brand])
        quality = np.clip(known + rng.normal(0, 0.12, len(rows)), 0.02, 0.98).round(3)
        part = pd.DataFrame({"item_id": ids[rows], "class": name, "brand": brand}, index=rows)
        part["quality"] = quality
        part["price"] = _prices(about, quality, rng)
        part["type"] = _pick(about.types, len(rows), rng)
        part["series"] = _pick(words.series, len(rows), rng)
        parts.append(part)
        options = {"colour": words.colours, "model_year": words.years, **about.extras}
        columns = {key: _pick(values, len(rows), rng) for key, values in options.items()}
        columns |= {"type": list(part["type"]), "brand_origin": [brands[b] for b in brand]}
        extras.append(
            pd.DataFrame({"item_id": ids[rows], **columns}).melt(
                "item_id", var_name="key", value_name="value"
            )
        )
    items = pd.concat(parts).sort_index()
    items["margin"] = default_margin(items["price"])
    items["title"] = _titles(items, rng)
    return items, pd.concat(extras)


def _prices(about: ShopClass, quality: Floats, rng: np.random.Generator) -> Floats:
    """Return lognormal prices that rise with quality and end in .99."""
    logarithm = rng.normal(np.log(about.price), about.spread, len(quality))
    return np.floor(np.exp(logarithm + 0.8 * (quality - 0.5))) + 0.99


def _titles(items: pd.DataFrame, rng: np.random.Generator) -> list[str]:
    """Return unique titles such as "Norvik Aura 300 Wireless Headphones"."""
    hundreds = pd.Series(rng.integers(1, 10, len(items)) * 100, index=items.index)
    same = items.assign(number=hundreds).groupby(["brand", "series", "type"])
    # Models of one line are numbered on: the n-th of them adds n, never met twice.
    nth = same.cumcount()
    number = hundreds + nth % 100 + nth // 100 * 1000
    return [
        f"{brand} {series} {model} {kind}"
        for brand, series, model, kind in zip(
            items["brand"], items["series"], number, items["type"], strict=True
        )
    ]


def _levels(quality: Floats, counts: Integers, rng: np.random.Generator) -> Integers:
    """Draw the level of each attribute, (n, K) int64 in 0..counts-1, 0 the worst.

    ``U ** exp(2 (0.5 - quality))`` for uniform U has mean 0.35 at quality 0.2 and 0.69 at 0.9:
    good items tend to have good facts, and every item still has weak and strong ones.
    """
    uniform = rng.random((len(quality), len(counts)))
    graded = uniform ** np.exp(2 * (0.5 - quality))[:, None]
    return np.minimum((graded * counts).astype(np.int64), counts - 1)


def _facts(items: pd.DataFrame, words: Words, rng: np.random.Generator) -> pd.DataFrame:
    """Draw what each item states: 4 to 7 facts, each at another aspect."""
    parts = []
    for name, about in words.classes.items():
        of_class = items[items["class"] == name]
        attributes = [words.attributes[key] for key in about.facts]
        ladders = [
            listed or list(attribute.levels)
            for listed, attribute in zip(about.facts.values(), attributes, strict=True)
        ]
        counts = np.array([len(ladder) for ladder in ladders])
        levels = _levels(of_class["quality"].to_numpy(), counts, rng)
        n_facts = rng.integers(FACTS_PER_ITEM[0], FACTS_PER_ITEM[1] + 1, len(of_class))
        # The rank of a random number is a random order: the first n_facts of it are stated.
        rank = rng.random(levels.shape).argsort(axis=1).argsort(axis=1)
        row, column = np.nonzero(rank < n_facts[:, None])
        chosen = levels[row, column]
        # Rows of one level share everything but the item: look each level up once.
        offset = np.concatenate([[0], counts.cumsum()[:-1]])
        stated = [
            (attribute.aspect, key, *attribute.stated(level), (rung + 1) / len(ladder))
            for key, attribute, ladder in zip(about.facts, attributes, ladders, strict=True)
            for rung, level in enumerate(ladder)
        ]
        table = pd.DataFrame(stated, columns=["aspect", "key", "value", "phrases", "strength"])
        part = table.iloc[offset[column] + chosen].reset_index(drop=True)
        parts.append(part.assign(item_id=of_class["item_id"].to_numpy()[row]))
    facts = pd.concat(parts, ignore_index=True)
    return facts.sort_values("item_id", kind="stable")


def _descriptions(
    items: pd.DataFrame, facts: pd.DataFrame, words: Words, rng: np.random.Generator
) -> list[str]:
    """Return one sentence an item, with its two strongest facts."""
    canonical = facts.assign(phrase=[phrases[0] for phrases in facts["phrases"]])
    best = canonical.sort_values("strength", ascending=False, kind="stable")
    place = best.groupby("item_id").cumcount()
    first = best[place == 0].set_index("item_id")["phrase"]
    second = best[place == 1].set_index("item_id")["phrase"]
    templates = _pick(words.descriptions, len(items), rng)
    return [
        template.format(
            title=title, noun=words.classes[kind].noun, brand=brand, first=one, second=two
        )
        for template, title, kind, brand, one, two in zip(
            templates,
            items["title"],
            items["class"],
            items["brand"],
            items["item_id"].map(first),
            items["item_id"].map(second),
            strict=True,
        )
    ]


def _queries(items: pd.DataFrame, words: Words) -> pd.DataFrame:
    """Return what people type: the queries of each class and its commonest brand."""
    texts = [query for about in words.classes.values() for query in about.queries]
    for name in words.classes:
        brand = items.loc[items["class"] == name, "brand"].mode().iloc[0]
        texts.append(f"{brand} {name}")
    ids = [f"Q{i:03d}" for i in range(1, len(texts) + 1)]
    return pd.DataFrame({"query_id": ids, "query": texts})


def with_reviews(catalogue: Catalogue, rng: np.random.Generator) -> Catalogue:
    """Return the catalogue with about two made-up reviews an item.

    Shoppers review what they bought; items that too few bought are reviewed by shoppers who only
    met them. The rating follows quality and the strengths of the item's facts; the text praises
    strong facts and criticises weak ones.

    Raises:
        ValueError: if the catalogue has no history, since nobody could have written a review.
    """
    if not len(catalogue.history):
        raise ValueError("with_reviews needs a catalogue that has a history")
    words = load_words(catalogue.locale).reviews
    written = _reviewed(catalogue.history, rng)
    items = catalogue.items.set_index("item_id")
    facts = {
        item: list(zip(group["aspect"], group["phrases"], group["strength"], strict=True))
        for item, group in catalogue.facts.groupby("item_id")
    }
    strength = catalogue.facts.groupby("item_id")["strength"].mean()
    quality = items["quality"].reindex(written["item_id"]).to_numpy()
    fit = strength.reindex(written["item_id"]).to_numpy()
    # An item about which nothing is known is rated on its quality alone.
    fit = np.where(np.isnan(fit), quality, fit)
    rating = 1 + 4 * (0.6 * quality + 0.4 * fit) + rng.normal(0, 0.7, len(written))
    written["rating"] = np.clip(rating.round(), 1, 5)
    written["text"] = [
        _review(words, items.loc[item, "brand"], facts.get(item, []), stars, rng)
        for item, stars in zip(written["item_id"], written["rating"], strict=True)
    ]
    return replace(
        catalogue,
        reviews=typed_table(written, "reviews", catalogue.name),
        notes=[*catalogue.notes, "Reviews are made up from quality and facts."],
    )


def _reviewed(history: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Draw who reviews what: distinct (shopper, item) pairs, purchases before other events."""
    shuffled = history.iloc[rng.permutation(len(history))]
    bought = shuffled["event"] == "purchase"
    ordered = pd.concat([shuffled[bought], shuffled[~bought]])
    pairs = ordered.drop_duplicates(["shopper_id", "item_id"])[["item_id", "shopper_id"]]
    low, high = REVIEWS_PER_ITEM
    met = sorted(pairs["item_id"].unique())
    wanted = pd.Series(rng.integers(low, high + 1, len(met)), index=met)
    first = pairs.groupby("item_id").cumcount() < pairs["item_id"].map(wanted)
    return pairs[first].sort_values(["item_id", "shopper_id"]).reset_index(drop=True)


def _review(
    words: ReviewWords,
    brand: str,
    facts: list[tuple[str, list[str], float]],
    stars: float,
    rng: np.random.Generator,
) -> str:
    """Write one review; facts are (aspect, phrases, strength)."""

    def one(options: list[str]) -> str:
        return options[rng.integers(len(options))]

    def about(chosen: list[tuple[str, list[str], float]], sentences: list[str]) -> list[str]:
        shown = [chosen[i] for i in rng.permutation(len(chosen))]
        templates = [sentences[i] for i in rng.permutation(len(sentences))]
        return [
            template.format(phrase=one(phrases), aspect=aspect, brand=brand)
            for template, (aspect, phrases, _) in zip(templates, shown, strict=False)
        ]

    mood = "good" if stars >= 4 else "middling" if stars >= 3 else "bad"
    n_praise, n_criticism = {"good": (2, 1), "middling": (1, 1), "bad": (1, 2)}[mood]
    praise = about([f for f in facts if f[2] >= 0.6], words.praise)[:n_praise]
    criticism = about([f for f in facts if f[2] <= 0.4], words.criticism)[:n_criticism]
    body = [*criticism, *praise] if mood == "bad" else [*praise, *criticism]
    sentences = [one(words.openers[mood]).format(brand=brand), *body, one(words.closers)]
    return " ".join(sentence for sentence in sentences if sentence)
