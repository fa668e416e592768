"""How varied texts are among each other: unique share, distinct-n, self-BLEU."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics import BLEU
from scipy.special import gammaln

_ORDER = 4
Gram = tuple[str, ...]


def unique_share(token_lists: Sequence[Sequence[str]]) -> float:
    """USR, unique sentence ratio: different texts over all texts (NETE, Li et al. 2020)."""
    return len({tuple(tokens) for tokens in token_lists}) / len(token_lists)


def distinct(token_lists: Sequence[Sequence[str]], n: int) -> float:
    """Distinct-n: different n-grams over all n-grams (Li et al. 2016); 0 where there is none."""
    total = grams(token_lists, n)
    return len(_counts(token_lists, n)) / total if total else 0.0


def distinct_in(token_lists: Sequence[Sequence[str]], n: int, size: int) -> float:
    """Distinct-n that ``size`` n-grams drawn from the texts without replacement would have.

    Distinct-n falls with the amount of text, so longer texts look less varied; two sets of texts
    are compared at the size of the smaller. By rarefaction (Hurlbert 1971), the expected number of
    different n-grams among m of N is sum_g 1 - C(N - n_g, m) / C(N, m), n_g the count of gram g.

    Args:
        token_lists: texts as tokens.
        n: length of the grams.
        size: m, from 1 to `grams`.

    Raises:
        ValueError: a size that is none of these.
    """
    counts = _counts(token_lists, n)
    total = sum(counts.values())
    if not 1 <= size <= total:
        raise ValueError(f"size must be 1 to {total}, the number of {n}-grams, but is {size}")
    held = np.array(list(counts.values()), dtype=np.float64)
    left = total - held
    # Where fewer than m are left without it, a gram is surely drawn.
    sure = left < size
    chance = np.ones(len(held))
    others = left[~sure]
    chance[~sure] -= np.exp(
        gammaln(others + 1) - gammaln(others - size + 1) - gammaln(total + 1)
        + gammaln(total - size + 1)
    )  # fmt: skip
    return float(chance.sum() / size)


def distinct_kept(
    before: Sequence[Sequence[str]], after: Sequence[Sequence[str]], n: int
) -> float | None:
    """Distinct-n of ``after`` over that of ``before``, both at the size of the smaller set.

    None where either has no n-gram.
    """
    size = min(grams(before, n), grams(after, n))
    return distinct_in(after, n, size) / distinct_in(before, n, size) if size else None


def grams(token_lists: Sequence[Sequence[str]], n: int) -> int:
    """Return how many n-grams the texts have."""
    return sum(max(len(tokens) - n + 1, 0) for tokens in token_lists)


def _counts(token_lists: Sequence[Sequence[str]], n: int) -> Counter[Gram]:
    return Counter(
        gram for tokens in token_lists for gram in zip(*(tokens[start:] for start in range(n)))
    )


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
