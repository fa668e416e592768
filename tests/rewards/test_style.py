"""How a reason reads."""

from __future__ import annotations

import numpy as np
import pytest

from rewards.claims import Claim, TextClaims
from rewards.style import redundancy, repetition, style_penalty, unfinished


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0),
        ("word", 0),
        ("a b c d", 0),
        ("a b a b", 1 / 3),  # ab ba ab: one of three seen before
        ("a a a a a", 3 / 4),
        ("A, a. a! A", 2 / 3),  # case and punctuation hide nothing
    ],
)
def test_repetition_is_the_share_of_pairs_seen_before(text: str, share: float) -> None:
    assert repetition(text) == pytest.approx(share)


@pytest.mark.parametrize("end", [".", "!", "?", "。", ". \n"])
def test_finished(end: str) -> None:
    assert unfinished("It has warm light" + end) == 0


@pytest.mark.parametrize("text", ["", "It has warm", "It has warm,", "It has warm -"])
def test_unfinished(text: str) -> None:
    assert unfinished(text) == 1


def test_penalty_is_repetition_and_half_for_no_end() -> None:
    np.testing.assert_allclose(
        style_penalty(["a b c.", "a b c", "a a a."]), [0, 0.5, 0.5], atol=1e-7
    )
    assert style_penalty([]).shape == (0,)


def test_redundancy_is_the_share_of_claims_about_an_aspect_already_told() -> None:
    def told(*aspects: int, supported: bool = True) -> TextClaims:
        claims = (Claim(f"claim {n}", a, supported) for n, a in enumerate(aspects))
        return TextClaims(tuple(claims), 9)

    texts = [told(), told(3), told(3, 4), told(3, 3), told(3, 4, 3, 3), told(-1, -1)]
    np.testing.assert_allclose(redundancy(texts), [0, 0, 0, 1 / 2, 2 / 4, 0])
    # What is not true is the veto's affair.
    assert redundancy([told(3, 3, supported=False)])[0] == 0
