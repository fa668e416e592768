"""The corpus: who wrote what, and that held-out items stay out."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from pydantic import ValidationError

from envs.catalogue import Catalogue
from envs.errors import UserError
from rewards.claims import ClaimChecker, TextClaims
from sft.corpus import (
    Corpus,
    CorpusConfig,
    ReasonPair,
    build_corpus,
    fitting_phrases,
    split_items,
)
from sft.tasks import ItemBrief, item_briefs, reason_prompt, segment_likes
from sft.tasks.text import ORDINALS
from tests.shop_at_hand import hand_made, small_shop


@cache
def corpus(seed: int = 0, **settings: float) -> Corpus:
    visitors = small_shop().visitors
    config = CorpusConfig.model_validate({"pairs": 2_000, **settings})
    return build_corpus(visitors.catalogue, visitors.profiles, config, np.random.default_rng(seed))


@cache
def checker() -> ClaimChecker:
    return ClaimChecker(small_shop().visitors.catalogue)


def checked(pairs: list[ReasonPair]) -> list[TextClaims]:
    return [checker().check(pair.item, pair.completion) for pair in pairs]


def test_no_item_is_in_both_splits() -> None:
    made = corpus(held_out=0.2)
    held = set(made.held_items.tolist())
    assert len(held) == round(0.2 * small_shop().visitors.catalogue.n_items)
    assert {pair.item for pair in made.held} <= held
    assert not {pair.item for pair in made.train} & held
    assert {pair.item for pair in made.made_up} <= {-1}


@pytest.mark.parametrize(("count", "share"), [(10, 0.1), (10, 0.01), (33, 0.49), (1000, 0.1)])
def test_split_is_a_partition(count: int, share: float) -> None:
    train, held = split_items(count, share, np.random.default_rng(0))
    assert sorted([*train, *held]) == list(range(count))
    assert len(held) == max(1, round(share * count))


def test_prompts_are_about_the_pair() -> None:
    visitors = small_shop().visitors
    briefs = item_briefs(visitors.catalogue)
    likes = segment_likes(visitors.catalogue, visitors.profiles)
    for pair in corpus().train[:200]:
        plain = reason_prompt(briefs[pair.item], likes[pair.segment])
        assert _fields(pair.prompt)[0] == briefs[pair.item].title
        assert sorted(_fields(pair.prompt)) == sorted(_fields(plain))


def _fields(prompt: str) -> list[str]:
    """Return title and facts of a prompt, without the marks that say the order of telling."""
    return prompt.translate(dict.fromkeys(map(ord, ORDINALS))).removesuffix(" ->").split(" | ")


def test_facts_are_told_in_the_order_of_their_marks() -> None:
    """Whoever reads the marks knows what comes next; made-up facts leave no other way."""
    several = 0
    for pair in [*corpus(overclaim=0).train, *corpus().made_up]:
        marked = re.findall(rf"([{ORDINALS}]) [^:]+: (.*?)(?= \| | ->)", pair.prompt)
        phrases = [phrase for _, phrase in marked]
        places = {
            ORDINALS.index(mark): pair.completion.find(phrase)
            for mark, phrase in marked
            # A made-up phrase may be a part of another, or a word of the sentence around it.
            if f" {phrase}" in pair.completion
            and len(phrase.split()) > 1
            and sum(phrase in other for other in phrases) == 1
        }
        in_order = [places[mark] for mark in sorted(places)]
        assert in_order == sorted(in_order)
        several += len(places) > 1
    assert several > 100


def _band(share: float, count: int) -> float:
    return 3 * float(np.sqrt(share * (1 - share) / count))


@cache
def _overclaimable() -> float:
    """Chance that a training item and another of its class (or itself) differ in a fact."""
    catalogue = small_shop().visitors.catalogue
    facts = [{phrase for _, phrase in brief.facts} for brief in item_briefs(catalogue)]
    classes = catalogue.class_index
    chances = []
    for item in {pair.item for pair in corpus().train}:
        others = np.flatnonzero(classes == classes[item])
        chances.append(np.mean([bool(facts[other] - facts[item]) for other in others]))
    return float(np.mean(chances))


def test_shares_of_writers() -> None:
    """Overclaims are seen by their false claim, say-nothings by having none."""
    made = corpus(fit=0.5, generic=0.2, overclaim=0.1)
    found, count = checked(made.train), len(made.train)
    nothing = np.mean([not text.claims for text in found])
    false = np.mean([text.unsupported > 0 for text in found])
    assert abs(nothing - 0.2) < _band(0.2, count)
    expected = 0.1 * _overclaimable()
    assert abs(false - expected) < _band(expected, count)


def test_writers_that_fit_state_liked_facts_of_the_item() -> None:
    visitors = small_shop().visitors
    likes = segment_likes(visitors.catalogue, visitors.profiles)
    briefs = item_briefs(visitors.catalogue)
    made = corpus(fit=1, generic=0, overclaim=0)
    for pair, text in zip(made.train, checked(made.train), strict=True):
        assert text.unsupported == 0
        stated = {visitors.catalogue.aspects[a] for a in text.aspects}
        liked = {a for a, _ in briefs[pair.item].facts} & set(likes[pair.segment])
        assert 1 <= len(stated) <= 2
        assert stated <= liked or not liked


def test_generic_writers_state_one_to_three_true_facts() -> None:
    found = checked(corpus(fit=0, generic=1, overclaim=0).train)
    assert {text.unsupported for text in found} == {0}
    counts = np.bincount([len(text.claims) for text in found], minlength=4)
    assert counts[0] == 0
    share = counts[1:] / len(found)  # every item has at least three facts
    assert (np.abs(share - 1 / 3) < _band(1 / 3, len(found))).all()


def test_overclaimers_state_a_fact_that_the_item_lacks() -> None:
    """Never the item's own, though the other item is drawn from the same class."""
    visitors = small_shop().visitors
    briefs = item_briefs(visitors.catalogue)
    made = corpus(fit=0, generic=0, overclaim=1)
    class_of = visitors.catalogue.class_index
    found = checked(made.train)
    for pair, text in zip(made.train, found, strict=True):
        assert text.unsupported <= 1
        phrases = [claim.text for claim in text.claims]
        assert len(set(phrases)) == len(phrases)  # no fact twice
        for claim in text.claims:
            if not claim.supported:
                others = {
                    phrase.lower()
                    for other, brief in enumerate(briefs)
                    if class_of[other] == class_of[pair.item]
                    for _, phrase in brief.facts
                }
                assert claim.text in others
    false = np.mean([text.unsupported == 1 for text in found])
    assert abs(false - _overclaimable()) < _band(_overclaimable(), len(found))


def test_same_seed_same_corpus() -> None:
    again = corpus.__wrapped__(0)
    assert again.train == corpus(0).train
    assert again.held == corpus(0).held
    assert again.made_up == corpus(0).made_up
    assert corpus(1).train != corpus(0).train


def test_made_up_reasons_copy_what_stands_behind_a_liked_aspect() -> None:
    """The only skill they can teach is reading the prompt."""
    for pair in corpus().made_up[:300]:
        _, *facts = _fields(pair.prompt)
        told = dict(fact.split(": ", 1) for fact in facts)
        wanted = [phrase for aspect, phrase in told.items() if aspect.startswith("likes ")]
        assert any(phrase in pair.completion for phrase in told.values())
        if wanted:
            assert wanted[0] in pair.completion


def _saying_twice(catalogue: Catalogue) -> int:
    """Count the made-up facts that say a word twice."""
    visitors = small_shop().visitors
    config = CorpusConfig.model_validate({"pairs": 2_000})
    rng = np.random.default_rng(0)
    made = build_corpus(catalogue, visitors.profiles, config, rng).made_up
    phrases = [
        f.split(": ", 1)[1].split() for p in made for f in _fields(p.prompt)[1:] if ": " in f
    ]
    return sum(len(set(words)) < len(words) for words in phrases)


def test_words_said_twice_are_taught_where_the_catalogue_has_them() -> None:
    plain = small_shop().visitors.catalogue
    by_chance = _saying_twice(plain)
    phrases = [["9-pin D-sub to 25-pin D-sub connectors"], *plain.facts["phrases"][1:]]
    assert (
        _saying_twice(replace(plain, facts=plain.facts.assign(phrases=phrases))) > by_chance + 200
    )


def test_fitting_phrases_put_liked_aspects_first() -> None:
    brief = ItemBrief("x", (("a", "A1"), ("b", "B1"), ("c", "C1"), ("b", "B2")))
    assert fitting_phrases(brief, ["c", "b"], 9) == ["C1", "B1", "B2", "A1"]
    assert fitting_phrases(brief, ["c", "b"], 2) == ["C1", "B1"]
    assert fitting_phrases(brief, [], 1) == ["A1"]
    assert fitting_phrases(brief, ["z"], 0) == []


def test_too_few_items_with_facts() -> None:
    visitors = small_shop().visitors
    catalogue = visitors.catalogue
    few = catalogue.items["item_id"].iloc[:9]
    bare = replace(catalogue, facts=catalogue.facts[catalogue.facts["item_id"].isin(few)])
    with pytest.raises(UserError, match=r"table facts: 9 items have a fact, but at least 10"):
        build_corpus(bare, visitors.profiles, CorpusConfig(), np.random.default_rng(0))


def test_shares_must_not_exceed_one() -> None:
    with pytest.raises(ValidationError, match="must not exceed 1"):
        CorpusConfig(fit=0.6, generic=0.3, overclaim=0.2)


def twins(count: int) -> Catalogue:
    """Watches, two of each kind under one title."""
    return hand_made(
        [(f"w{n}", f"Watch {n // 2}", "x", "B") for n in range(count)],
        [(f"w{n}", "battery", [f"{n // 2 + 1}-hour battery"]) for n in range(count)],
    )


def test_an_item_with_a_twin_in_training_measures_nothing() -> None:
    catalogue = twins(60)
    profiles = replace(
        small_shop().visitors.profiles, segment_aspects=np.ones((2, 1), dtype=np.float32)
    )
    config = CorpusConfig(pairs=600, held_out=0.3, made_up=0)
    made = build_corpus(catalogue, profiles, config, np.random.default_rng(0))
    trained = {pair.item for pair in made.train}
    assert 0 < len(made.held_items) < 18
    assert not {item ^ 1 for item in made.held_items.tolist()} & trained
    assert not {pair.prompt for pair in made.held} & {pair.prompt for pair in made.train}
