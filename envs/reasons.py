"""What the shop needs to know of a reason: which aspects it claims, how truly, how long it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ReasonTable:
    """Claims of the reason shown for item i to segment s; texts live in the reason book.

    An LLM never sits inside ``step``: the shop reads these arrays by index.
    """

    #: 1 where the reason claims something about aspect a, true or not, (I, S, A) float32.
    claims: NDArray[np.float32]
    #: Number of claims that the item's facts do not support, (I, S) float32.
    unsupported: NDArray[np.float32]
    #: Number of words, (I, S) float32; 0 means no reason is shown.
    words: NDArray[np.float32]


def no_reasons(items: int, segments: int, aspects: int) -> ReasonTable:
    """Return the table of a shop that shows no reasons."""
    return ReasonTable(
        claims=np.zeros((items, segments, aspects), dtype=np.float32),
        unsupported=np.zeros((items, segments), dtype=np.float32),
        words=np.zeros((items, segments), dtype=np.float32),
    )
