"""Estimated propensities: known policies are found, folds are kept, and the log is flagged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from envs.errors import UserError
from envs.feedback import check_feedback
from experiments.ope.evaluate import evaluate
from experiments.ope.propensity_model import estimate_propensities, stage_propensities
from tests.ope.plackett_luce_world import SLATES, sample_log

EXPECTED = np.random.default_rng(0).random(SLATES.shape)
PROPENSITIES = ["pscore", "pscore_cascade", "pscore_item_position"]


def bare(slates: int, seed: int) -> pd.DataFrame:
    return sample_log(slates, EXPECTED, np.random.default_rng(seed))


def test_shares_without_features() -> None:
    n = 6_000
    frame = bare(n, 1)
    found = estimate_propensities(frame, rng=np.random.default_rng(0))
    known = frame["pscore_item_position"]
    # A share from two thirds of the slates (three folds).
    band = 4 * np.sqrt(known * (1 - known) / (2 / 3 * n))
    assert ((found["pscore_item_position"] - known).abs() < band + 1e-3).all()
    assert (found["pscore_estimated"] == 1).all()
    check_feedback(found, "estimated")


def test_stages_multiply_and_leave_out_what_stands_above() -> None:
    """Against a loop, on slates of one to three items in any order of rows."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"slate_id": [0, 0, 0, 1, 1, 2], "position": [0, 1, 2, 0, 1, 0]})
    frame = frame.sample(frac=1, random_state=3).reset_index(drop=True)
    items = np.array([rng.permutation(4) for _ in range(3)])[frame["slate_id"], frame["position"]]
    table = rng.dirichlet(np.ones(4), size=6)
    found = stage_propensities(frame, items, table)
    for _, slate in frame.sort_values("position").groupby("slate_id"):
        chance = 1.0
        for depth, row in enumerate(slate.index):
            above = table[row, items[slate.index[:depth]]].sum()
            chance *= table[row, items[row]] / (1 - above)
            assert found["pscore_cascade"][row] == pytest.approx(chance)
            assert found["pscore_item_position"][row] == table[row, items[row]]
        assert found["pscore"][slate.index] == pytest.approx(chance)


def test_features_are_learned() -> None:
    """One item for each kind of shopper, shown in four cases of five."""
    rng = np.random.default_rng(3)
    kind = rng.choice(["a", "b"], size=2_000)
    usual = rng.random(2_000) < 0.8
    item = np.where(usual, kind, np.where(kind == "a", "b", "a"))
    frame = pd.DataFrame(
        {"slate_id": range(2_000), "position": 0, "item_id": item, "kind": kind, "age": 1.0}
    )
    found = estimate_propensities(frame, ["kind", "age"], rng=rng)["pscore"].to_numpy()
    assert found[usual].mean() == pytest.approx(0.8, abs=3 * 0.4 / np.sqrt(2_000 / 3))
    assert found[~usual].mean() == pytest.approx(0.2, abs=3 * 0.4 / np.sqrt(2_000 / 3))


def test_no_page_is_predicted_from_its_own_session() -> None:
    """An item that one session alone has seen is as unlikely as one that nobody has."""
    frame = pd.DataFrame(
        {
            "session_id": np.repeat(np.arange(30), 2),
            "slate_id": range(60),
            "position": 0,
            "item_id": ["rare", "rare", *["usual"] * 58],
        }
    )
    found = estimate_propensities(frame, rng=np.random.default_rng(0), folds=3)
    # 40 rows of the other folds, two items with one count each beforehand.
    assert found["pscore"].iloc[:2].tolist() == pytest.approx([1 / 42] * 2)


def test_estimates_say_that_the_propensities_are_estimates() -> None:
    frame = bare(300, 4)
    found = estimate_propensities(frame.drop(columns=PROPENSITIES), rng=np.random.default_rng(0))
    for estimate in evaluate(found, ["SIPS"], rng=np.random.default_rng(0)):
        assert any("these are estimates" in note for note in estimate.notes)
    (own,) = evaluate(frame, ["SIPS"], rng=np.random.default_rng(0))
    assert own.notes == []


@pytest.mark.parametrize(
    ("change", "choices", "message"),
    [
        ({}, {"features": ["segmen"]}, "needs column 'segmen'.*Did you mean 'segment'"),
        ({"segment": None}, {"features": ["segment"]}, "'segment' on every row, but row 0"),
        ({}, {"folds": 1}, "from 2 folds to as many as there are clusters"),
    ],
)
def test_refusals(change: dict[str, Any], choices: dict[str, Any], message: str) -> None:
    frame = bare(20, 5).assign(**{"segment": 1, **change})
    with pytest.raises(UserError, match=message):
        estimate_propensities(frame, rng=np.random.default_rng(0), **choices)
