"""Splitting by item and by shopper, so that what is measured was never trained on.

A pair is about some items and written for or by some shoppers. Held-out pairs share neither with
training: a text about a known item can be remembered, and a shopper's taste and style too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.errors import UserError

I64 = NDArray[np.int64]


@dataclass(frozen=True)
class TaskPair:
    """A prompt and the text that should follow it, and whom and what they are about."""

    task: str
    prompt: str
    completion: str
    #: Items it is about; none where nothing is known of them.
    items: tuple[str, ...] = ()
    #: Shoppers it was written for or by.
    shoppers: tuple[str, ...] = ()


class Split(NamedTuple):
    """Row numbers, sorted and disjoint, (n,) int64 each."""

    train: I64
    held: I64
    #: Rows that would have told training about a held-out item or shopper.
    dropped: I64


def split_rows(
    items: Sequence[str],
    shoppers: Sequence[str],
    share: float,
    rng: np.random.Generator,
    held_items: frozenset[str] | None = None,
) -> Split:
    """Split rows so that no item and no shopper is on both sides.

    About ``share`` of the rows is held out: whole items at random, and training loses the other
    rows of their shoppers; or whole shoppers, and training loses the other rows of their items:
    whichever costs fewer rows.

    Args:
        items: the item of each row; "" names none.
        shoppers: the shopper of each row; "" names none.
        share: share of rows to hold out, at least one row.
        rng: draws what is held out.
        held_items: items that are held out already; then no others are.
    """
    of_item, of_shopper = _codes(items), _codes(shoppers)
    if held_items is not None:
        held = np.array([item in held_items for item in items], dtype=np.bool_)
        return _around(held, of_item, of_shopper)
    found = [
        _around(_whole_groups(of, share, rng), of_item, of_shopper) for of in (of_item, of_shopper)
    ]
    return min(found, key=lambda split: len(split.dropped))


def _codes(names: Sequence[str]) -> I64:
    """Return a number for each name; every "" gets one of its own, (n,) int64."""
    known: dict[str, int] = {}
    codes = [known.setdefault(name or f"\0{row}", len(known)) for row, name in enumerate(names)]
    return np.array(codes, dtype=np.int64)


def _whole_groups(of: I64, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw whole groups until they hold ``share`` of the rows; return their rows, (n,) bool."""
    sizes = np.bincount(of)
    order = rng.permutation(len(sizes))
    # The last group is never drawn, so that something is left to train on.
    enough = int(np.searchsorted(sizes[order].cumsum(), max(1, round(share * len(of))))) + 1
    return np.isin(of, order[: min(enough, len(order) - 1)])


def _around(held: NDArray[np.bool_], of_item: I64, of_shopper: I64) -> Split:
    known = held | np.isin(of_item, of_item[held]) | np.isin(of_shopper, of_shopper[held])
    return Split(np.flatnonzero(~known), np.flatnonzero(held), np.flatnonzero(known & ~held))


def check_split(train: Sequence[TaskPair], held: Sequence[TaskPair], source: str) -> None:
    """Make sure that nothing held out was trained on.

    Raises:
        UserError: for an item, a shopper or a prompt that is on both sides.
    """
    sides = [
        (
            {item for pair in pairs for item in pair.items},
            {shopper for pair in pairs for shopper in pair.shoppers},
            {pair.prompt for pair in pairs},
        )
        for pairs in (train, held)
    ]
    for kind, trained, kept in zip(("item", "shopper", "prompt"), *sides):
        both = trained & kept
        if both:
            shown = min(both)
            more = f" and {len(both) - 1:,} more" if len(both) > 1 else ""
            raise UserError(
                f"{source}: {kind} {shown[:60]!r}{more} is in both the training and the held-out "
                "pairs, so that what is measured would have been learned; split by item and shopper"
            )


def without_known_prompts(
    train: Sequence[TaskPair], held: Sequence[TaskPair]
) -> tuple[list[TaskPair], int]:
    """Return the training pairs whose prompts are not held out, and how many were left out.

    Two items may look alike (a title sold twice), and then nothing but the prompt tells.
    """
    prompts = {pair.prompt for pair in held}
    kept = [pair for pair in train if pair.prompt not in prompts]
    return kept, len(train) - len(kept)
