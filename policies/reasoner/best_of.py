"""Best of n: several texts for each prompt, of which the one with the highest reward is kept.

It needs no training, so it shows what a reward can find in what a writer already says: the mean
reward of the best of n is the ceiling that a trained writer is measured against.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.errors import UserError
from policies.reasoner.backends import TextBackend
from rewards.claims import ClaimChecker
from rewards.column import finite_column
from rewards.guards import veto

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Rows (B,) int64 and a text for each -> rewards (B,).
RowReward = Callable[[I64, list[str]], NDArray[np.floating]]

#: What `fitting_claims` gives a text that must not be shown.
VETOED = -1.0


@dataclass(frozen=True)
class BestOf:
    """The kept text of each of P prompts, and the rewards of all n that were written."""

    texts: list[str]
    #: Which of the n was kept, (P,) int64.
    chosen: I64
    #: (P, n) float64.
    rewards: F64

    @property
    def reward(self) -> F64:
        """Reward of each kept text, (P,) float64."""
        return self.rewards.max(axis=1)

    @property
    def by_count(self) -> F64:
        """Mean reward of the best of the first 1, 2, ... n texts, (n,) float64, never falling."""
        return np.maximum.accumulate(self.rewards, axis=1).mean(axis=0)


def best_of(
    write: TextBackend,
    reward: RowReward,
    prompts: Sequence[str],
    n: int,
    rows: Sequence[int] | None = None,
) -> BestOf:
    """Write ``n`` texts for each prompt and keep the best; of equally good ones, the first.

    Args:
        write: writes; the first k of its n texts are those it writes when asked for k.
        reward: what texts are worth.
        prompts: P prompts.
        n: texts of each, at least 1; with 1 the text is what ``write`` says, whatever the reward.
        rows: the number of each prompt, which it draws by and which ``reward`` gets; its place by
            default.

    Raises:
        UserError: for an ``n`` below 1, or rewards that are not one finite number for each text.
    """
    if n < 1:
        raise UserError(f"best of n: n must be at least 1, it is {n}.")
    numbers = np.arange(len(prompts)) if rows is None else np.asarray(rows, dtype=np.int64)
    written = write(prompts, numbers.tolist(), n)
    texts = [text for copies in written for text in copies]
    answer = reward(np.repeat(numbers, n), texts)
    rewards = finite_column(
        answer, "best of n: the reward", len(texts), "texts", lambda row: f"the text {texts[row]!r}"
    ).reshape(-1, n)
    chosen = rewards.argmax(axis=1)  # the first of equals
    kept = [copies[best] for copies, best in zip(written, chosen, strict=True)]
    return BestOf(kept, chosen, rewards)


def fitting_claims(
    checker: ClaimChecker, items: Sequence[int] | I64, liked: Sequence[Collection[int]]
) -> RowReward:
    """Return a reward that needs no shop: how many liked aspects a text truly speaks to.

    Args:
        checker: finds the claims.
        items: item index of each row.
        liked: indexes of the aspects that each row's reader likes.

    Returns:
        A reward: the number of the reader's liked aspects that a supported claim of the text is
        about; `VETOED` for a text that `rewards.guards` would not show.
    """

    def score(rows: I64, texts: list[str]) -> F64:
        return np.array(
            [_fit(checker, int(items[row]), liked[row], text) for row, text in zip(rows, texts)],
            dtype=np.float64,
        )

    return score


def _fit(checker: ClaimChecker, item: int, liked: Collection[int], text: str) -> float:
    found = checker.check(item, text)
    if veto(text, found) is not None:
        return VETOED
    return float(len(found.aspects & set(liked)))  # what is not vetoed claims nothing untrue
