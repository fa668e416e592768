"""Rewards with everything that made them, and what none of them may be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.errors import UserError
from rewards.claims import TextClaims

F32 = NDArray[np.float32]

#: Reasons from which on a training batch that is worth the same throughout is a mistake.
LARGE = 128


@dataclass(frozen=True)
class Scored:
    """Rewards of n reasons with everything that made them."""

    #: What training maximises, (n,) float32, in spreads.
    total: F32
    #: Uplift per impression in median margins, vetoes applied: a vetoed reason is not shown (0).
    uplift: F32
    #: Why each reason was vetoed, None where it was not.
    vetoes: list[str | None]
    checked: list[TextClaims]
    #: Parts by name, (n,) float32, in spreads, before the veto.
    parts: dict[str, F32]

    @property
    def means(self) -> dict[str, float]:
        """Mean of each part, of ``total``, ``uplift`` and ``veto_rate``, for logs; {} for none."""
        if not len(self.total):
            return {}
        rows = {**self.parts, "total": self.total, "uplift": self.uplift}
        figures = {name: float(values.mean()) for name, values in rows.items()}
        vetoed = sum(why is not None for why in self.vetoes)
        return {**figures, "veto_rate": vetoed / len(self.vetoes)}


def check_varies(scored: Scored) -> None:
    """Refuse a large batch from which nothing can be learned.

    Raises:
        UserError: if every reason was vetoed, or earns the same in clicks or in total.
    """
    count = len(scored.total)
    if count < LARGE:
        return
    reasons = Counter(why for why in scored.vetoes if why is not None)
    if reasons.total() == count:
        why, times = reasons.most_common(1)[0]
        raise UserError(
            f"reward: all {count} reasons of a batch were vetoed ({times} times {why!r}): the "
            "writer has not learned to state facts yet; train sft longer, or give it more pairs"
        )
    for name, values in (("clicks", scored.parts["clicks"]), ("total", scored.total)):
        if np.ptp(values) == 0:
            raise UserError(
                f"reward part {name!r} is {values[0]:g} for all {count} reasons of a batch, so "
                "nothing can be learned from it; look at shop.w_reason and the items' facts, and "
                "whether the writer says the same about everything"
            )
