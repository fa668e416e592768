"""What rules write for the tasks about a listing or a review: a floor, and a stand-in for a model.

Tags need no rule of their own: their reference (`TagsTask.target`) is one. Summaries have theirs in
`sft.review_summary`, reasons in `policies.reasoner.fallback`.
"""

from __future__ import annotations

from sft.tasks.listing import ListingInput
from sft.tasks.review import ReviewInput, mark_generated
from sft.tasks.text import clean

#: Facts that a rule-based description states, the strongest.
STATED = 4

_LISTED = {"en": ("{}: {}.", ", "), "zh": ("{}：{}。", "、")}
_POINTS = {
    "en": {True: "I like the {}", False: "The {} is bad", "fact": "{} ({})", "end": ". "},
    "zh": {True: "{}不错", False: "{}太差", "fact": "{}（{}）", "end": "。"},
}
#: What a review opens with: four or five stars, three, fewer.
_OPENINGS = {
    "en": ("A good buy", "It is all right", "I am disappointed"),
    "zh": ("很满意", "还可以", "很失望"),
}


def rule_description(given: ListingInput) -> str:
    """Return ``title: fact, fact, ...`` of the strongest facts."""
    brief = given.brief
    form, joint = _LISTED[brief.locale]
    return form.format(brief.title, joint.join(phrase for _, phrase in brief.facts[:STATED]))


def rule_review(given: ReviewInput) -> str:
    """Return a review, marked as generated, of a verdict by stars and one sentence a point."""
    words, openings = _POINTS[given.locale], _OPENINGS[given.locale]
    parts = [openings[0 if given.rating >= 4 else 1 if given.rating >= 3 else 2]]
    for point in given.points:
        aspect, phrase = clean(point.aspect), clean(point.phrase)
        named = words["fact"].format(aspect, phrase) if phrase else aspect
        parts.append(words[point.good].format(named))
    end = words["end"]
    return mark_generated((end.join(parts) + end).strip(), given.locale)
