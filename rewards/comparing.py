"""Superlatives and comparisons: claims about other items, which no fact of one item can support."""

from __future__ import annotations

from rewards.view import Finding, View
from rewards.words import is_chinese

#: Most characters of a Chinese comparison: 比其他耳机更轻.
LONGEST_CHINESE = 12


def trails(view: View, at: int) -> bool:
    """Whether "less" ends its clause ("you wait less"): then it names nothing that is less."""
    return view.word(at) == "less" and (view.broken(at + 1) or view.broken(at + 2))


def compared(view: View, at: int) -> Finding | None:
    """Return the superlative or comparison at the unknown word ``at``, or None."""
    word = view.word(at)
    before = view.word(at - 1) if not view.broken(at) else ""
    end = view.after_word(at)
    superlative = word in view.lexicon.superlatives or (len(word) > 5 and word.endswith("est"))
    if superlative or before == "most":
        start = at - 1 if before == "most" else at
        return Finding(start, end, "superlative", -1, False, "superlative")
    than = view.word(end) == "than" and not view.broken(end)
    if word in view.lexicon.comparatives or before in ("more", "less") or (
        than and word.endswith("er")
    ):  # fmt: skip
        start = at - 1 if before in ("more", "less") else at
        return Finding(start, end + than, "comparison", -1, False, "comparison")
    return None


def compared_chinese(view: View, at: int) -> Finding | None:
    """Return the Chinese superlative or comparison that begins at ``at``, or None.

    最 and 更 reach over the word they raise, 比 over the rest of its clause.
    """
    if not is_chinese(view.word(at)):
        return None
    plain = view.plain(at)
    for kind, words in (
        ("superlative", view.lexicon.superlatives),
        ("comparison", view.lexicon.comparatives),
    ):
        end = view.listed(at, words)
        # 比较 ("rather") is an ordinary word though 比 compares: the longer word is meant.
        if end > at and end > plain:
            most = LONGEST_CHINESE if view.word(at) == "比" else 2
            while (further := view.listed(end, words)) > end and not view.broken(end):
                end = further
            stop = end
            while (
                end - at == 1 and stop < view.size and stop - end < most and not view.broken(stop)
                and view.word(stop) != "的"
            ):  # fmt: skip
                stop += 1
            return Finding(at, stop, kind, -1, False, kind)
    return None
