"""The rule-based writer: what is shown wherever a model's text is vetoed."""

from __future__ import annotations

import numpy as np

from sft.corpus import fitting_phrases
from sft.tasks import ItemBrief
from sft.templates import fill


def fallback_reason(brief: ItemBrief, likes: list[str], rng: np.random.Generator) -> str:
    """Write a true sentence from the item's two facts that fit the reader best."""
    return fill(fitting_phrases(brief, likes, 2), rng)
