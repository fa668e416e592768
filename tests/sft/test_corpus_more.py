"""Augmentation, scenes, Chinese, and the tasks beside the reason."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.assemble import Visitors, synthetic_visitors
from envs.catalogue import empty_table
from envs.errors import UserError
from envs.shoppers import ShopperConfig
from envs.synthetic import SyntheticConfig
from rewards.claims import ClaimChecker
from rewards.words import is_chinese
from sft.augment import augmented
from sft.corpus import Corpus, CorpusConfig, build_corpus
from sft.corpus_split import check_split
from sft.scenes import Scenes
from sft.tasks import ItemBrief, item_briefs, segment_likes
from sft.tasks.reason import Scene
from sft.tasks.review import MARK
from sft.tasks.summary import read_counts
from sft.templates import sentences
from tests.data_at_hand import shared_data
from tests.shop_at_hand import small_shop

EVERY_TASK: dict[str, Any] = {"tags": 0.2, "description": 0.2, "review": 0.2, "review_summary": 0.2}


@cache
def visitors(locale: str) -> Visitors:
    if locale == "en":
        return small_shop().visitors
    config = SyntheticConfig(items=80, locale="zh")
    return synthetic_visitors(config, ShopperConfig(shoppers=80), np.random.default_rng(7))


def corpus(locale: str = "en", pairs: int = 300, **settings: Any) -> Corpus:
    shop = visitors(locale)
    config = CorpusConfig.model_validate({"pairs": pairs, **settings})
    return build_corpus(shop.catalogue, shop.profiles, config, np.random.default_rng(0))


# --- sentences ------------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_carrier_sentences_claim_nothing(locale: str) -> None:
    """Whatever stands around facts, only the facts are claims, for every item of the shop."""
    catalogue = visitors(locale).catalogue
    checker = ClaimChecker(catalogue)
    for item, brief in enumerate(item_briefs(catalogue)):
        phrases = [phrase for _, phrase in brief.facts]
        for told in range(min(3, len(phrases)) + 1):
            for form in sentences(locale, told, further=True):
                found = checker.check(item, form.format(*phrases[:told]))
                assert found.unsupported == 0, (form, found)
                assert len(found.aspects) == told


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_the_rule_based_writer_has_further_sentences(locale: str) -> None:
    for told in range(4):
        taught, every = sentences(locale, told), sentences(locale, told, further=True)
        assert every[: len(taught)] == taught
        assert len(set(every)) == len(every) > len(taught)
        for form in every:
            assert sorted(set(re.findall(r"\{\d\}", form))) == [f"{{{n}}}" for n in range(told)]


# --- Chinese --------------------------------------------------------------------------------------


def test_a_chinese_shop_gets_chinese_reasons() -> None:
    made = corpus("zh", fit=0.7, generic=0.3, overclaim=0)
    checker = ClaimChecker(visitors("zh").catalogue)
    for pair in made.train:
        assert pair.completion.endswith("。")
        assert "likes" not in pair.prompt
        assert not re.search("[a-z]{3}", pair.completion.replace("eSIM", ""))
        assert checker.check(pair.item, pair.completion).unsupported == 0


def test_made_up_chinese_facts_are_short_pieces_without_spaces() -> None:
    known = {phrase for brief in item_briefs(visitors("zh").catalogue) for _, phrase in brief.facts}
    for pair in corpus("zh").made_up:
        fields = pair.prompt.removesuffix(" ->").split(" | ")[1:]
        phrases = [field.split(": ", 1)[1] for field in fields]
        assert not any(" " in phrase for phrase in phrases)
        assert max(map(len, phrases)) < 30
        assert sum(phrase in known for phrase in phrases) <= 1


# --- augmentation ---------------------------------------------------------------------------------

BRIEF = ItemBrief("Lamp", (("a", "A"), ("b", "B"), ("c", "C")), "en", (("A1", "A2"), (), ("C1",)))


def test_synonyms_stay_with_their_aspect() -> None:
    seen: Counter[tuple[str, str]] = Counter()
    rng = np.random.default_rng(0)
    for _ in range(1000):
        made = augmented(BRIEF, 0.5, 0.0, rng)
        assert [aspect for aspect, _ in made.facts] == ["a", "b", "c"]
        seen.update(made.facts)
    assert set(seen) == {("a", "A"), ("a", "A1"), ("a", "A2"), ("b", "B"), ("c", "C"), ("c", "C1")}
    band = 3 * np.sqrt(0.25 / 1000)
    assert abs(seen["a", "A"] / 1000 - 0.5) < band
    assert abs(seen["c", "C1"] / 1000 - 0.5) < band


def test_dropped_facts_leave_one_at_least() -> None:
    rng = np.random.default_rng(0)
    sizes = Counter(len(augmented(BRIEF, 0.0, 0.6, rng).facts) for _ in range(2000))
    assert set(sizes) == {1, 2, 3}
    # One fact is left if one survives of three, or none does and one is put back.
    alone = 3 * 0.4 * 0.6**2 + 0.6**3
    assert abs(sizes[1] / 2000 - alone) < 3 * np.sqrt(alone * (1 - alone) / 2000)
    assert augmented(ItemBrief("x", ()), 0.5, 0.5, rng).facts == ()


def test_without_augmentation_nothing_is_drawn() -> None:
    rng = np.random.default_rng(0)
    assert augmented(BRIEF, 0, 0, rng) == BRIEF
    assert rng.random() == np.random.default_rng(0).random()


def test_augmented_reasons_tell_what_their_prompt_shows() -> None:
    made = corpus(synonyms=0.5, drop_facts=0.3, overclaim=0, fit=0.75)
    first = {phrase for b in item_briefs(visitors("en").catalogue) for _, phrase in b.facts}
    checker = ClaimChecker(visitors("en").catalogue)
    others = 0
    for pair in made.train:
        fields = pair.prompt.removesuffix(" ->").split(" | ")[1:]
        phrases = [field.split(": ", 1)[1] for field in fields]
        found = checker.check(pair.item, pair.completion)
        assert found.unsupported == 0
        told = {claim.text for claim in found.claims}
        assert told <= {phrase.lower() for phrase in phrases}
        others += any(phrase not in first for phrase in phrases)
    assert others > 0


def test_facts_may_keep_their_order() -> None:
    briefs = item_briefs(visitors("en").catalogue)
    likes = segment_likes(visitors("en").catalogue, visitors("en").profiles)
    for pair in corpus(shuffle_facts=False).train[:100]:
        order = [f for f in briefs[pair.item].facts if f[0] not in likes[pair.segment]]
        fields = pair.prompt.removesuffix(" ->").split(" | ")[1:]
        assert [field[2:] for field in fields[: len(order)]] == [
            f"{aspect}: {phrase}" for aspect, phrase in order
        ]


# --- scenes ---------------------------------------------------------------------------------------


def test_scenes_suit_the_item_and_searched_aspects_come_first() -> None:
    catalogue = visitors("en").catalogue
    scenes, rng = Scenes(catalogue), np.random.default_rng(0)
    titles = dict(zip(catalogue.items["title"], catalogue.items["class"]))
    kinds = set()
    for item in range(40):
        scene = scenes.draw(item, rng)
        kinds.add(scene.kind)
        if scene.kind == "similar":
            assert titles[scene.text] == catalogue.items["class"].iloc[item]
    assert kinds == {"search", "similar"}
    assert scenes.asked(Scene("search", "headphones with long batteries")) == ["battery"]
    assert scenes.asked(Scene("similar", "battery")) == []


def test_a_share_of_prompts_shows_a_scene() -> None:
    made = corpus(pairs=1000, scenes=0.4)
    shown = [bool(re.search(r"\| (search|beside): ", pair.prompt)) for pair in made.train]
    assert abs(np.mean(shown) - 0.4) < 3 * np.sqrt(0.24 / 1000)
    for pair in made.train:
        if " | search: " in pair.prompt and " battery" in pair.prompt.split(" | ")[1]:
            liked = re.findall(r"likes (\w+):", pair.prompt)
            assert "battery" not in liked[1:]


# --- the other tasks ------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_tasks_are_split_from_the_same_held_out_items(locale: str) -> None:
    shop = visitors(locale)
    made = corpus(locale, **EVERY_TASK)
    ids = shop.catalogue.items["item_id"].to_numpy()
    held = set(ids[made.held_items])
    more = made.more
    check_split(more.train, more.held, "more")
    assert {item for pair in more.held for item in pair.items} <= held
    assert not {item for pair in more.train for item in pair.items} & held
    assert Counter(pair.task for pair in more.held).keys() == EVERY_TASK.keys()
    counts = Counter(pair.task for pair in more.train)
    assert (counts["tags"], counts["description"]) == (60, 60)
    # Summaries of few reviews may look alike on both sides; those leave training.
    assert 40 <= counts["review_summary"] <= 60
    for pair in more.train:
        assert is_chinese(pair.completion) == (locale == "zh")
        if pair.task == "review":
            assert pair.completion.startswith(MARK[locale])
        if pair.task == "review_summary":
            (of,) = re.findall(r"\| (?:reviews|评价): (\d+)", pair.prompt)
            assert read_counts(pair.completion, locale, int(of)) is not None


def test_other_tasks_leave_the_reasons_as_they_are() -> None:
    plain, more = corpus(), corpus(**EVERY_TASK)
    assert not plain.more.train
    assert not plain.more.held
    assert (plain.train, plain.held, plain.made_up) == (more.train, more.held, more.made_up)


def test_a_task_without_a_source() -> None:
    shop = visitors("en")
    no_reviews = replace(shop.catalogue, reviews=empty_table("reviews"))
    config, rng = CorpusConfig(pairs=50, review=1), np.random.default_rng(0)
    with pytest.raises(UserError, match="table reviews: its 0 reviews cannot be split"):
        build_corpus(no_reviews, shop.profiles, config, rng)
    undescribed = replace(shop.catalogue, items=shop.catalogue.items.assign(description=" "))
    with pytest.raises(UserError, match=r"too few items have both a fact and what the task descr"):
        build_corpus(undescribed, shop.profiles, CorpusConfig(pairs=50, description=1), rng)


REAL = [
    ("beauty_reviews/reviews.jsonl", {"item": "item", "shopper": "user"}, "en"),
    ("zh_reviews_asap/train.jsonl", {"rating": "star", "labels": "aspects", "locale": "zh"}, "zh"),
]


@pytest.mark.parametrize(("name", "columns", "locale"), REAL)
def test_real_reviews(name: str, columns: dict[str, str], locale: str) -> None:
    path: Path = shared_data(name)
    settings: dict[str, Any] = {"review": 0.5, "review_summary": 0.5}
    settings["reviews"] = {"path": path, **columns}
    more = corpus(pairs=100, made_up=0, **settings).more
    counts = Counter(pair.task for pair in more.train)
    assert min(counts["review"], counts["review_summary"]) > 30
    check_split(more.train, more.held, name)
    for pair in more.train:
        if pair.task == "review_summary":
            (of,) = re.findall(r"(?:reviews|评价): (\d+)", pair.prompt)
            sides = read_counts(pair.completion, locale, int(of))
            assert sides is not None
            # Every named count stands in the prompt, on its side.
            fields = pair.prompt.split(" | ")
            for key, side in zip(
                {"en": ("praise", "criticism"), "zh": ("好评", "差评")}[locale], sides
            ):
                (told,) = (field for field in fields if field.startswith(f"{key}: "))
                for aspect, count in side:
                    joint = " " if locale == "en" else ""
                    assert re.search(rf"{re.escape(aspect)}{joint}{count}\b", told)
