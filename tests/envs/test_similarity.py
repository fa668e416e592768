"""The six scores: worked by hand on four items, and within [0, 1] on a made-up shop."""

from __future__ import annotations

import numpy as np
import pytest

from envs.assemble import synthetic_visitors
from envs.catalogue import Catalogue
from envs.shoppers import ShopperConfig, observe_profiles
from envs.similarity import (
    SCORES,
    ItemIndex,
    SimilarityConfig,
    build_index,
    item_anchors,
    query_anchors,
    score,
    shopper_anchors,
    stem_words,
)
from envs.synthetic import SyntheticConfig
from envs.text_encoder import fit_text_encoder

COLUMN = {name: column for column, name in enumerate(SCORES)}
ALL = np.arange(4)


@pytest.fixture
def index(hand_catalogue: Catalogue) -> ItemIndex:
    rng = np.random.default_rng(0)
    profiles = observe_profiles(hand_catalogue, 2, rng)
    return build_index(hand_catalogue, profiles, SimilarityConfig(), rng)


def _beside(index: ItemIndex, name: str) -> np.ndarray:
    """One score of every item beside every item, (4, 4)."""
    return score(index, item_anchors(index, ALL))[..., COLUMN[name]]


def _at_home(catalogue: Catalogue, index: ItemIndex) -> np.ndarray:
    """The scores for the three shoppers, (3, 4, 6)."""
    profiles = observe_profiles(catalogue, 2, np.random.default_rng(0))
    return score(index, shopper_anchors(index, profiles, np.arange(3)))


def test_behaviour_beside_an_item(index: ItemIndex) -> None:
    # a is met by s0, c by s0 and s2: 1 / sqrt(1 * 2). b and d are met by s1 alone: 1.
    h = np.sqrt(0.5)
    expected = [[0, 0, h, 0], [0, 0, 0, 1], [h, 0, 0, 0], [0, 1, 0, 0]]
    # The 99.9th percentile of (h, h, 1, 1), by linear interpolation, is 1.
    np.testing.assert_allclose(_beside(index, "behaviour"), expected, rtol=1e-5)


def test_graph_beside_an_item(index: ItemIndex) -> None:
    three, two, one = (np.log(4 / met) + 1e-3 for met in (3, 2, 1))
    red, blue, lamp, mug, lux, ceram = range(6)
    rows = np.zeros((4, 6))
    rows[0, [red, lamp, lux]] = rows[1, [red, lamp, lux]] = three, two, three
    rows[2, [red, mug, ceram]] = three, two, one
    rows[3, [blue, mug, lux]] = one, two, three
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(_beside(index, "graph"), rows @ rows.T, atol=1e-6)


def test_price_scene_and_quality_beside_an_item(index: ItemIndex) -> None:
    far = np.exp(-2)  # z is -1, 1, -1, 1
    odd = np.array([[1, far, 1, far], [far, 1, far, 1]] * 2)
    np.testing.assert_allclose(_beside(index, "price"), odd, rtol=1e-5)
    # Lamps are met by s0 and s1, mugs by all three: half of 2 / sqrt(2 * 3).
    tie = 1 / np.sqrt(6)
    scene = np.array([[1, 1, tie, tie]] * 2 + [[tie, tie, 1, 1]] * 2)
    np.testing.assert_allclose(_beside(index, "scene"), scene, rtol=1e-5)
    np.testing.assert_allclose(
        _beside(index, "quality"), np.tile([0.5, 0.9, 0.3, 0.7], (4, 1)), rtol=1e-6
    )


def test_scores_at_home(hand_catalogue: Catalogue, index: ItemIndex) -> None:
    home = _at_home(hand_catalogue, index)
    h = np.sqrt(0.5)
    # s0 is 0.75 a + 0.25 c, s1 is half b half d, s2 is c.
    behaviour = [[0.25 * h, 0, 0.75 * h, 0], [0, 0.5, 0, 0.5], [h, 0, 0, 0]]
    np.testing.assert_allclose(home[..., COLUMN["behaviour"]], behaviour, rtol=1e-5)
    # Share of the class over the largest share: s0 has 0.75 lamps and 0.25 mugs.
    scene = np.array([[1, 1, 1 / 3, 1 / 3], [1, 1, 1, 1], [0, 0, 1, 1]])
    np.testing.assert_allclose(home[..., COLUMN["scene"]], scene, rtol=1e-5)
    far = np.exp(-2)
    price = np.array([[1, far, 1, far], [far, 1, far, 1], [1, far, 1, far]])
    np.testing.assert_allclose(home[..., COLUMN["price"]], price, rtol=1e-5)
    graph = _beside(index, "graph")
    np.testing.assert_allclose(
        home[0, :, COLUMN["graph"]], 0.75 * graph[0] + 0.25 * graph[2], rtol=1e-5
    )


def test_text_beside_an_item(index: ItemIndex) -> None:
    text = _beside(index, "text")
    np.testing.assert_allclose(np.diag(text), 1, rtol=1e-5)
    np.testing.assert_allclose(text, text.T, atol=1e-6)
    assert text[0, 1] > text[0, 2], "two lamps of one brand read more alike than lamp and mug"


def test_a_query_finds_items_by_their_words(index: ItemIndex) -> None:
    anchors = query_anchors(index, ["lux lamps", "zzzz"])
    scores = score(index, anchors)
    # Title, class and brand hold "lux" and "lamp" of a and b, "lux" of d.
    np.testing.assert_allclose(scores[0, :, COLUMN["scene"]], [1, 1, 0, 0.5])
    assert set(np.argsort(-scores[0, :, COLUMN["text"]])[:2]) == {0, 1}
    assert anchors.mix.sum(axis=1)[0] == pytest.approx(1)
    np.testing.assert_allclose(scores[0, :, COLUMN["price"]], np.exp(-1), rtol=1e-5)


def test_an_unknown_query_matches_nothing(index: ItemIndex) -> None:
    scores = score(index, query_anchors(index, ["zzzz", ""]))
    for name in ("text", "behaviour", "graph", "scene"):
        assert (scores[..., COLUMN[name]] == 0).all(), name


def test_every_score_of_every_scene_lies_between_0_and_1() -> None:
    rng = np.random.default_rng(1)
    visitors = synthetic_visitors(SyntheticConfig(items=120), ShopperConfig(shoppers=60), rng)
    shop, profiles = visitors.catalogue, visitors.profiles
    index = build_index(shop, profiles, SimilarityConfig(), rng)
    queries = shop.queries["query"].tolist()
    for anchors in (
        shopper_anchors(index, profiles, np.arange(60)),
        item_anchors(index, np.arange(120)),
        query_anchors(index, queries),
    ):
        scores = score(index, anchors)
        assert scores.shape == (len(anchors.embedding), 120, 6)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()
        assert scores.min() >= 0
        assert scores.max() <= 1
        spread = scores.std(axis=(0, 1))
        assert (spread > 0.01).all(), "a score that never varies tells nothing"


def test_scores_do_not_depend_on_the_batch(index: ItemIndex) -> None:
    together = score(index, item_anchors(index, ALL))
    for item in ALL:
        alone = score(index, item_anchors(index, np.array([item])))
        np.testing.assert_allclose(alone[0], together[item], atol=1e-6)


def test_words_lose_case_and_plural() -> None:
    assert stem_words("Two USB-C Lamps, gas") == {"two", "usb-c", "lamp", "gas"}
    assert stem_words("Lamps. 2.4 GHz.") == {"lamp", "2.4", "ghz"}, "a full stop is no letter"
    assert stem_words("红色台灯 LED") == {"红", "色", "台", "灯", "led"}


def test_text_cosine_is_that_of_tf_idf_where_no_dimension_is_cut() -> None:
    encoder = fit_text_encoder(["red", "red lamp"] * 2, 64, np.random.default_rng(0))
    assert set(encoder.vocabulary) == {"red", "lamp", "red lamp"}
    # idf = ln((1 + n) / (1 + df)) + 1: 1 for "red", i for "lamp" and the pair.
    i = np.log(5 / 3) + 1
    vectors = encoder.encode(["red", "red lamp"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert vectors[0] @ vectors[1] == pytest.approx(1 / np.sqrt(1 + 2 * i**2), rel=1e-5)
    assert (encoder.encode(["blue"]) == 0).all()
    np.testing.assert_array_equal(encoder.encode(["Red."]), encoder.encode(["red"]))


def test_text_encoder_reads_chinese_by_character() -> None:
    encoder = fit_text_encoder(["红灯", "绿灯", "红杯", "黑伞"], 8, np.random.default_rng(0))
    red_lamp, red_cup, umbrella = encoder.encode(["红灯", "红杯", "黑伞"])
    assert red_lamp @ red_cup > red_lamp @ umbrella
