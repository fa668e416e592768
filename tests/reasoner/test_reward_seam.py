"""The seam to a reward: what it may return, what is logged of it, and what is refused."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from envs.errors import UserError
from policies.reasoner.reward import Scores, ask, figures, trl_reward

ROWS = [{"prompt": f"p{i}", "weight": i} for i in range(3)]


@dataclass
class Answer:
    """What a reward of several parts returns."""

    total: np.ndarray
    parts: dict[str, np.ndarray] = field(default_factory=dict)
    vetoed: np.ndarray | None = None


class Words:
    """A stand-in tokenizer: token i is the i-th word, 0 ends a text."""

    words = ("", " good", " very", " bad")

    def batch_decode(self, rows: list[list[int]], **_: Any) -> list[str]:
        return ["".join(self.words[token] for token in row) for row in rows]


def test_columns_reach_the_reward_and_arrays_come_back_as_scores() -> None:
    def weighted(prompts: list[str], texts: list[str], columns: dict[str, list[Any]]) -> list[int]:
        assert prompts == ["p0", "p1", "p2"]
        assert "prompt" not in columns
        return [weight * len(text) for weight, text in zip(columns["weight"], texts, strict=True)]

    scores = ask(weighted, ROWS, ["a", "bb", "ccc"])
    assert scores.total.tolist() == [0, 2, 6]
    assert scores.parts == {}
    assert scores.vetoed is None


def test_parts_and_vetoes_are_logged_by_their_means() -> None:
    answer = Answer(np.ones(3), {"clicks": np.array([1.0, 2.0, 6.0])}, np.array([True, 0, 0]))
    scores = ask(lambda *_: answer, ROWS, ["a b", "a b", "c d"])
    found = figures(["a b", "a b", "c d"], scores)
    assert found["part/clicks"] == 3
    assert found["vetoed"] == pytest.approx(1 / 3)
    assert found["reward_range"] == 0
    assert found["unique_share"] == pytest.approx(2 / 3)
    assert found["distinct2"] == pytest.approx(2 / 3)


def test_reasons_of_vetoes_count_as_vetoes() -> None:
    @dataclass
    class Reasoned:
        total: np.ndarray
        vetoes: list[str | None]

    scores = ask(lambda *_: Reasoned(np.ones(3), ["a lie", None, None]), ROWS, ["a", "b", "c"])
    assert scores.vetoed is not None
    assert scores.vetoed.tolist() == [True, False, False]


def test_a_reward_that_learns_does_so_from_training_alone() -> None:
    class Learning:
        def __init__(self) -> None:
            self.learned = self.asked = 0

        def __call__(self, *_: Any) -> np.ndarray:
            self.asked += 1
            return np.zeros(2)

        def learn(self, *_: Any) -> np.ndarray:
            self.learned += 1
            return np.ones(2)

    reward = Learning()
    wrapped = trl_reward(reward, ROWS, Words())
    assert wrapped.__name__ == "Learning"
    given = wrapped(completion_ids=[[1, 0], [3, 0]], row=[0, 0], log_metric=lambda *_: None)
    assert given == [1.0, 1.0]
    ask(reward, ROWS[:2], ["a", "b"])
    assert (reward.learned, reward.asked) == (1, 1)


def test_a_reward_that_raises_is_named_with_its_cause() -> None:
    def clumsy(*_: Any) -> None:
        raise KeyError("price\nof the item")

    with pytest.raises(UserError, match=r"reward 'clumsy' raised KeyError: .*'text'") as raised:
        ask(clumsy, ROWS[:1], ["text"])
    assert isinstance(raised.value.__cause__, KeyError)
    assert "\n" not in str(raised.value)


def test_a_user_error_of_the_reward_is_passed_on_as_it_is() -> None:
    def strict(*_: Any) -> None:
        raise UserError("the shop is closed")

    with pytest.raises(UserError, match=r"^the shop is closed$"):
        ask(strict, ROWS, ["a", "b", "c"])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.zeros((3, 1)), r"'poor' must be one number for each of 3 .* shape \(3, 1\)"),
        (None, r"'poor' must be one number .*was shape \(\)|a NoneType"),
        (["a", "b", "c"], "'poor' must be one number .* a list"),
        ([0.0, np.inf, 0.0], "'poor' is inf for the completion 'b' of the prompt 'p1'"),
        (Answer(np.zeros(3), {"style": np.zeros(2)}), r"'poor: style' must .* shape \(2,\)"),
        (Answer(np.zeros(3), vetoed=np.zeros(1)), r"'poor: vetoed' must .* shape \(1,\)"),
    ],
)
def test_what_is_no_reward_is_named(answer: Any, message: str) -> None:
    def poor(*_: Any) -> Any:
        return answer

    with pytest.raises(UserError, match=message):
        ask(poor, ROWS, ["a", "b", "c"])


def test_completions_that_are_all_empty_are_refused() -> None:
    wrapped = trl_reward(lambda *_: np.zeros(2), ROWS, Words())
    with pytest.raises(UserError, match="all 2 completions of a cycle are empty"):
        wrapped(completion_ids=[[0], [0]], row=[0, 1], log_metric=lambda name, value: None)


def test_trl_gets_plain_numbers_and_the_figures() -> None:
    logged: dict[str, float] = {}
    wrapped = trl_reward(lambda *_: Scores(np.array([1.0, 2.0])), ROWS, Words())
    given = wrapped(completion_ids=[[1, 0], [3, 0]], row=[0, 0], log_metric=logged.__setitem__)
    assert given == [1.0, 2.0]
    assert logged == {"distinct2": 0.0, "unique_share": 1.0, "reward_range": 1.0}
