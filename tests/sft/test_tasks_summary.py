"""Review summaries: counts that code works out, and that nothing else gets through."""

from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np
import pytest

from sft.corpus_config import ReviewsConfig
from sft.review_summary import sum_up
from sft.reviews import read_reviews
from sft.tasks.review import Point
from sft.tasks.summary import (
    NAMED,
    ReviewSummaryTask,
    SummaryInput,
    Tally,
    checked_summary,
    read_counts,
    summary_mistakes,
    tally,
)
from tests.data_at_hand import shared_data

TASK = ReviewSummaryTask()
REVIEWS = [
    [Point("battery", True), Point("noise", False)],
    # Said twice in one review is said once.
    [Point("battery", True, "two-day battery"), Point("battery", True, "40 hours")],
    # A review may be on both sides.
    [Point("battery", False), Point("battery", True), Point("size", False)],
    [],
]
GIVEN = SummaryInput("Watch", len(REVIEWS), tally(REVIEWS))


def test_tallies_by_hand() -> None:
    assert GIVEN.tallies == (Tally("battery", 3, 1), Tally("noise", 0, 1), Tally("size", 0, 1))


def test_prompt_and_target_by_hand() -> None:
    assert TASK.prompt(GIVEN) == (
        "Watch | reviews: 4 | praise: ① battery 3 | criticism: ⑪ battery 1, ⑫ noise 1, "
        "⑬ size 1 | summary ->"
    )
    assert TASK.target(GIVEN) == (
        "Pros: battery (3 of 4). Cons: battery (1 of 4), noise (1 of 4), size (1 of 4)."
    )
    chinese = SummaryInput("手表", 4, (Tally("续航", 3, 0),), locale="zh")
    assert TASK.prompt(chinese) == "手表 | 评价: 4条 | 好评: ①续航3 | 差评: 无人提及 | 总结 ->"
    assert TASK.target(chinese) == "优点：续航（4条中的3条）。缺点：无人提及。"


def test_quotes_are_shown_while_there_is_room() -> None:
    sentence = "I like it."
    quoted = SummaryInput("Watch", 1, (Tally("size", 1, 0),), (sentence, "word " * 60, sentence))
    assert TASK.prompt(quoted).count("said: ") == 2


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_targets_state_the_true_counts_of_random_reviews(locale: str) -> None:
    """Recounted here by brute force, with names that hold the marks of lists."""
    rng = np.random.default_rng(0)
    names = ["a", "b c", "d, e", "f (g)", "h、i", "j（k）", "l of 3"]
    for _ in range(100):
        reviews = [
            [Point(names[int(n)], bool(rng.integers(2))) for n in rng.integers(7, size=3)]
            for _ in range(int(rng.integers(1, 9)))
        ]
        given = SummaryInput("x", len(reviews), tally(reviews), locale=locale)
        target = TASK.target(given)
        assert summary_mistakes(target, given) == []
        counts = read_counts(target, locale, len(reviews))
        assert counts is not None
        for side, good in zip(counts, (True, False)):
            said = {
                (re.sub(r"[,、()（） ]", "", p.aspect), row)
                for row, points in enumerate(reviews)
                for p in points
                if p.good is good
            }
            true = Counter(aspect for aspect, _ in said)
            assert len(side) == min(NAMED, len(true))
            for aspect, count in side:
                assert true[aspect.replace(" ", "")] == count
            # No aspect that is left out was named more often.
            if true:
                least = min(count for _, count in side)
                assert sum(count > least for count in true.values()) < NAMED


WRONG = [
    TASK.target(GIVEN).replace("3 of 4", "2 of 4"),
    TASK.target(GIVEN).replace("of 4", "of 5"),
    TASK.target(GIVEN).replace("noise", "sound"),
    TASK.target(GIVEN).replace("noise (1 of 4)", "sound (0 of 4)"),
    TASK.target(GIVEN).replace("noise (1 of 4)", "battery (1 of 4)"),
    "Pros: battery (3 of 4).",
    "Nine of ten people love it. " + TASK.target(GIVEN),
    TASK.target(GIVEN) + " Best watch of all.",
    "",
]


@pytest.mark.parametrize("text", WRONG)
def test_a_summary_with_other_counts_is_replaced(text: str) -> None:
    assert summary_mistakes(text, GIVEN)
    assert checked_summary(text, GIVEN) == TASK.target(GIVEN)


def test_a_model_may_choose_what_it_names() -> None:
    text = "Pros: none named. Cons: size (1 of 4)."
    assert summary_mistakes(text, GIVEN) == []
    assert checked_summary(f" {text} ", GIVEN) == text


def test_counts_of_labelled_chinese_reviews_match_the_file() -> None:
    """Each count of a summary, recounted from the raw labels."""
    path = shared_data("zh_reviews_asap/train.jsonl")
    config = ReviewsConfig(path=path, rating="star", labels="aspects", locale="zh")
    reviews = read_reviews(config)
    raw = [json.loads(line)["aspects"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(reviews) == len(raw) == 100
    rng = np.random.default_rng(1)
    for _ in range(50):
        rows = rng.permutation(100)[: int(rng.integers(3, 30))].tolist()
        given = sum_up("", [reviews[row] for row in rows], "zh")
        target = TASK.target(given)
        found = re.findall(r"(\w+)（(\d+)条中的(\d+)条）", target.split("缺点")[0])
        blamed = re.findall(r"(\w+)（(\d+)条中的(\d+)条）", target.split("缺点")[1])
        assert found
        for value, side in ((1, found), (-1, blamed)):
            for aspect, of, count in side:
                assert int(of) == len(rows)
                assert int(count) == sum(raw[row].get(aspect) == value for row in rows)
