"""What a ranker may be given, and what it may answer: checked in one line each, before use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.errors import UserError


def check_inputs(
    item_features: Sequence[str], context_features: Sequence[str],
    context: np.ndarray, items: np.ndarray, mask: np.ndarray, k: int,
) -> None:  # fmt: skip
    """Raise `UserError` for inputs that a ranker of these features cannot order k of.

    ``context`` is ``(B, C)``, ``items`` ``(B, N, F)``, ``mask`` ``(B, N)``. Wrong are other
    shapes, a value that is not finite (what a masked candidate holds is never read), no slot, and
    a row with fewer available candidates than slots.
    """
    rows, candidates = mask.shape if mask.ndim == 2 else (-1, -1)
    wanted = (
        ("context", context, (rows, len(context_features))),
        ("items", items, (rows, candidates, len(item_features))),
    )
    for name, array, shape in wanted:
        if array.shape != shape:
            raise UserError(
                f"ranker input {name!r}: its shape is {array.shape}, but this ranker and the mask"
                f" {mask.shape} need {shape}; give the features in the order of its sheet."
            )
    _check_finite("context", context, context_features)
    _check_finite("items", np.where((mask > 0)[..., None], items, 0.0), item_features)
    if k < 1:
        raise UserError(f"ranker: a slate has 1 slot or more, not {k}.")
    available = (mask > 0).sum(1)
    short = np.flatnonzero(available < k)
    if len(short):
        row = int(short[0])
        met = f"{int(available[row])} of {candidates} are" if available[row] else "none is"
        raise UserError(
            f"ranker input row {row}: a slate of {k} needs {k} available candidates, but {met}"
            f" (mask above 0); show fewer items or offer more candidates."
        )


def check_scores(logits: np.ndarray, mask: np.ndarray) -> None:
    """Raise `UserError` unless every available candidate's score ``(B, N)`` is a finite number."""
    bad = np.argwhere(~np.isfinite(logits) & (mask > 0))
    if len(bad):
        row, candidate = bad[0]
        raise UserError(
            f"ranker: its score of candidate {candidate} in row {row} is {logits[row, candidate]},"
            f" though its inputs are finite; its weights are damaged, so train or export it again."
        )


def _check_finite(name: str, array: np.ndarray, features: Sequence[str]) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = ", ".join(str(int(i)) for i in bad[0][:-1])
        raise UserError(
            f"ranker input {name!r}: feature {features[bad[0][-1]]!r} of row {where} is"
            f" {array[tuple(bad[0])]}; every value must be a finite number, so fill or drop it."
        )
