"""Overlap with references: BLEU, chrF and ROUGE, in percent, right for English and Chinese."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics import BLEU

from sft.metrics.counting import clipped_matches, common_subsequences, ngram_totals
from sft.metrics.words import Vocabulary, encode_characters, words_of

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_BLEU_ORDER = 4
#: chrF2: characters up to 6-grams, recall counts twice as much as precision (Popović 2015).
_CHRF_ORDER, _CHRF_BETA = 6, 2.0


class ReferenceScorer:
    """Scores texts against one reference each; the references are read once."""

    def __init__(self, references: Sequence[str], locale: str) -> None:
        """Read n references; ``locale`` is ``en`` or ``zh``."""
        tokenize = BLEU(tokenize="zh" if locale == "zh" else "13a").tokenizer
        self._tokens = Vocabulary(lambda text: tokenize(text.rstrip()).split())
        self._words = Vocabulary(lambda text: words_of(text, locale))
        self._reference_tokens = self._tokens.encode(references)
        self._reference_words = self._words.encode(references)
        self._reference_characters = encode_characters(references)

    def bleu(self, texts: Sequence[str]) -> float:
        """Corpus BLEU-4 of n texts (Papineni et al. 2002), tokenised and scored by sacrebleu."""
        tokens, references = self._tokens.encode(texts), self._reference_tokens
        matches = clipped_matches(tokens, references, _BLEU_ORDER).sum(axis=0)
        totals = ngram_totals(tokens.lengths, _BLEU_ORDER).sum(axis=0)
        return BLEU.compute_bleu(
            matches.tolist(), totals.tolist(), len(tokens.tokens), len(references.tokens), "exp"
        ).score

    def chrf(self, texts: Sequence[str]) -> float:
        """Corpus chrF2 of n texts.

        With precision and recall averaged over the orders that both sides have:
        (1 + b²) · P · R / (b² · P + R), b = 2.
        """
        characters, references = encode_characters(texts), self._reference_characters
        matches = clipped_matches(characters, references, _CHRF_ORDER).sum(axis=0)
        known = ngram_totals(references.lengths, _CHRF_ORDER)
        made = ngram_totals(characters.lengths, _CHRF_ORDER)
        # As in sacrebleu, a reference too short for an order does not count against the text.
        totals = np.where(known > 0, made, 0).sum(axis=0)
        wanted = known.sum(axis=0)
        orders = (totals > 0) & (wanted > 0)
        if not orders.any():
            return 0.0
        precision = float((matches[orders] / totals[orders]).mean())
        recall = float((matches[orders] / wanted[orders]).mean())
        weighted = _CHRF_BETA**2 * precision + recall
        return 100 * (1 + _CHRF_BETA**2) * precision * recall / weighted if weighted else 0.0

    def rouge(self, texts: Sequence[str]) -> dict[str, float]:
        """Mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L over n texts (Lin 2004), without stemming."""
        words, references = self._words.encode(texts), self._reference_words
        matches = clipped_matches(words, references, 2)
        made, wanted = (ngram_totals(side.lengths, 2) for side in (words, references))
        longest = common_subsequences(words, references)
        return {
            "rouge1": _mean_f1(matches[:, 0], made[:, 0], wanted[:, 0]),
            "rouge2": _mean_f1(matches[:, 1], made[:, 1], wanted[:, 1]),
            "rougeL": _mean_f1(longest, words.lengths, references.lengths),
        }

    def score(self, texts: Sequence[str]) -> dict[str, float]:
        """Return ``bleu``, ``chrf``, ``rouge1``, ``rouge2`` and ``rougeL`` in percent."""
        return {"bleu": self.bleu(texts), "chrf": self.chrf(texts), **self.rouge(texts)}


def _mean_f1(matches: I64, made: I64, wanted: I64) -> float:
    """Mean over rows of 2PR/(P+R) = 2·matches/(made + wanted), in percent; 0 for empty rows."""
    both: F64 = np.maximum(made + wanted, 1).astype(np.float64)
    return 100 * float((2 * matches / both).mean())
