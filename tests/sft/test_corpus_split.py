"""Splits: no item, no shopper and no prompt is on both sides, and a leak is caught."""

from __future__ import annotations

import numpy as np
import pytest

from envs.errors import UserError
from sft.corpus_split import TaskPair, check_split, split_rows, without_known_prompts

RNG = np.random.default_rng


@pytest.mark.parametrize(("items", "shoppers"), [(5, 40), (40, 5), (200, 200), (3, 3), (1000, 1)])
@pytest.mark.parametrize("seed", range(5))
def test_sides_share_neither_item_nor_shopper(items: int, shoppers: int, seed: int) -> None:
    rng = RNG(seed)
    of_item = [f"i{n}" if n else "" for n in rng.integers(items, size=200)]
    of_shopper = [f"s{n}" if n else "" for n in rng.integers(shoppers, size=200)]
    split = split_rows(of_item, of_shopper, 0.1, rng)
    assert sorted(np.concatenate(split)) == list(range(200))
    assert len(split.held) >= 1
    for names in (of_item, of_shopper):
        known = {names[row] for row in split.train} - {""}
        assert not known & {names[row] for row in split.held}


def test_without_names_nothing_is_lost() -> None:
    split = split_rows([""] * 50, [""] * 50, 0.2, RNG(0))
    assert (len(split.train), len(split.held), len(split.dropped)) == (40, 10, 0)


def test_the_cheaper_side_is_held_out() -> None:
    """A hundred items, each bought by one of two shoppers: holding out a shopper would cost half.

    Holding out one item and dropping the rest of its shopper costs as much, so with items that are
    all one shopper's own, whole shoppers go.
    """
    items = [f"i{n}" for n in range(100)]
    shoppers = [f"s{n // 10}" for n in range(100)]
    split = split_rows(items, shoppers, 0.1, RNG(0))
    assert len(split.dropped) == 0
    assert {shoppers[row] for row in split.held} == {shoppers[split.held[0]]}


def test_items_that_are_held_out_already() -> None:
    split = split_rows(["a", "a", "b", "c"], ["s", "t", "t", "u"], 0.1, RNG(0), frozenset("a"))
    assert [rows.tolist() for rows in split] == [[3], [0, 1], [2]]


def pair(prompt: str = "p", item: str = "i", shopper: str = "s") -> TaskPair:
    return TaskPair("text", prompt, "x", (item,), (shopper,))


@pytest.mark.parametrize(
    ("leak", "message"),
    [
        (pair("q", "i", "t"), "item 'i' is in both"),
        (pair("q", "j", "s"), "shopper 's' is in both"),
        (pair("p", "j", "t"), "prompt 'p' is in both"),
    ],
)
def test_a_made_leak_is_an_error(leak: TaskPair, message: str) -> None:
    check_split([pair()], [pair("q", "j", "t")], "here")
    with pytest.raises(UserError, match=rf"here: {message} the training and the held-out"):
        check_split([pair()], [pair("r", "k", "u"), leak], "here")


def test_pairs_that_look_alike_leave_training() -> None:
    kept, lost = without_known_prompts([pair(), pair("q", "j", "t")], [pair("q", "k", "u")])
    assert (kept, lost) == ([pair()], 1)
