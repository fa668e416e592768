"""How a reason reads: length and repetition, each a penalty in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rewards.claims import TextClaims
from rewards.words import tokens


def repetition(text: str) -> float:
    """Share of word pairs that have occurred before in the text; 0 for varied text."""
    words = tokens(text)
    pairs = list(pairwise(words))
    return 1.0 - len(set(pairs)) / len(pairs) if pairs else 0.0


def unfinished(text: str) -> float:
    """1 if the text does not end like a sentence, else 0."""
    return 0.0 if text.rstrip().endswith((".", "!", "?", "。")) else 1.0


def style_penalty(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return repetition plus half of `unfinished` of each text, (n,) float32."""
    return np.array([repetition(t) + 0.5 * unfinished(t) for t in texts], dtype=np.float32)


def redundancy(checked: Sequence[TextClaims]) -> NDArray[np.float32]:
    """Share of each text's supported claims whose aspect another claim already told, (n,) float32.

    A fact told again in other words ("a two-day battery that lasts two days") persuades nobody
    further. 0 where nothing is claimed.
    """
    shares = np.zeros(len(checked), dtype=np.float32)
    for row, found in enumerate(checked):
        aspects = [claim.aspect for claim in found.claims if claim.supported and claim.aspect >= 0]
        if len(aspects) > 1:
            shares[row] = 1 - len(set(aspects)) / len(aspects)
    return shares
