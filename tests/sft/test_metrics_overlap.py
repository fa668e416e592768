"""BLEU, chrF and ROUGE: equal to sacrebleu and rouge-score, worked by hand, right for Chinese."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]

from sft.metrics.overlap import ReferenceScorer
from sft.metrics.words import Vocabulary, locale_of, words_of
from tests.data_at_hand import shared_data

WORDS = ["a", "A", "the", "The", "watch", "battery", "30-hour", "4.5", "it's", "£3,000", "café"]
HAN = list("电池很耐用手表轻。，的的的AB7８")


class Characters:
    """A tokenizer for rouge-score that splits as `words_of` does."""

    def tokenize(self, text: str) -> list[str]:
        return words_of(text, "zh")


def random_texts(alphabet: list[str], between: str, count: int, seed: int) -> list[str]:
    """Texts of 0 to 29 pieces: the short ones have no n-gram of some orders."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 30, size=count)
    return [between.join(alphabet[i] for i in rng.integers(len(alphabet), size=n)) for n in sizes]


def libraries(texts: list[str], references: list[str], locale: str) -> dict[str, float]:
    """What sacrebleu and rouge-score say."""
    kinds = ["rouge1", "rouge2", "rougeL"]
    scorer = RougeScorer(kinds, tokenizer=Characters() if locale == "zh" else None)
    rouge = [scorer.score(target, text) for target, text in zip(references, texts)]
    tokenize = "zh" if locale == "zh" else "13a"
    return {
        "bleu": sacrebleu.corpus_bleu(texts, [references], tokenize=tokenize).score,
        "chrf": sacrebleu.corpus_chrf(texts, [references]).score,
        **{kind: 100 * float(np.mean([row[kind].fmeasure for row in rouge])) for kind in kinds},
    }


@pytest.mark.parametrize(("alphabet", "between", "locale"), [(WORDS, " ", "en"), (HAN, "", "zh")])
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_the_libraries_on_random_texts(
    alphabet: list[str], between: str, locale: str, seed: int
) -> None:
    texts, references = (random_texts(alphabet, between, 200, seed + s) for s in (10, 20))
    ours = ReferenceScorer(references, locale).score(texts)
    assert ours == pytest.approx(libraries(texts, references, locale), rel=1e-9)


def test_equal_to_the_libraries_on_real_explanations() -> None:
    lines = (shared_data("xrec_books") / "explanations.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines[:100]]
    texts, references = ([row[k] for row in rows] for k in ("xrec_output", "explanation"))
    ours = ReferenceScorer(references, "en").score(texts)
    assert ours == pytest.approx(libraries(texts, references, "en"), rel=1e-9)


def test_equal_to_the_libraries_on_real_chinese_reviews() -> None:
    lines = (shared_data("zh_reviews_asap") / "dev.jsonl").read_text("utf-8").splitlines()
    reviews = [json.loads(line)["text"] for line in lines[:21]]
    # Each review's first half against the next one's: long, and with much in common.
    texts, references = zip(*((a[:80], b[:90]) for a, b in pairwise(reviews)))
    ours = ReferenceScorer(references, "zh").score(texts)
    assert ours == pytest.approx(libraries([*texts], [*references], "zh"), rel=1e-9)
    assert locale_of(reviews) == "zh"


def test_rouge_by_hand() -> None:
    # Words: the cat sat / the cat on the mat. Unigrams 2 of 3 and 5; bigrams 1 of 2 and 4;
    # longest common subsequence "the cat".
    ours = ReferenceScorer(["The cat on the mat."], "en").rouge(["the cat sat"])
    assert ours == pytest.approx({"rouge1": 400 / 8, "rouge2": 200 / 6, "rougeL": 400 / 8})


def test_bleu_by_hand() -> None:
    # "a b c d" in "a b c d e": every n-gram fits; brevity penalty exp(1 - 5/4).
    assert ReferenceScorer(["a b c d e"], "en").bleu(["a b c d"]) == pytest.approx(
        100 * np.exp(1 - 5 / 4)
    )


def test_chrf_by_hand() -> None:
    # "ab" against "ac": of one letter P = R = 1/2, of two letters 0; longer ones do not exist.
    assert ReferenceScorer(["ac"], "en").chrf(["ab"]) == pytest.approx(25.0)


def test_equal_chinese_texts_score_100_where_the_default_tokenizers_see_nothing() -> None:
    texts = ["这款手表的电池可以用三十个小时。", "屏幕很亮，也很轻。"]
    ours = ReferenceScorer(texts, "zh").score(texts)
    assert ours == pytest.approx(dict.fromkeys(ours, 100.0))
    assert RougeScorer(["rouge1"]).score(texts[0], texts[0])["rouge1"].fmeasure == 0
    assert sacrebleu.corpus_bleu(texts, [texts]).score < 100


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_empty_texts_score_nothing(locale: str) -> None:
    assert set(ReferenceScorer(["a b 好"], locale).score([""]).values()) == {0.0}
    assert set(ReferenceScorer([""], locale).score(["a b 好"]).values()) == {0.0}


def test_half_a_surrogate_pair_is_no_crash() -> None:
    text = json.loads('"\\ud83d a"')
    assert ReferenceScorer([text], "en").chrf([text]) == pytest.approx(100)


def test_words() -> None:
    assert words_of("A 30-hour Café!", "en") == ["a", "30", "hour", "caf"]
    assert words_of("续航３０小时，USB-C口", "zh") == [
        "续",
        "航",
        "30",
        "小",
        "时",
        "usb",
        "c",
        "口",
    ]
    assert locale_of(["plain words", "one 好 among them"]) == "en"
    assert locale_of(["Sony的耳机很轻，很好听"]) == "zh"
    assert locale_of(["12 %"]) == "en"


def test_one_word_has_one_number_whichever_text_it_is_in() -> None:
    vocabulary = Vocabulary(str.split)
    first, second = vocabulary.encode(["a b a", ""]), vocabulary.encode(["b c", "a b a"])
    assert first.tokens.tolist() == [0, 1, 0]
    assert first.starts.tolist() == [0, 3, 3]
    assert second.tokens.tolist() == [1, 2, 0, 1, 0]
