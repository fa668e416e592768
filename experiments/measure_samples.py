"""Texts to be read: what a writer said of an item to a reader, and what the checker says of it."""

from __future__ import annotations

from typing import Any

from envs.assemble import Visitors
from experiments.measure_panel import Panel, Said
from experiments.measure_writing import Measured
from rewards.claims import Claim
from sft.tasks import item_briefs, segment_likes

#: Samples shown in the report.
SHOWN = 20


def shown_rows(panel: Panel) -> range:
    """Return the rows of the samples that are shown: the first of each prompt."""
    return range(0, min(len(panel.prompts), SHOWN * panel.samples), panel.samples)


def samples(
    visitors: Visitors, panel: Panel, said: Said, measured: Measured
) -> list[dict[str, Any]]:
    """Return the samples as plain values.

    Each has ``title``, ``likes`` and ``facts`` (what the writer was given), ``text``, ``veto`` (why
    it must not be shown, or None), ``claims`` (see `claim_marks`), ``match`` (states what the
    reader likes; None where the item has no such fact), and what the writer said when asked for
    another reader: ``other_likes`` and ``other_text``.
    """
    briefs = item_briefs(visitors.catalogue)
    likes = segment_likes(visitors.catalogue, visitors.profiles)
    match, counts = measured.shares["profile_match"]
    return [
        {
            "title": briefs[panel.items[row]].title,
            "likes": likes[panel.segments[row]],
            "facts": [list(fact) for fact in briefs[panel.items[row]].facts],
            "text": said.texts[row].strip(),
            "veto": measured.vetoes[row],
            "claims": claim_marks(said.texts[row], measured.checked[row].claims),
            "match": bool(match[row]) if counts[row] else None,
            "other_likes": likes[panel.others[row]],
            "other_text": said.other_texts[row].strip(),
        }
        for row in shown_rows(panel)
    ]


def claim_marks(text: str, claims: tuple[Claim, ...]) -> list[dict[str, Any]]:
    """Return ``start``, ``end``, ``supported`` and ``why`` of each claim in the stripped text."""
    lead = len(text) - len(text.lstrip())
    return [
        {
            "start": claim.span[0] - lead,
            "end": claim.span[1] - lead,
            "supported": claim.supported,
            "why": claim.rule,
        }
        for claim in claims
    ]
