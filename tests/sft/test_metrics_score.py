"""All metrics beside their floors: the trap of the fixed sentence, flags, and equal draws."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest

from envs.catalogue import Catalogue
from policies.reasoner.fallback import fallback_reason
from sft.metrics.features import FeatureFinder, shared_features
from sft.metrics.figures import METRICS
from sft.metrics.floors import fixed_sentence
from sft.metrics.meter import FAMILIES, Meter, Rows, possible_families
from sft.metrics.overlap import ReferenceScorer
from sft.metrics.score import Scores, score_texts
from sft.tasks import LIKES, item_briefs, segment_likes
from tests.data_at_hand import shared_data
from tests.shop_at_hand import small_shop

_OVERLAP = ("bleu", "chrf", "rouge1", "rouge2", "rougeL")


@cache
def shop_rows(count: int = 400) -> tuple[Rows, Catalogue]:
    """True, personal texts of the small shop, with references in other words.

    The references are what explanation corpora are: a frame that all share, around a word or two
    that differ. The texts say the same facts in frames of their own.
    """
    visitors, rng = small_shop().visitors, np.random.default_rng(0)
    catalogue, profiles = visitors.catalogue, visitors.profiles
    briefs, liked = item_briefs(catalogue), segment_likes(catalogue, profiles)
    items = rng.integers(20, size=count)
    segments = rng.integers(profiles.n_segments, size=count)
    table = np.zeros(profiles.segment_aspects.shape, dtype=bool)
    for segment in range(profiles.n_segments):
        table[segment, profiles.liked(segment, LIKES)] = True
    texts = [fallback_reason(briefs[i], liked[s], rng) for i, s in zip(items, segments)]
    references = [
        "You would want this one because it has what you like and like to use: "
        f"{briefs[i].facts[0][1]}."
        for i in items
    ]
    rows = Rows(
        texts=texts, locale="en", references=references, items=items, readers=segments,
        likes=table[segments],
    )  # fmt: skip
    return rows, catalogue


@cache
def shop_scores() -> Scores:
    rows, catalogue = shop_rows()
    families = possible_families(rows, catalogue)
    return score_texts(rows, families, np.random.default_rng(1), catalogue)


def test_the_trap_one_sentence_wins_by_overlap_and_fails_every_measure_that_reads() -> None:
    """What BLEU and ROUGE prefer says the same of everything, and most of it is false."""
    scores = shop_scores()
    real, fixed = scores.texts, scores.floors["fixed"]
    for name in _OVERLAP:
        assert fixed[name].value >= real[name].value, name
        assert any(note.startswith(f"{name} does not beat the floor 'fixed'")
                   for note in scores.notes)  # fmt: skip
    assert fixed["shopper_swap"].value == 0
    assert fixed["item_swap"].value == 0
    for name in ("shopper_swap", "item_swap", "profile_match_lift"):
        low = real[name].low
        assert low is not None
        assert low > 0, name
        assert not any(note.startswith(name + " does not") for note in scores.notes)
    # Every two fixed sentences share all that they state; the texts share a little.
    assert fixed["div"].value >= 1 > real["div"].value
    assert fixed["usr"].value == 1 / 400
    assert real["claim_precision"].value == 1
    assert fixed["claim_precision"].value < 0.5


def test_the_trap_on_real_outputs_of_a_published_system() -> None:
    """One sentence is level with XRec's own outputs by ROUGE, and every pair of it is the same."""
    lines = (shared_data("xrec_books") / "explanations.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    texts, references = ([row[k] for row in rows] for k in ("xrec_output", "explanation"))
    fixed = [fixed_sentence(references, "en", np.random.default_rng(2))] * len(rows)
    scorer = ReferenceScorer(references, "en")
    system, sentence = scorer.score(texts), scorer.score(fixed)
    assert sentence["rougeL"] > system["rougeL"]
    assert sentence["rouge1"] > 0.9 * system["rouge1"]
    assert sentence["bleu"] > 0.9 * system["bleu"]
    finder = FeatureFinder(["plot", "characters", "story", "romance", "suspense", "humor"], "en")
    shared = [shared_features([finder.find(t) for t in said]) for said in (texts, fixed)]
    assert shared[1] > 1.5 * shared[0]


def test_a_floor_is_measured_as_texts_would_be() -> None:
    rows, catalogue = shop_rows()
    families = possible_families(rows, catalogue)
    scores = score_texts(rows, families, np.random.default_rng(1), catalogue, {"twin": rows.texts})
    assert scores.floors["twin"] == scores.texts
    assert list(scores.texts) == [name for name in METRICS if name in scores.texts]
    assert list(scores.floors) == ["fixed", "shuffled", "twin"]
    again = score_texts(rows, families, np.random.default_rng(1), catalogue, {"twin": rows.texts})
    assert again == scores


def test_references_given_to_others_are_no_floor_for_variety_but_for_fit() -> None:
    scores = shop_scores()
    shuffled = scores.floors["shuffled"]
    assert shuffled["item_swap"].value < 0.2 < scores.texts["item_swap"].value
    assert shuffled["rouge1"].value < 100
    # The references themselves would be perfect: the shuffle really moves them.
    rows, catalogue = shop_rows()
    meter = Meter(rows, ["overlap"], np.random.default_rng(0), catalogue)
    assert meter.measure(rows.references or [])["rougeL"].value == pytest.approx(100)


def test_result_holds_value_interval_and_floors() -> None:
    metrics = shop_scores().as_dict()
    assert set(metrics["rougeL"]) == {"value", "about", "better", "floors"}
    assert {"low", "high"} < set(metrics["shopper_swap"])
    assert set(metrics["div"]["floors"]) == {"fixed", "shuffled"}
    assert metrics["div"]["better"] == "lower"


def features(prompts: list[str] | None) -> Scores:
    rows = Rows(
        texts=["a long battery", "light", "nothing"], locale="en",
        features=["battery", "light", "screen"], prompts=prompts,
    )  # fmt: skip
    return score_texts(rows, ["features"], np.random.default_rng(0))


def test_features_by_hand() -> None:
    scores = features(None)
    values = {name: figure.value for name, figure in scores.texts.items()}
    assert values == pytest.approx({"fmr": 2 / 3, "fcr": 2 / 3, "div": 0})


def test_fmr_is_flagged_where_the_prompt_names_the_feature() -> None:
    unknown, named, hidden = (
        [note for note in features(p).notes if note.startswith("fmr is no evidence")]
        for p in (None, ["likes battery", "x", "has screen"], ["x", "lights", "x"])
    )
    assert "column 'prompt'" in unknown[0]
    assert "in 67% of the rows" in named[0]
    assert hidden == []


def test_what_can_be_measured_follows_from_what_is_known() -> None:
    rows, catalogue = shop_rows()
    bare = Rows(texts=["a"], locale="en")
    assert possible_families(bare, None) == ["variety", "form"]
    assert possible_families(bare, catalogue) == ["variety", "form"]
    assert possible_families(rows, None) == ["overlap", "variety", "form"]
    assert possible_families(rows, catalogue) == list(FAMILIES)


@pytest.mark.parametrize("text", ["One text.", ""])
def test_a_single_text_is_no_crash(text: str) -> None:
    rows = Rows(
        texts=[text], locale="en", references=["A reference."], features=["text"],
        items=np.array([0]), likes=np.ones((1, len(small_shop().visitors.catalogue.aspects)), bool),
    )  # fmt: skip
    catalogue = small_shop().visitors.catalogue
    scores = score_texts(rows, [*FAMILIES], np.random.default_rng(0), catalogue)
    assert np.isfinite([figure.value for figure in scores.texts.values()]).all()
    assert list(scores.floors) == ["fixed"]


def test_chinese_is_scored_by_characters() -> None:
    texts = ["电池很耐用。", "屏幕很亮。", "手表很轻。"]
    rows = Rows(texts=texts, locale="zh", references=texts)
    scores = score_texts(rows, possible_families(rows, None), np.random.default_rng(0))
    values = {name: figure.value for name, figure in scores.texts.items()}
    assert values["rouge1"] == pytest.approx(100)
    assert values["length"] == pytest.approx((5 + 4 + 4) / 3)
    assert values["distinct1"] == pytest.approx(11 / 13)
    assert "readability" not in values
    assert values["characters_per_sentence"] == pytest.approx(13 / 3)
