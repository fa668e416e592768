"""The labelled set: that it is what its README says, and how well the checker does on it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from envs.errors import UserError
from rewards.claim_set import (
    LABELLED,
    Sentence,
    compare,
    measure_claims,
    outcomes,
    read_items,
    read_sentences,
)
from rewards.claims import Claim, ClaimChecker

#: What a text may try to get past the checker with, or a form of a truth that a naive one misses.
ADVERSARIAL = {
    "near_miss",
    "unit_false",
    "unit_true",
    "role_swap",
    "other_fact",
    "negation_false",
    "negation_true",
    "bool_false",
    "superlative",
    "comparison",
    "bound",
    "bound_false",
    "colour_swap",
    "brand_swap",
    "invented",
    "gibberish",
    "stammer",
    "homoglyph",
    "zero_width",
    "inflect",
    "mixed",
}
FIGURES = ("unsupported_precision", "unsupported_recall", "supported_precision", "supported_recall")


def test_there_are_enough_sentences_of_every_kind() -> None:
    sentences = read_sentences(LABELLED)
    assert len(sentences) >= 300
    assert sum(s.locale == "zh" for s in sentences) >= 100
    tags = Counter(s.tag for s in sentences)
    assert sum(n for tag, n in tags.items() if tag in ADVERSARIAL) >= len(sentences) / 2
    assert set(tags) >= ADVERSARIAL
    assert len({(s.locale, s.item_id, s.text) for s in sentences}) == len(sentences)


def test_labels_lie_in_their_sentences() -> None:
    for locale in ("en", "zh"):
        known = read_items(LABELLED, locale).item_position
        for line in (LABELLED / f"sentences_{locale}.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            assert row["item_id"] in known
            for claim in row["claims"]:
                start = claim["start"]
                assert row["text"][start : start + len(claim["text"])] == claim["text"]


def test_precision_and_recall_on_the_whole_set() -> None:
    whole = measure_claims()["all"]
    assert whole["sentences"] >= 300
    assert {name: whole[name] for name in FIGURES if whole[name] < 0.95} == {}


def test_no_lie_of_the_set_goes_through_as_true_twice() -> None:
    """Letting a false claim pass is the costly mistake: at most one of the whole set."""
    missed = [o.sentence.text for o in outcomes(LABELLED) if o.missed[False]]
    assert len(missed) <= 1, missed


def test_counting_is_worked_by_hand() -> None:
    sentence = Sentence("en", "x", "t", "dev", "abcdefghij", (((0, 4), True), ((6, 10), False)))
    claims = [
        Claim("abcd", 0, True, span=(1, 5)),  # three of four characters: met
        Claim("bad", -1, False, span=(8, 9)),  # inside the label: met
        Claim("bad", -1, False, span=(4, 5)),  # the same claim again: counted once
        Claim("no", -1, False, span=(4, 7)),  # one of three characters: not this label
        Claim("hi", 0, True, span=(7, 9)),  # the label there says unsupported
    ]
    outcome = compare(sentence, claims)
    assert outcome.right == {True: 1, False: 1}
    assert outcome.wrong == {True: ["hi"], False: ["no"]}
    assert outcome.met == {True: 1, False: 1}
    nothing = compare(sentence, [])
    assert nothing.missed == {True: ["abcd"], False: ["ghij"]}


def _set(folder: Path, *lines: str) -> Path:
    (folder / "sentences_en.jsonl").write_text("\n".join(lines), "utf-8")
    return folder


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], r"line 1: is not valid JSON"),
        (['{"text": "x"}'], r"line 1: a sentence has item_id"),
        (["[1]"], r"line 1: a sentence has item_id"),
        ([], r"holds no sentences"),
    ],
)
def test_bad_sets(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        measure_claims(_set(tmp_path, *lines))
    assert "\n" not in str(caught.value)


def test_features_speak_for_an_item() -> None:
    """A boolean that is true, one that is false, a colour: none of them is a fact."""
    catalogue = read_items(LABELLED, "en")
    checker = ClaimChecker(catalogue)
    item = catalogue.item_position["hp"]
    verdicts = {
        "bluetooth": True,
        "NFC": False,
        "no NFC": True,
        "no bluetooth": False,
        "black": True,
        "white": False,
        "not white": True,
        "not black": False,
    }
    for text, supported in verdicts.items():
        (claim,) = checker.check(item, f"It is {text}.").claims
        assert claim.supported is supported, text
