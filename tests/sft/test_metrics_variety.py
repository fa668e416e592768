"""Variety, features and form: worked by hand, by brute force over pairs, and by sacrebleu."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from rewards.words import tokens
from sft.metrics.features import FeatureFinder, coverage_ratio, matching_ratio, shared_features
from sft.metrics.form import (
    characters_per_sentence,
    flesch_reading_ease,
    mean_length,
    syllables,
)
from sft.metrics.variety import distinct, distinct_in, distinct_kept, self_bleu, unique_share

# --- variety -------------------------------------------------------------------------------------


def test_unique_share_is_different_texts_over_texts() -> None:
    assert unique_share([["a", "b"], ["a", "b"], ["b", "a"], []]) == pytest.approx(3 / 4)


def test_distinct_counts_different_grams_over_all() -> None:
    texts = [["a", "b", "c"], ["a", "b", "d"]]
    assert distinct(texts, 1) == pytest.approx(4 / 6)
    assert distinct(texts, 2) == pytest.approx(3 / 4)
    assert distinct([["a"], []], 2) == 0  # no pair at all
    # Pairs do not span two texts.
    assert distinct([["a", "b"], ["b", "a"]], 2) == 1
    assert distinct([tokens("A 30-hour battery."), tokens("a 30-hour one")], 1) == pytest.approx(
        4 / 6
    )


@pytest.mark.parametrize("size", [1, 2, 4, 6])
def test_distinct_in_a_part_is_the_mean_over_all_parts(size: int) -> None:
    texts = [list("abab"), list("aba"), list("c"), list("ca")]
    grams = [pair for text in texts for pair in pairwise(text)]
    parts = list(combinations(range(len(grams)), size))
    brute = np.mean([len({grams[i] for i in part}) / size for part in parts])
    assert distinct_in(texts, 2, size) == pytest.approx(brute, rel=1e-12)


def test_distinct_in_the_whole_is_distinct_and_more_is_refused() -> None:
    texts = [list("abab"), list("aba")]
    assert distinct_in(texts, 2, 5) == pytest.approx(distinct(texts, 2), rel=1e-12)
    with pytest.raises(ValueError, match="size must be 1 to 5"):
        distinct_in(texts, 2, 6)


def test_saying_more_of_the_same_kind_keeps_the_variety() -> None:
    """A large sample of a source against a small one of it: plain distinct-2 falls by half."""
    rng = np.random.default_rng(0)
    many = [list(rng.integers(20, size=10).astype(str)) for _ in range(200)]
    few = many[:40]
    kept = distinct_kept(few, many, 2)
    assert distinct(many, 2) / distinct(few, 2) < 0.5
    assert kept == pytest.approx(1, abs=0.05)
    assert distinct_kept([["a"]], many, 2) is None


@pytest.mark.parametrize("locale", ["en", "zh"])
@pytest.mark.parametrize("count", [2, 3, 40])
def test_self_bleu_is_sacrebleu_against_all_others(locale: str, count: int) -> None:
    pieces, between = ("abcdef", " ") if locale == "en" else ("电池很耐用。", "")
    rng = np.random.default_rng(count)
    texts = [
        between.join(pieces[i] for i in rng.integers(6, size=rng.integers(1, 12)))
        for _ in range(count)
    ]
    scorer = BLEU(tokenize="zh" if locale == "zh" else "13a", effective_order=True)
    brute = [
        scorer.sentence_score(text, texts[:row] + texts[row + 1 :]).score
        for row, text in enumerate(texts)
    ]
    assert self_bleu(texts, locale) == pytest.approx(np.mean(brute), rel=1e-9)


def test_self_bleu_of_equal_texts_is_100_and_of_strangers_0() -> None:
    assert self_bleu(["a b c d"] * 5, "en") == pytest.approx(100)
    assert self_bleu(["a b c d", "e f g h"], "en") == 0
    assert self_bleu(["alone"], "en") == 0


# --- features ------------------------------------------------------------------------------------


def test_features_are_found_as_whole_words_and_phrases() -> None:
    finder = FeatureFinder(["battery", "battery life", "Weight", "weight", "!"], "en")
    assert finder.features == ["battery", "battery life", "Weight", "weight", "!"]
    assert finder.find("Great battery life, low weight") == {0, 1, 2, 3}
    assert finder.find("batteries weigh; life! battery") == {0}
    assert FeatureFinder(["电池", "重量"], "zh").find("这块电池很好") == {0}


def test_div_equals_brute_force_over_pairs() -> None:
    rng = np.random.default_rng(3)
    found = [frozenset(np.flatnonzero(row).tolist()) for row in rng.random((30, 7)) < 0.3]
    brute = np.mean([len(a & b) for a, b in combinations(found, 2)])
    assert shared_features(found) == pytest.approx(brute, rel=1e-12)
    # A feature that a text names twice is one feature.
    assert shared_features([[0, 0], [0]]) == 1
    assert shared_features([{1}]) == 0


def test_matching_and_coverage_by_hand() -> None:
    found = [frozenset({0, 1}), frozenset[int](), frozenset({1})]
    assert matching_ratio(found, [0, 0, 1]) == pytest.approx(2 / 3)
    assert coverage_ratio(found, 4) == pytest.approx(2 / 4)


# --- form ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "count"),
    [("the", 1), ("make", 1), ("able", 2), ("whole", 1), ("battery", 3), ("see", 1), ("movie", 2),
     ("hmm", 1), ("reliable", 3), ("eye", 1), ("piece", 1)],
)  # fmt: skip
def test_syllables(word: str, count: int) -> None:
    # "reliable" has four: groups of vowels are an estimate, and "ia" is one group.
    assert syllables(word) == count


def test_flesch_by_hand() -> None:
    # "batteries" has three syllables; "4.5" is neither a word nor an end.
    text = "The lamp is bright. It has 4.5 batteries!"
    words, sentences, parts = 7, 2, 9
    assert flesch_reading_ease([text]) == pytest.approx(
        206.835 - 1.015 * words / sentences - 84.6 * parts / words
    )
    assert flesch_reading_ease(["", "12 !"]) == 0
    assert flesch_reading_ease(["Go on", "Go on."]) == flesch_reading_ease(["Go on"])


def test_short_words_read_easier() -> None:
    plain, hard = "It is good. You will like it.", "Extraordinarily comprehensive functionality."
    assert flesch_reading_ease([plain]) > 80 > 0 > flesch_reading_ease([hard])


def test_characters_per_sentence_by_hand() -> None:
    # 4 + 3 characters and "usb" in two sentences; the empty text has none.
    assert characters_per_sentence(["电池耐用。很轻，USB", ""]) == pytest.approx(7 / 2)
    assert characters_per_sentence(["。"]) == 0


def test_mean_length() -> None:
    assert mean_length([["a", "b"], [], ["c"]]) == 1
