"""Pairs of the tasks beside the reason: tags, descriptions, reviews, summaries, the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from envs.catalogue import Catalogue
from envs.errors import UserError
from sft.corpus_config import CorpusConfig
from sft.corpus_split import TaskPair, check_split, split_rows, without_known_prompts
from sft.own_data import TaskCorpus, own_corpus
from sft.review_aspects import AspectFinder
from sft.review_pairs import review_pairs, summary_pairs
from sft.reviews import Review, aspect_words, catalogue_reviews, find_points, read_reviews
from sft.tasks import ItemBrief
from sft.tasks.listing import DescriptionTask, TagsTask, listings
from sft.tasks.reason import shuffled

I64 = NDArray[np.int64]


def more_pairs(
    catalogue: Catalogue,
    briefs: Sequence[ItemBrief],
    held_items: I64,
    config: CorpusConfig,
    rng: np.random.Generator,
) -> TaskCorpus:
    """Write the pairs that the config asks for; none by default, when ``rng`` is left alone.

    Args:
        catalogue: items, descriptions and reviews.
        briefs: what a prompt knows of each item, (I,).
        held_items: indexes of items that no training may see, (H,) int64.
        config: which tasks, and how many pairs of each.
        rng: draws items, orders and splits.

    Raises:
        UserError: for a task without a source, a file that does not fit, or a split that leaks.
    """
    parts = []
    if config.tags or config.description:
        parts.append(_listings(catalogue, briefs, held_items, config, rng))
    if config.review or config.review_summary:
        parts.append(_reviews(catalogue, held_items, config, rng))
    if config.own is not None:
        parts.append(own_corpus(config.own, config.held_out, rng))
    held_ids = frozenset(catalogue.items["item_id"].iloc[held_items])
    parts = [_without_items(part, held_ids) for part in parts]
    dropped: dict[str, int] = {}
    for part in parts:
        for reason, count in part.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    return TaskCorpus(
        [pair for part in parts for pair in part.train],
        [pair for part in parts for pair in part.held],
        dropped,
        next((part.finder for part in parts if part.finder is not None), None),
    )


def _without_items(part: TaskCorpus, held_ids: frozenset[str]) -> TaskCorpus:
    """Return a corpus that tells training nothing about items whose reasons are held out.

    A file of the user's own is split by itself; its items may be those of the catalogue.
    """
    train = [pair for pair in part.train if held_ids.isdisjoint(pair.items)]
    lost = len(part.train) - len(train)
    if not lost:
        return part
    dropped = {**part.dropped, "item held out in the catalogue": lost}
    return replace(part, train=train, dropped=dropped)


def held_count(config: CorpusConfig, count: int) -> int:
    """Return how many held-out pairs go with ``count`` training pairs."""
    return max(1, round(config.held_out * count))


def _listings(
    catalogue: Catalogue,
    briefs: Sequence[ItemBrief],
    held_items: I64,
    config: CorpusConfig,
    rng: np.random.Generator,
) -> TaskCorpus:
    """Return tags and descriptions of items; held-out ones are measured only."""
    texts = [DescriptionTask().target(text) for text in catalogue.items["description"]]
    known = listings(catalogue, briefs)
    told = {
        "tags": [TagsTask().target(listing) if listing.brief.facts else "" for listing in known],
        "description": [text if brief.facts else "" for text, brief in zip(texts, briefs)],
    }
    tasks: tuple[TagsTask | DescriptionTask, ...] = (TagsTask(), DescriptionTask())
    ids = catalogue.items["item_id"].tolist()

    def pair(task: TagsTask | DescriptionTask, item: int) -> TaskPair:
        shown = known[item]
        # The order of facts says which are strongest: tags are those.
        if config.shuffle_facts and task.name != "tags":
            shown = replace(shown, brief=shuffled(shown.brief, (), rng))
        return TaskPair(task.name, task.prompt(shown), told[task.name][item], (ids[item],))

    train: list[TaskPair] = []
    kept: list[TaskPair] = []
    for task in tasks:
        count = round(getattr(config, task.name) * config.pairs)
        if not count:
            continue
        held = np.isin(np.arange(len(briefs)), held_items)
        usable = np.array([bool(text) for text in told[task.name]])
        for side, among, size in (
            (train, usable & ~held, count), (kept, usable & held, held_count(config, count)),
        ):  # fmt: skip
            if not among.any():
                raise UserError(
                    f"catalogue {catalogue.name}, table items: too few items have both a fact and "
                    f"what the task {task.name} learns from; fill it in, or set "
                    f"corpus.{task.name} to 0"
                )
            side += [pair(task, int(item)) for item in rng.choice(np.flatnonzero(among), size)]
    known_train, alike = without_known_prompts(train, kept)
    check_split(known_train, kept, f"catalogue {catalogue.name}")
    return TaskCorpus(known_train, kept, {"prompt held out": alike} if alike else {})


def _reviews(
    catalogue: Catalogue, held_items: I64, config: CorpusConfig, rng: np.random.Generator
) -> TaskCorpus:
    """Return review and summary pairs of the user's reviews, or else of the catalogue's."""
    source, locale = _source(catalogue, config)
    train, held, finder, lost = _split_reviews(catalogue, held_items, config, rng)
    counts = [round(share * config.pairs) for share in (config.review, config.review_summary)]
    pairs: list[list[TaskPair]] = []
    for side, reviews in enumerate((train, held)):
        asked = [held_count(config, count) if side and count else count for count in counts]
        pairs.append(
            [
                *review_pairs(reviews, locale, asked[0], rng),
                *summary_pairs(reviews, locale, asked[1], config.quotes, rng),
            ]
        )
    if not pairs[0] or not pairs[1]:
        raise UserError(
            f"{source}: {len(train):,} training and {len(held):,} held-out reviews name no aspect "
            "to write about; give corpus.reviews.aspects, or set review and review_summary to 0"
        )
    known, alike = without_known_prompts(*pairs)
    check_split(known, pairs[1], source)
    dropped = {"review of a held-out item or shopper": lost, "prompt held out": alike}
    return TaskCorpus(known, pairs[1], {r: n for r, n in dropped.items() if n}, finder)


def _source(catalogue: Catalogue, config: CorpusConfig) -> tuple[str, str]:
    """Return what messages call the source of the reviews, and their language."""
    if config.reviews is None:
        return f"catalogue {catalogue.name}, table reviews", catalogue.locale
    return str(config.reviews.path), config.reviews.locale


def _split_reviews(
    catalogue: Catalogue, held_items: I64, config: CorpusConfig, rng: np.random.Generator
) -> tuple[list[Review], list[Review], AspectFinder, int]:
    """Return training and held-out reviews, what finds their aspects, and how many were dropped."""
    own = config.reviews
    source, locale = _source(catalogue, config)
    reviews = read_reviews(own) if own else catalogue_reviews(catalogue)
    ids = catalogue.items["item_id"].to_numpy()
    held_ids = None if own else frozenset(ids[held_items].tolist())
    split = split_rows(
        [review.item for review in reviews], [review.shopper for review in reviews],
        config.held_out, rng, held_ids,
    )  # fmt: skip
    if not len(split.train) or not len(split.held):
        raise UserError(
            f"{source}: its {len(reviews):,} reviews cannot be split by item and shopper; add "
            "reviews, or set corpus.review and corpus.review_summary to 0"
        )
    train, held = ([reviews[row] for row in rows] for rows in (split.train, split.held))
    if own and not own.labels:
        # What is looked for in held-out reviews is learned from the others.
        finder = AspectFinder(aspect_words(own, train), locale)
        train, held = find_points(train, finder), find_points(held, finder)
    else:
        named = {point.aspect: () for review in reviews for point in review.points}
        finder = AspectFinder(named, locale)
    return train, held, finder, len(split.dropped)
