"""How varied texts are among each other: unique share, distinct-n, self-BLEU."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from sacrebleu.metrics import BLEU

_ORDER = 4
Gram = tuple[str, ...]


def unique_share(token_lists: Sequence[Sequence[str]]) -> float:
    """USR, unique sentence ratio: different texts over all texts (NETE, Li et al. 2020)."""
    return len({tuple(tokens) for tokens in token_lists}) / len(token_lists)


def distinct(token_lists: Sequence[Sequence[str]], n: int) -> float:
    """Distinct-n: different n-grams over all n-grams (Li et al. 2016); 0 where there is none."""
    seen: set[Gram] = set()
    total = 0
    for tokens in token_lists:
        seen.update(zip(*(tokens[start:] for start in range(n))))
        total += max(len(tokens) - n + 1, 0)
    return len(seen) / total if total else 0.0


def self_bleu(texts: Sequence[str], locale: str) -> float:
    """Self-BLEU in percent: mean sentence BLEU-4 of each text against all others (Zhu et al. 2018).

    It grows with the number of texts, so it means something only at a stated sample size. Time is
    linear: "the largest count of an n-gram in any other text" is its largest count overall, or the
    second largest for the text that has the largest.

    Args:
        texts: n texts; fewer than two give 0.
        locale: ``en`` or ``zh``, which chooses sacrebleu's tokenizer.
    """
    if len(texts) < 2:
        return 0.0
    tokenize = BLEU(tokenize="zh" if locale == "zh" else "13a").tokenizer
    token_lists = [tokenize(text.rstrip()).split() for text in texts]
    counts = [_grams(tokens) for tokens in token_lists]
    most = _two_largest(counts)
    lengths = sorted(len(tokens) for tokens in token_lists)
    total = 0.0
    for row, (tokens, own) in enumerate(zip(token_lists, counts)):
        matches, totals = [0] * _ORDER, [max(len(tokens) - n, 0) for n in range(_ORDER)]
        for gram, count in own.items():
            first, owner, second = most[gram]
            matches[len(gram) - 1] += min(count, second if owner == row else first)
        length = len(tokens)
        nearest = _nearest_other(lengths, length)
        total += BLEU.compute_bleu(
            matches, totals, length, nearest, "exp", effective_order=True
        ).score
    return total / len(texts)


def _grams(tokens: Sequence[str]) -> Counter[Gram]:
    return Counter(
        tuple(tokens[start : start + n])
        for n in range(1, _ORDER + 1)
        for start in range(len(tokens) - n + 1)
    )


def _two_largest(counts: Sequence[Counter[Gram]]) -> dict[Gram, tuple[int, int, int]]:
    """Return, for each n-gram, its largest count, the text that has it, and the second largest."""
    most: dict[Gram, tuple[int, int, int]] = {}
    for row, own in enumerate(counts):
        for gram, count in own.items():
            first, owner, second = most.get(gram, (0, -1, 0))
            if count > first:
                most[gram] = (count, row, first)
            elif count > second:
                most[gram] = (first, owner, count)
    return most


def _nearest_other(lengths: Sequence[int], own: int) -> int:
    """Return the length nearest to ``own`` among the others, the shorter of two as near."""
    at = bisect_left(lengths, own)  # one of these is the text itself: look beside it
    others = [lengths[place] for place in (at - 1, at + 1) if 0 <= place < len(lengths)]
    return min(others, key=lambda length: (abs(length - own), length))
