"""Augmentation of a brief: other phrases of its facts, and fewer of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sft.tasks import ItemBrief


def augmented(
    brief: ItemBrief, synonyms: float, drop_facts: float, rng: np.random.Generator
) -> ItemBrief:
    """Return a brief that says the same in other words, or says less.

    Args:
        brief: what is known of an item.
        synonyms: chance that a fact is told by another of its phrases, where it has any.
        drop_facts: chance that a fact is left out; one always stays.
        rng: drawn from only where a chance is above 0.
    """
    facts, others = list(brief.facts), list(brief.synonyms)
    if synonyms:
        for place, (aspect, _) in enumerate(facts):
            if others[place] and rng.random() < synonyms:
                facts[place] = (aspect, others[place][int(rng.integers(len(others[place])))])
    if drop_facts:
        kept = np.flatnonzero(rng.random(len(facts)) >= drop_facts)
        if not len(kept) and facts:
            kept = rng.integers(len(facts), size=1)
        facts, others = [facts[k] for k in kept], [others[k] for k in kept]
    return replace(brief, facts=tuple(facts), synonyms=tuple(others))
