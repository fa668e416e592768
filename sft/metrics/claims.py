"""Claims of texts: how many are true, how many of the reference's true ones are restated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rewards.claims import ClaimChecker, TextClaims, claim_precision

I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]


def check_texts(checker: ClaimChecker, items: I64, texts: Sequence[str]) -> list[TextClaims]:
    """Return the claims of each text about the item of its row; equal rows are checked once."""
    known: dict[tuple[int, str], TextClaims] = {}
    found = []
    for item, text in zip(items.tolist(), texts):
        claims = known.get((item, text))
        if claims is None:
            claims = known[item, text] = checker.check(item, text)
        found.append(claims)
    return found


def aspect_rows(checked: Sequence[TextClaims], n_aspects: int) -> Bools:
    """Return which aspects each text claims something *true* about, (n, A) bool."""
    rows = np.zeros((len(checked), n_aspects), dtype=bool)
    for row, text in enumerate(checked):
        true = {claim.aspect for claim in text.claims if claim.supported}
        rows[row, [aspect for aspect in text.aspects if aspect in true]] = True
    return rows


def claim_figures(checked: Sequence[TextClaims]) -> dict[str, float]:
    """Return claims per text, claim precision and hallucination rate.

    Precision is over distinct claims (1 where nothing is claimed: read it beside the number of
    claims); the hallucination rate is the share of texts with an unsupported claim.
    """
    return {
        "claims_per_text": float(np.mean([len(set(text.claims)) for text in checked])),
        "claim_precision": claim_precision(checked),
        "hallucination_rate": float(np.mean([text.unsupported > 0 for text in checked])),
    }


def claim_recall(stated: Bools, wanted: Bools) -> float:
    """Share of the aspects that references state truly which the texts state truly too.

    sum_i |C_i ∩ R_i| / sum_i |R_i|; an aspect counts, not the wording, because an item may have
    several phrases for it. 1 where no reference states anything.

    Args:
        stated: true claims of the texts, (n, A) bool.
        wanted: true claims of their references, (n, A) bool.
    """
    total = int(wanted.sum())
    return int((stated & wanted).sum()) / total if total else 1.0
