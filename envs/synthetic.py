"""A seeded, made-up department store: the shop that works without any download.

What an item is like (its level of each attribute) is drawn first; facts, title, description, price
and reviews all follow from it, so that a reason, a review and the simulated shopper agree. Texts
come from `envs.synthetic_words`, in English or in Chinese.

A million items are made of a few hundred distinct statements, so tables are kept as row numbers
into small tables (`Stated`) and spelled out once, at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from envs.catalogue import TABLES, Catalogue, check_catalogue, typed_table
from envs.margins import default_margin
from envs.settings import Settings

# Makers of a shop need both: the reviews of a shop can only be written after its history.
from envs.synthetic_reviews import with_reviews as with_reviews
from envs.synthetic_words import Locale, ShopClass, Words, load_words

#: How many facts an item states, inclusive.
FACTS_PER_ITEM = (4, 7)
#: A fact of at least this strength is worth a place in a title, and praise in a description.
WORTH_PRAISE = 0.6

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
#: Texts as Python strings: (n,) object.
Texts = NDArray[np.object_]


class SyntheticConfig(Settings):
    """The made-up shop."""

    items: int = Field(default=1000, ge=12, le=1_000_000)
    """Number of items, spread evenly over the 12 classes."""
    locale: Locale = "en"
    """Language of all texts: `en` (prices in EUR) or `zh` (Simplified Chinese, prices in CNY)."""


@dataclass(frozen=True)
class Stated:
    """Row r says that item ``item[r]`` has what row ``code[r]`` of ``table`` says."""

    table: pd.DataFrame
    #: Item index, (n,) int64.
    item: Integers
    #: Row of ``table``, (n,) int64.
    code: Integers

    def spelled_out(self, ids: pd.Series, columns: list[str]) -> pd.DataFrame:
        """Return the ``columns`` of the table, one row a statement, with ``item_id`` first."""
        frame = self.table[columns].take(self.code).reset_index(drop=True)
        frame.insert(0, "item_id", ids.take(self.item).reset_index(drop=True))
        return frame


@dataclass(frozen=True)
class _Made:
    """Items before they are spelled out; every array has n rows, in item order."""

    #: Class index in the order of the vocabulary.
    kind: Integers
    brand: Texts
    series: Texts
    type: Texts
    #: Model number, so that no two items of a brand's line share one.
    model: Integers
    quality: Floats
    price: Floats
    #: Features that no fact states.
    extras: Stated


def synthetic_catalogue(config: SyntheticConfig, rng: np.random.Generator) -> Catalogue:
    """Make a shop of ``config.items`` items; history and reviews are still empty."""
    words = load_words(config.locale)
    made = _items(config.items, words, rng)
    facts = _facts(made, words, rng)
    strength = facts.table["strength"].to_numpy()
    first, second = _two_strongest(facts, strength)
    phrase = np.array([phrases[0] for phrases in facts.table["phrases"]], dtype=object)
    titles = _titles(made, words, phrase[first], strength[first], rng)
    praise = strength[second] >= WORTH_PRAISE
    items = pd.DataFrame(
        {
            "item_id": _ids(config.items),
            "title": titles,
            "class": np.array(list(words.classes), dtype=object)[made.kind],
            "brand": made.brand,
            "price": made.price,
            "margin": words.per_euro * default_margin(made.price / words.per_euro),
            "quality": made.quality,
            "description": _descriptions(
                made, words, titles, phrase[first], phrase[second], praise, rng
            ),
        }
    )
    items = typed_table(items, "items", words.name)
    ids = items["item_id"]
    features = pd.concat(
        [part.spelled_out(ids, ["key", "value"]) for part in (facts, made.extras)],
        ignore_index=True,
    )
    catalogue = Catalogue(
        name=words.name,
        locale=config.locale,
        currency=words.currency,
        aspects=words.aspects,
        items=items,
        facts=facts.spelled_out(ids, [c for c in TABLES["facts"] if c != "item_id"]),
        features=features,
        queries=typed_table(_queries(items, words), "queries", words.name),
        notes=["The shop, its brands and its items are made up."],
    )
    return check_catalogue(catalogue, words.name)


def _ids(n: int) -> list[str]:
    width = len(str(n))
    return [f"I{i:0{width}d}" for i in range(1, n + 1)]


def _items(n: int, words: Words, rng: np.random.Generator) -> _Made:
    """Draw what the items are, but for their facts."""
    names = list(words.classes)
    brand_names = sorted({b for brands in words.brands.values() for b in brands})
    brand_quality = dict(zip(brand_names, rng.uniform(0.2, 0.9, len(brand_names)), strict=True))
    # Every class gets its share before chance orders the shelf, so that none is ever empty.
    kind = rng.permutation(np.arange(n) % len(names))
    brand, series, kinds = (np.empty(n, dtype=object) for _ in range(3))
    quality, price = np.empty(n), np.empty(n)
    line = np.empty(n, dtype=np.int64)
    pairs: dict[tuple[str, str], int] = {}
    extra_items, extra_codes = [], []

    def note(rows: Integers, key: str, options: list[str], drawn: Integers) -> None:
        codes = [pairs.setdefault((key, option), len(pairs)) for option in options]
        extra_items.append(rows)
        extra_codes.append(np.array(codes, dtype=np.int64)[drawn])

    for index, name in enumerate(names):
        about = words.classes[name]
        rows = np.flatnonzero(kind == index)
        size = len(rows)
        brands = words.brands[about.department]
        which = rng.integers(len(brands), size=size)
        known = np.array([brand_quality[b] for b in brands])[which]
        quality[rows] = np.clip(known + rng.normal(0, 0.12, size), 0.02, 0.98).round(3)
        price[rows] = _prices(about, words.price_ending, quality[rows], rng)
        type_of = rng.integers(len(about.types), size=size)
        series_of = rng.integers(len(words.series), size=size)
        brand[rows] = np.array(list(brands), dtype=object)[which]
        kinds[rows] = np.array(about.types, dtype=object)[type_of]
        series[rows] = np.array(words.series, dtype=object)[series_of]
        # One number for each class, brand, series and type; of none are there a thousand.
        line[rows] = ((index * 1000 + which) * 1000 + series_of) * 1000 + type_of
        for key, options in {**words.common, **about.extras}.items():
            note(rows, key, options, rng.integers(len(options), size=size))
        note(rows, words.type_key, about.types, type_of)
        note(rows, words.origin_key, list(brands.values()), which)
    # Models of one line are numbered on: the n-th of them adds n, never met twice.
    nth = pd.Series(line).groupby(line).cumcount().to_numpy()
    hundreds = rng.integers(1, 10, n) * 100
    table = pd.DataFrame(list(pairs), columns=["key", "value"]).astype("str")
    return _Made(
        kind=kind, brand=brand, series=series, type=kinds, quality=quality, price=price,
        model=hundreds + nth % 100 + nth // 100 * 1000,
        extras=Stated(table, np.concatenate(extra_items), np.concatenate(extra_codes)),
    )  # fmt: skip


def _prices(about: ShopClass, ending: str, quality: Floats, rng: np.random.Generator) -> Floats:
    """Return lognormal prices that rise with quality, with the endings that shops like."""
    logarithm = rng.normal(np.log(about.price), about.spread, len(quality))
    price = np.exp(logarithm + 0.8 * (quality - 0.5))
    if ending == "cents":
        return np.floor(price) + 0.99
    # 59.9 below a hundred, 329 below a thousand, 1299 above.
    step = np.where(price < 100, 1.0, np.where(price < 1000, 10.0, 100.0))
    return np.floor(price / step) * step + np.where(step > 1, step - 1, 0.9)


def _levels(quality: Floats, counts: Integers, rng: np.random.Generator) -> Integers:
    """Draw the level of each attribute, (n, K) int64 in 0..counts-1, 0 the worst.

    ``U ** exp(2 (0.5 - quality))`` for uniform U has mean 0.35 at quality 0.2 and 0.69 at 0.9:
    good items tend to have good facts, and every item still has weak and strong ones.
    """
    uniform = rng.random((len(quality), len(counts)))
    graded = uniform ** np.exp(2 * (0.5 - quality))[:, None]
    return np.minimum((graded * counts).astype(np.int64), counts - 1)


def _facts(made: _Made, words: Words, rng: np.random.Generator) -> Stated:
    """Draw what each item states: 4 to 7 facts, each at another aspect, in item order."""
    stated: list[tuple[str, str, str, list[str], float]] = []
    items, codes = [], []
    for index, about in enumerate(words.classes.values()):
        rows = np.flatnonzero(made.kind == index)
        attributes = [words.attributes[key] for key in about.facts]
        ladders = [
            listed or list(attribute.levels)
            for listed, attribute in zip(about.facts.values(), attributes, strict=True)
        ]
        counts = np.array([len(ladder) for ladder in ladders])
        levels = _levels(made.quality[rows], counts, rng)
        n_facts = rng.integers(FACTS_PER_ITEM[0], FACTS_PER_ITEM[1] + 1, len(rows))
        # The rank of a random number is a random order: the first n_facts of it are stated.
        rank = rng.random(levels.shape).argsort(axis=1).argsort(axis=1)
        row, column = np.nonzero(rank < n_facts[:, None])
        offset = len(stated) + np.concatenate([[0], counts.cumsum()[:-1]])
        items.append(rows[row])
        codes.append(offset[column] + levels[row, column])
        stated += [
            (attribute.aspect, key, *attribute.stated(level), (rung + 1) / len(ladder))
            for key, attribute, ladder in zip(about.facts, attributes, ladders, strict=True)
            for rung, level in enumerate(ladder)
        ]
    table = pd.DataFrame(stated, columns=[c for c in TABLES["facts"] if c != "item_id"])
    table = table.astype(dict.fromkeys(["aspect", "key", "value"], "str"))
    item = np.concatenate(items)
    order = np.argsort(item, kind="stable")
    return Stated(table, item[order], np.concatenate(codes)[order])


def _two_strongest(facts: Stated, strength: Floats) -> tuple[Integers, Integers]:
    """Rows of ``facts.table`` of each item's strongest and second strongest fact, (n,) each."""
    order = np.lexsort((-strength[facts.code], facts.item))
    start = np.flatnonzero(np.diff(facts.item, prepend=-1))
    return facts.code[order[start]], facts.code[order[start + 1]]


def _titles(
    made: _Made, words: Words, first: Texts, strength: Floats, rng: np.random.Generator
) -> list[str]:
    """Return unique titles: "Norvik Aura 300 Wireless Headphones".

    A Chinese title goes on as shops there write: with the strongest fact (``first``) if it is
    worth praise, and for whom or what the item is meant.
    """
    selling = np.full(len(made.kind), "", dtype=object)
    for index, about in enumerate(words.classes.values()):
        if about.selling:
            rows = np.flatnonzero(made.kind == index)
            drawn = rng.integers(len(about.selling), size=len(rows))
            selling[rows] = np.array(about.selling, dtype=object)[drawn]
    titles = (
        words.title.format(
            brand=brand, series=series, model=model, type=kind, first=fact, selling=sell
        )
        for brand, series, model, kind, fact, sell in zip(
            made.brand, made.series, made.model.tolist(), made.type,
            np.where(strength >= WORTH_PRAISE, first, ""), selling, strict=True,
        )
    )  # fmt: skip
    return [" ".join(title.split()) for title in titles]


def _descriptions(
    made: _Made, words: Words, titles: list[str], first: Texts, second: Texts,
    praise: NDArray[np.bool_], rng: np.random.Generator,
) -> list[str]:  # fmt: skip
    """Return one sentence an item, with its strongest facts; it praises only what is good."""
    strong, plain = words.descriptions.strong, words.descriptions.plain
    draw = rng.integers(len(strong), size=len(titles)).tolist()
    nouns = [about.noun for about in words.classes.values()]
    return [
        (strong[d] if good else plain[d % len(plain)]).format(
            title=title, noun=nouns[kind], brand=brand, series=series, model=model, type=name,
            first=one, second=two,
        )
        for d, good, title, kind, brand, series, model, name, one, two in zip(
            draw, praise.tolist(), titles, made.kind.tolist(), made.brand, made.series,
            made.model.tolist(), made.type, first, second, strict=True,
        )
    ]  # fmt: skip


def _queries(items: pd.DataFrame, words: Words) -> pd.DataFrame:
    """Return what people type: the queries of each class and its commonest brand."""
    texts = [query for about in words.classes.values() for query in about.queries]
    for name in words.classes:
        brand = items.loc[items["class"] == name, "brand"].mode().iloc[0]
        texts.append(words.brand_query.format(brand=brand, class_name=name))
    ids = [f"Q{i:03d}" for i in range(1, len(texts) + 1)]
    return pd.DataFrame({"query_id": ids, "query": texts})
