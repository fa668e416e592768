"""Reviews as the corpus needs them: who wrote what about which item, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from envs.catalogue import Catalogue
from envs.errors import UserError
from rewards.words import normalise
from sft.corpus_config import ReviewsConfig
from sft.review_aspects import AspectFinder, AspectWords, learn_aspects
from sft.table_file import read_rows, require_columns, texts_of
from sft.tasks import clean
from sft.tasks.review import Point

#: Facts at least this strong are worth praise; weaker ones draw blame.
PRAISED = 0.5


@dataclass(frozen=True)
class Review:
    """One review."""

    text: str
    #: Stars, 1 to 5.
    rating: float
    #: "" where nothing tells items or shoppers apart.
    item: str = ""
    shopper: str = ""
    #: What the review is about: the item's title, and the class of goods.
    title: str = ""
    kind: str = ""
    #: What it praises and criticises.
    points: tuple[Point, ...] = ()


def catalogue_reviews(catalogue: Catalogue) -> list[Review]:
    """Return the reviews of a catalogue, with their points.

    A review that cites facts of its item praises the strong ones and criticises the weak ones: that
    is how made-up reviews are written. In one that cites none, the catalogue's aspects are looked
    for by name.
    """
    items = catalogue.items.set_index("item_id")
    titles, kinds = items["title"].to_dict(), items["class"].to_dict()
    facts = _facts_of(catalogue, set(catalogue.reviews["item_id"]))
    finder = AspectFinder(dict.fromkeys(catalogue.aspects, ()), catalogue.locale)
    found = []
    for item, shopper, rating, text in zip(
        *(catalogue.reviews[name] for name in ("item_id", "shopper_id", "rating", "text"))
    ):
        points = _cited(facts.get(item, []), text) or finder.points(text)
        found.append(Review(text, rating, item, shopper, titles[item], kinds[item], points))
    return found


def _facts_of(catalogue: Catalogue, ids: set[str]) -> dict[str, list[tuple[str, str, float]]]:
    """Return (aspect, phrase, strength) of every phrase of these items' facts, longest first."""
    table = catalogue.facts[catalogue.facts["item_id"].isin(ids)]
    facts: dict[str, list[tuple[str, str, float]]] = {}
    for item, aspect, phrases, strength in zip(
        table["item_id"], table["aspect"], table["phrases"], table["strength"]
    ):
        facts.setdefault(item, []).extend((aspect, phrase, strength) for phrase in phrases)
    # A phrase may stand inside a longer one of the same item.
    return {item: sorted(rows, key=lambda row: -len(row[1])) for item, rows in facts.items()}


def _cited(facts: Sequence[tuple[str, str, float]], text: str) -> tuple[Point, ...]:
    """Return the facts that a text cites, in its order."""
    rest = normalise(text)
    places: dict[Point, int] = {}
    for aspect, phrase, strength in facts:
        said = normalise(phrase)
        place = rest.find(said)
        if place >= 0:
            places[Point(clean(aspect), strength >= PRAISED, clean(phrase))] = place
            rest = rest.replace(said, "\0" * len(said))
    return tuple(sorted(places, key=lambda point: places[point]))


def read_reviews(config: ReviewsConfig) -> list[Review]:
    """Read a file of reviews; those without text are left out. Only labels give points yet.

    Raises:
        UserError: for a file, column, rating or label that does not fit.
    """
    frame = read_rows(config.path)
    named = {"text": config.text, "rating": config.rating}
    optional = {k: getattr(config, k) for k in ("item", "shopper", "title", "labels")}
    require_columns(frame, named | {k: c for k, c in optional.items() if c}, config.path)
    texts, items, shoppers, titles = (
        texts_of(frame, column)
        for column in (config.text, config.item, config.shopper, config.title)
    )
    named_so = {label: aspect for aspect, names in config.aspects.items() for label in names}
    labels = frame[config.labels] if config.labels else [None] * len(frame)
    found = [
        Review(
            text, _rating(rating, f"{config.path}, row {row}"), item, shopper, title,
            points=_labelled(label, named_so, f"{config.path}, row {row}") if config.labels else (),
        )
        for row, (text, rating, item, shopper, title, label) in enumerate(
            zip(texts, frame[config.rating], items, shoppers, titles, labels), start=1
        )
        if text
    ]  # fmt: skip
    if not found:
        raise UserError(
            f"{config.path}: none of its {len(frame):,} rows has a text in column "
            f"{config.text!r}; map another column"
        )
    return found


def _rating(cell: Any, where: str) -> float:
    try:
        rating = float(cell)
    except (TypeError, ValueError):
        rating = np.nan
    if not 1 <= rating <= 5:
        raise UserError(f"{where}: a rating must be a number from 1 to 5, but is {cell!r}; mend it")
    return rating


def _labelled(cell: Any, named_so: Mapping[str, str], where: str) -> tuple[Point, ...]:
    if not isinstance(cell, Mapping):
        raise UserError(
            f"{where}: labels must be an object aspect -> 1, 0 or -1, but are {cell!r}; map "
            "another column, or none to have aspects found"
        )
    # Parquet fills an object's absent keys with nulls.
    values = {
        aspect: value for aspect, value in cell.items() if value is not None and value == value
    }
    strange = [value for value in values.values() if value not in (-1, 0, 1)]
    if strange:
        raise UserError(f"{where}: a label must be 1, 0 or -1, but is {strange[0]!r}; mend it")
    said = [(named_so.get(label, label), value > 0) for label, value in values.items() if value]
    return tuple(dict.fromkeys(Point(clean(aspect), good) for aspect, good in said))


def find_points(reviews: Sequence[Review], finder: AspectFinder) -> list[Review]:
    """Return the reviews with the points that ``finder`` sees in their texts."""
    return [replace(review, points=finder.points(review.text)) for review in reviews]


def aspect_words(config: ReviewsConfig, reviews: Sequence[Review]) -> AspectWords:
    """Return the aspects that the config gives, or those that ``reviews`` judge most.

    Raises:
        UserError: if none are given and none can be learned.
    """
    if config.aspects:
        return config.aspects
    learned = learn_aspects([review.text for review in reviews], config.locale, config.learn)
    if not learned:
        raise UserError(
            f"{config.path}: no aspect could be learned from its {len(reviews):,} reviews (locale "
            f"{config.locale}); give them as corpus.reviews.aspects"
        )
    return learned
