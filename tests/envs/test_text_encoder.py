"""How texts are read: words, numbers apart from their units, Chinese without spaces."""

from __future__ import annotations

import numpy as np
import pytest

from envs.text_encoder import fit_text_encoder, terms, tokens


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("20,000mAh Power Bank", ["20000", "mah", "power", "bank"]),
        ("a 60-hour battery, 2.4 GHz.", ["a", "60", "hour", "battery", "2.4", "ghz"]),
        ("USB-C x300 Wi-Fi", ["usb-c", "x300", "wi-fi"]),
        ("Crème brûlée, Müller", ["creme", "brulee", "muller"]),
        ("60小时续航", ["60", "小", "时", "续", "航"]),
        ("蓝牙5.3 耳机", ["蓝", "牙", "5.3", "耳", "机"]),
        ("１２０Ｗ快充", ["120", "w", "快", "充"]),
        ("1,5 l, 3, 400", ["1", "5", "l", "3", "400"]),
        ("", []),
    ],
)
def test_tokens(text: str, read: list[str]) -> None:
    assert tokens(text) == read


def test_pairs_join_neighbours_but_not_across_a_break() -> None:
    assert terms("red lamp, blue") == ["red", "red lamp", "lamp", "blue"]
    assert "lamp blue" not in terms("red lamp, blue")
    assert "机 长" not in terms("耳机 长续航")
    assert {"耳 机", "续 航"} <= set(terms("耳机 长续航"))
    assert "60 小" in terms("60小时")


def test_accents_case_and_width_make_no_difference() -> None:
    encoder = fit_text_encoder(["café lamp", "red tent", "５瓦台灯", "tent"], 3, rng())
    np.testing.assert_array_equal(encoder.encode(["CAFÉ"]), encoder.encode(["cafe"]))
    np.testing.assert_array_equal(encoder.encode(["5瓦"]), encoder.encode(["５瓦"]))


def test_a_number_is_found_whatever_its_unit_is_glued_to() -> None:
    texts = 2 * ["power bank with 20,000 mAh", "power bank with 5,000 mAh", "red tent", "lamp"]
    encoder = fit_text_encoder(texts, 7, rng())
    close = encoder.encode(texts[:2]) @ encoder.encode(["20000mAh"])[0]
    assert close[0] > close[1]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)
