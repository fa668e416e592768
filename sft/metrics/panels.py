"""Held-out prompts of one task, with what rules write for them and how texts are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.catalogue import Catalogue
from rewards.claims import ClaimChecker
from sft.corpus_split import TaskPair
from sft.metrics.claims import aspect_rows, check_texts, claim_figures, claim_recall
from sft.metrics.figures import METRICS, Figure
from sft.metrics.tasks import MEASURES, review_figures, summary_figures, tag_figures, unmarked
from sft.metrics.words import locale_of
from sft.review_aspects import AspectFinder
from sft.review_pairs import ReviewPair
from sft.review_summary import summarise
from sft.tasks import item_briefs
from sft.tasks.listing import DescriptionTask, ListingInput, TagsTask, listings
from sft.tasks.review import ReviewInput, ReviewTask, mark_generated
from sft.tasks.rules import rule_description, rule_review
from sft.tasks.summary import ReviewSummaryTask

Figures = dict[str, Figure]
#: Figures of n texts, beside their overlap with the references.
Measure = Callable[[Sequence[str]], Figures]


@dataclass(frozen=True)
class Panel:
    """n held-out prompts of one task, and all that is known of the texts to write for them."""

    prompts: list[str]
    references: list[str]
    #: What rules write.
    rules: list[str]
    locale: str
    measure: Measure
    #: How a model's text is handed out.
    handed_out: Callable[[str], str] = str
    #: What of a text is compared with that of its reference.
    compared: Callable[[str], str] = str


def make_panel(
    pairs: Sequence[TaskPair], finder: AspectFinder | None, catalogue: Catalogue
) -> Panel:
    """Return the panel of pairs of one task.

    Args:
        pairs: held-out pairs, at least one.
        finder: finds the aspects of reviews; only pairs of reviews need it.
        catalogue: the items that pairs of tags and descriptions are about.
    """
    task = pairs[0].task
    about = [pair for pair in pairs if isinstance(pair, ReviewPair)]
    if len(about) == len(pairs) and task == ReviewSummaryTask.name:
        return _summaries(about)
    if len(about) == len(pairs) and task == ReviewTask.name and finder is not None:
        return _reviews(about, finder)
    # A file of the user's may call its task the same and know other items.
    places = [catalogue.item_position.get(pair.items[0]) for pair in pairs if pair.items]
    known = np.array([place for place in places if place is not None], dtype=np.int64)
    if len(known) == len(pairs) and task in (TagsTask.name, DescriptionTask.name):
        return _listed(pairs, catalogue, known)
    return _plain(pairs)


def _plain(pairs: Sequence[TaskPair]) -> Panel:
    """Texts of the user's own: nothing is known of them; the rule copies the prompt's fields."""
    references = [pair.completion for pair in pairs]
    rules = [" ".join(_values(pair.prompt)) for pair in pairs]
    return Panel(
        [pair.prompt for pair in pairs], references, rules, locale_of(references), lambda _: {}
    )


def _values(prompt: str) -> list[str]:
    """Return what stands in the fields of a prompt, without their names and the task's."""
    return [field.partition(": ")[2] or field for field in prompt.split(" | ")[:-1]]


def _summaries(pairs: Sequence[ReviewPair]) -> Panel:
    locale = pairs[0].locale
    bags = [pair.reviews for pair in pairs]
    return Panel(
        [pair.prompt for pair in pairs],
        [pair.completion for pair in pairs],
        [summarise(bag, locale=locale).text for bag in bags],
        locale,
        lambda texts: summary_figures(texts, bags, locale),
    )


def _reviews(pairs: Sequence[ReviewPair], finder: AspectFinder) -> Panel:
    locale = pairs[0].locale
    reviews = [pair.reviews[0] for pair in pairs]
    return Panel(
        [pair.prompt for pair in pairs],
        [pair.completion for pair in pairs],
        [rule_review(ReviewInput(r.title, r.rating, r.points, locale)) for r in reviews],
        locale,
        lambda texts: review_figures(texts, reviews, finder, locale),
        handed_out=lambda text: mark_generated(text, locale),
        # The mark is the same in all of them: it would count as agreement.
        compared=unmarked,
    )


def _listed(pairs: Sequence[TaskPair], catalogue: Catalogue, items: NDArray[np.int64]) -> Panel:
    every = listings(catalogue, item_briefs(catalogue))
    about = [every[item] for item in items]
    references = [pair.completion for pair in pairs]
    checker = ClaimChecker(catalogue)
    wanted = _true_aspects(checker, items, references)

    def claims(texts: Sequence[str]) -> Figures:
        checked = check_texts(checker, items, texts)
        figures = {name: Figure(value) for name, value in claim_figures(checked).items()}
        stated = aspect_rows(checked, checker.n_aspects)
        return figures | {"claim_recall": Figure(claim_recall(stated, wanted))}

    tags = pairs[0].task == TagsTask.name
    rule: Callable[[ListingInput], str] = TagsTask().target if tags else rule_description
    return Panel(
        [pair.prompt for pair in pairs],
        references,
        [rule(listing) for listing in about],
        catalogue.locale,
        (lambda texts: tag_figures(texts, about)) if tags else claims,
    )


def _true_aspects(
    checker: ClaimChecker, items: NDArray[np.int64], texts: Sequence[str]
) -> NDArray[np.bool_]:
    return aspect_rows(check_texts(checker, items, texts), checker.n_aspects)


def about(metric: str) -> dict[str, str]:
    """Return what a metric is and which way is better: ``{about, better}``."""
    known = METRICS.get(metric)
    said, better = (known.about, known.better) if known else MEASURES[metric]
    return {"about": said, "better": {1: "higher", -1: "lower", 0: "neither"}[better]}
