"""The form of a text: its wording without what it says."""

from __future__ import annotations

import pytest

from rewards.claims import ClaimChecker
from rewards.form import form, word_pairs
from tests.shop_at_hand import hand_made

ENGLISH = hand_made(
    [("a", "Lux Lamp", "lamps", "Lux"), ("b", "Ray Lamp", "lamps", "Ray")],
    [
        ("a", "light", ["warm light"]),
        ("a", "power", ["9 W power"]),
        ("b", "arm", ["long steel arm"]),
    ],
)
CHINESE = hand_made([("a", "台灯", "台灯", "光明")], [("a", "light", ["暖光"])])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Pick it for its warm light.", "¶ pick it for its ¤ ¶"),
        ("Warm light, 9 W power!", "¶ ¤ ¤ ¶"),
        ("It has a LONG steel arm and 12 more.", "¶ it has a ¤ and ¤ more ¶"),
        ("In 5 words or 1,000", "¶ in ¤ words or ¤ ¶"),
        ("Blorp it.", "¶ blorp it ¶"),
        ("", "¶ ¶"),
    ],
)
def test_claims_and_numbers_become_marks(text: str, expected: str) -> None:
    assert form(text, ClaimChecker(ENGLISH).check(0, text)) == expected


def test_chinese_characters_are_words() -> None:
    text = "它有暖光。"
    assert form(text, ClaimChecker(CHINESE).check(0, text)) == "¶ 它 有 ¤ ¶"


def test_the_same_sentence_about_another_item_has_the_same_form() -> None:
    """What a fact says, whether it is true and how long it is leave no trace."""
    checker = ClaimChecker(ENGLISH)
    texts = [f"Take it for {f}, now." for f in ("warm light", "9 W power", "long steel arm")]
    shapes = {form(text, checker.check(item, text)) for text in texts for item in (0, 1)}
    assert shapes == {"¶ take it for ¤ now ¶"}


def test_pairs_reach_from_end_to_end() -> None:
    assert word_pairs("¶ it has ¤ ¶") == [("¶", "it"), ("it", "has"), ("has", "¤"), ("¤", "¶")]
