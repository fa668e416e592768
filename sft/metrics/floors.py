"""What no text should be measured without: the floors that need no reading of the item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sft.metrics.overlap import ReferenceScorer

I64 = NDArray[np.int64]

#: What can be said about anything.
GENERIC = {
    "en": "A good choice that many people like.",
    "zh": "这是一个很多人都喜欢的好选择。",
}
#: Frequent references tried as the fixed sentence, and rows they are tried on.
_CANDIDATES, _ROWS = 50, 500


def derangement(count: int, rng: np.random.Generator) -> I64:
    """Return a random permutation of 0..count-1 that leaves no number in place (count > 1).

    A random cycle through all of them, (count,) int64; a single row stays where it is.
    """
    order = rng.permutation(count)
    out = np.empty(count, dtype=np.int64)
    out[order] = np.roll(order, -1)
    return out


def fixed_sentence(references: Sequence[str], locale: str, rng: np.random.Generator) -> str:
    """Return the sentence that scores best when it is said of everything.

    The best by mean ROUGE-L (on 500 random rows) of the 50 most frequent references and a generic
    sentence; references that are equally frequent, which may be all of them, in random order. The
    choice looks at the references, which no honest writer can: the floor is rather too high.
    """
    counts = Counter(references[row] for row in rng.permutation(len(references)))
    candidates = [text for text, _ in counts.most_common(_CANDIDATES)] + [GENERIC[locale]]
    rows = rng.permutation(len(references))[:_ROWS]
    scorer = ReferenceScorer([references[row] for row in rows], locale)
    scores = [scorer.rouge([text] * len(rows))["rougeL"] for text in candidates]
    return candidates[int(np.argmax(scores))]
