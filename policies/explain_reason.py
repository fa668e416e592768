"""Which of the factors behind an order a reason names.

What the text says is set against the groups of `policies.explain`, soberly: a claim names a group
only if its words are about what the group measures.

=============================================  ==================================================
what the reason says                           what it names
=============================================  ==================================================
a fact, feature, colour or quantity that the   ``text`` and ``graph``, which compare what items
item has                                       are described by and what attributes they share
... of an aspect that the segment likes most   ``reason`` too: the match of what the reason
                                               states and what the segment likes
a claim about the price itself                 ``price``
a claim about quality or ratings themselves    ``quality``
"you looked at", "also bought", ...            ``behaviour``
"similar to", "goes with", ...                 ``behaviour`` and ``graph``
"your search", "you searched", ...             ``text`` and ``scene``
a denial, an unsupported claim, plain praise,  nothing
the item's own title, class or brand
=============================================  ==================================================

Nothing names ``rest``, which mixes too much for words to mean it, nor ``variety``, which is about
other items.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import cache

from policies.explain import REASON
from rewards.claims import Claim, TextClaims
from rewards.words import is_chinese, normalise

#: Aspects that are a score themselves. (A shop's aspect "value" is mostly what one gets for it,
#: such as a trial: a fact like any other.)
ASPECTS = {
    "price": frozenset({"price"}),
    "价格": frozenset({"price"}),
    "quality": frozenset({"quality"}),
    "rating": frozenset({"quality"}),
    "质量": frozenset({"quality"}),
    "品质": frozenset({"quality"}),
    "评分": frozenset({"quality"}),
}
#: What is no claim about the item, but says why it is there.
PHRASES: tuple[tuple[frozenset[str], tuple[str, ...]], ...] = (
    (
        frozenset({"behaviour"}),
        (
            "you looked at", "you viewed", "you bought", "also bought", "also looked at",
            "bought together", "你看过", "你买过", "也买了", "一起买",
        ),
    ),
    (
        frozenset({"behaviour", "graph"}),
        ("similar to", "goes with", "goes well with", "like the one", "相似", "同款", "搭配"),
    ),
    (frozenset({"text", "scene"}), ("your search", "you searched", "you asked for", "你搜索")),
    (
        frozenset({"price"}),
        ("price", "priced", "affordable", "budget", "cheap", "价格", "价位", "实惠"),
    ),
    (
        frozenset({"quality"}),
        ("quality", "well made", "rated", "rating", "ratings", "stars", "质量", "品质", "好评"),
    ),
)  # fmt: skip
_FACT = frozenset({"text", "graph"})


def named_groups(
    text: str, found: TextClaims, aspects: Sequence[str], likes: Collection[int]
) -> frozenset[str]:
    """Return the groups that a reason names; none where it says nothing of the kind.

    Args:
        text: the reason as shown.
        found: its claims.
        aspects: names of the catalogue's aspects.
        likes: indexes of the aspects that the reader's segment likes most.
    """
    named = [_by_claim(claim, aspects, likes) for claim in found.claims]
    named += [groups for groups, pattern in _patterns() if pattern.search(normalise(text))]
    return frozenset().union(*named)


def _by_claim(claim: Claim, aspects: Sequence[str], likes: Collection[int]) -> frozenset[str]:
    if not claim.supported or claim.kind == "denial":
        return frozenset()
    name = aspects[claim.aspect] if claim.aspect >= 0 else ""
    named = ASPECTS.get(normalise(name), _FACT)
    return named | {REASON} if claim.aspect in likes else named


@cache
def _patterns() -> tuple[tuple[frozenset[str], re.Pattern[str]], ...]:
    def bordered(phrase: str) -> str:
        # Chinese runs on without borders.
        return phrase if is_chinese(phrase) else rf"\b{phrase}\b"

    return tuple(
        (groups, re.compile("|".join(map(bordered, phrases)))) for groups, phrases in PHRASES
    )
