"""The rule-based writer: true, varied, and in whole sentences of either language."""

from __future__ import annotations

import re

import numpy as np
import pytest

from envs.assemble import synthetic_visitors
from envs.shoppers import ShopperConfig
from envs.synthetic import SyntheticConfig
from envs.synthetic_words import Locale
from policies.reasoner.articles import head, is_plural, with_article
from policies.reasoner.fallback import STATED, fallback_reason
from rewards.claims import ClaimChecker
from rewards.guards import veto
from sft.tasks import ItemBrief, item_briefs, segment_likes
from sft.templates import sentences

ITEMS = 200


def told(*phrases: str, draws: int = 200) -> set[str]:
    """All that the writer says of an item with these facts, most wanted first."""
    brief = ItemBrief("Thing", tuple((f"a{n}", phrase) for n, phrase in enumerate(phrases)))
    rng = np.random.default_rng(0)
    return {fallback_reason(brief, [], rng) for _ in range(draws)}


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_sentences_about_a_whole_shop(locale: Locale) -> None:
    shop = synthetic_visitors(
        SyntheticConfig(items=ITEMS, locale=locale),
        ShopperConfig(shoppers=60),
        np.random.default_rng(7),
    )
    briefs, likes = item_briefs(shop.catalogue), segment_likes(shop.catalogue, shop.profiles)
    checker, rng = ClaimChecker(shop.catalogue), np.random.default_rng(0)
    forms: dict[int, set[str]] = {n: set() for n in range(STATED + 1)}
    for item, brief in enumerate(briefs):
        for liked in likes:
            text = fallback_reason(brief, liked, rng)
            found = checker.check(item, text)
            assert veto(text, found) is None, text
            assert found.claims, text
            phrases = sorted((p for _, p in brief.facts if p in text), key=len, reverse=True)
            form = text
            for phrase in phrases:
                form = form.replace(phrase, "*")
            forms[min(STATED, len(brief.facts))].add(re.sub(r"\b[Aa]n? \*", "*", form))
    # Every sentence there is comes up: those of the corpus, and the writer's own.
    assert len(forms[STATED]) == len(sentences(locale, STATED, further=True))


def test_nothing_to_tell() -> None:
    assert told() == set(sentences("en", 0, further=True))


def test_single_things_get_an_article_and_a_verb_in_the_singular() -> None:
    said = told("steel lamp body", "8-cup carafe")
    assert "It has a steel lamp body and an 8-cup carafe." in said
    assert "Pick it for its steel lamp body and 8-cup carafe." in said
    assert "Choose it for the steel lamp body and the 8-cup carafe." in said
    assert "A good match: steel lamp body and 8-cup carafe." in said
    assert "If you want a steel lamp body, take it; an 8-cup carafe comes on top." in said


def test_plurals_get_neither() -> None:
    said = told("5 storage pockets", "reflective guy lines")
    assert "It has 5 storage pockets and reflective guy lines." in said
    assert not any(re.search(r"\b(pockets|lines) (comes|makes)\b", text) for text in said)
    assert not any(re.search(r"\ban? (5|reflective)", text) for text in said)
    assert not any("makes" in text for text in told("5 storage pockets"))


def test_what_may_not_be_counted_is_told_with_its_or_the() -> None:
    for text in told("40% recycled content") | told("RoHS compliance"):
        assert re.search(r"\b([Ii]ts|the) (40%|RoHS)", text), text


def test_what_a_phrase_is_about() -> None:
    assert head("pack of 20 labels") == "pack"
    assert head("screen support to 27 inches") == "support"
    assert head("steel lamp body") == "body"
    for plural in ("5 storage pockets", "1920x1080 pixels", "USB and PS/2 plugs", "plain feet"):
        assert is_plural(plural), plural
    for single in ("dual-band GPS", "pack of 20 labels", "wide lens", "glass", "Windows Business"):
        assert not is_plural(single), single


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("HDMI port", "an HDMI port"),
        ("USB port", "a USB port"),
        ("LED backlight", "an LED backlight"),
        ("SATA interface", "a SATA interface"),
        ("RJ-45 port", "an RJ-45 port"),
        ("80-hour battery", "an 80-hour battery"),
        ("11.6-inch screen", "an 11.6-inch screen"),
        ("18,000 rpm motor", "an 18,000 rpm motor"),
        ("1,800 rpm motor", "a 1,800 rpm motor"),
        ("110 W motor", "a 110 W motor"),
        ("one-year warranty", "a one-year warranty"),
        ("eight-cup carafe", "an eight-cup carafe"),
        ("hour-long battery", "an hour-long battery"),
        ("universal adapter", "a universal adapter"),
        ("unlimited warranty", "an unlimited warranty"),
        ("airtight storage canister", "an airtight storage canister"),
        ("power adapter in the box", "a power adapter in the box"),
        ("the only lid", "the only lid"),
        ("three HDMI ports", "three HDMI ports"),
        ("16 GB memory", None),
        ("-10 to 50 °C operation", None),
        ("Wi-Fi 6", None),
    ],
)
def test_articles(phrase: str, expected: str | None) -> None:
    assert with_article(phrase) == expected
