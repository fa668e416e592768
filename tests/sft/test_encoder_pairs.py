"""Pairs that shoppers put together, counted by hand, and recall against known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from envs.catalogue import Catalogue, typed_table
from envs.shoppers import observe_profiles
from sft.encoder_pairs import Pairs, co_click_recall, co_clicks, judged_rows, query_clicks

A, B, C, D = range(4)


def test_co_clicks_join_the_items_of_one_shopper_in_both_orders(hand_catalogue: Catalogue) -> None:
    profiles = observe_profiles(hand_catalogue, 2, np.random.default_rng(0))
    pairs = co_clicks(profiles, 4)
    # s0 met a and c, s1 met b and d, s2 met c twice, which makes no pair.
    assert set(zip(pairs.left, pairs.right)) == {(A, C), (C, A), (B, D), (D, B)}
    assert len(pairs) == 4


def test_query_clicks_are_clicked_known_and_counted_once(hand_catalogue: Catalogue) -> None:
    rows = [
        ("lux lamps", "a", 1),
        ("lux lamps", "a", 1),
        ("lux lamps", "b", 0),
        (None, "c", 1),
        ("tents", "d", 1),
        ("lux lamps", "gone", 1),
    ]
    log = pd.DataFrame(rows, columns=["query", "item_id", "click"])
    pairs = query_clicks(log, hand_catalogue)
    assert list(zip(pairs.left, pairs.right)) == [(0, A)]


def test_judged_rows(hand_catalogue: Catalogue) -> None:
    assert judged_rows(hand_catalogue).tolist() == [False]
    table = pd.DataFrame([("q", "a", 2.0)], columns=["query_id", "item_id", "rating"])
    judged = replace(hand_catalogue, judgements=typed_table(table, "judgements", "hand"))
    assert judged_rows(judged).tolist() == [True]


def test_recall_of_known_neighbours() -> None:
    # On a line from A to D: each is nearest to its neighbours.
    angles = np.array([0.0, 0.4, 0.9, 1.5])
    embedding = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    pairs = Pairs(np.array([A, A, D]), np.array([B, D, C]))
    held = np.array([True, True, False, True])
    # A: nearest is B, a partner; D: nearest is C, a partner; B has no partner and C is not held.
    assert co_click_recall(embedding, pairs, held, nearest=1) == 1
    # A's two nearest are B and C: one of its two partners. D's are C and B: all of its one.
    assert co_click_recall(embedding, pairs, held, nearest=2) == pytest.approx((1 / 2 + 1) / 2)
    assert co_click_recall(embedding, pairs, np.eye(4, dtype=bool)[B], nearest=1) == 0


def test_recall_does_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(50, 4)).astype(np.float32)
    left, right = np.nonzero(rng.random((50, 50)) < 0.1)
    other = left != right
    pairs, held = Pairs(left[other], right[other]), rng.random(50) < 0.5
    whole = co_click_recall(embedding, pairs, held, nearest=5)
    monkeypatch.setattr("sft.encoder_pairs._BLOCK", 7)
    assert co_click_recall(embedding, pairs, held, nearest=5) == pytest.approx(whole)
    expected = []
    for item in np.flatnonzero(held):
        partners = set(pairs.right[pairs.left == item])
        near = np.argsort(-(embedding @ embedding[item]))
        top = [other for other in near if other != item][:5]
        if partners:
            expected.append(len(partners & set(top)) / min(5, len(partners)))
    assert whole == pytest.approx(np.mean(expected))
