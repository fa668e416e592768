"""Intervals that fit the reward model again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from experiments.ope.evaluate import evaluate
from experiments.ope.refit import evaluate_refitting, resample_sessions
from tests.ope.plackett_luce_world import SLATES, cascade, sample_log

EXPECTED = np.random.default_rng(0).random(SLATES.shape)
TARGET = np.array([-0.5, 1.1, 0.2, 0.6])


def log(slates: int) -> pd.DataFrame:
    frame = sample_log(slates, EXPECTED, np.random.default_rng(1))
    return frame.assign(session_id=frame["slate_id"] // 3)


def mean_by_slate(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """A model: the mean reward of each of the 12 slates, and its expectation under the target."""
    first = frame.groupby("slate_id")["item_id"].transform("first")
    last = frame.groupby("slate_id")["item_id"].transform("last")
    groups = [first, last, frame["position"]]
    q = frame.groupby(groups)["reward"].transform("mean")
    # The mean reward of each slate's cell at each position, in the order of SLATES.
    cells = frame.assign(q=q).groupby(groups)["q"].first()
    grid = np.array([[cells[a, b, place] for place in (0, 1)] for a, b in SLATES.tolist()])
    v = cascade(TARGET)[:, -1] @ grid
    return frame.assign(q_hat=q, v_hat=v[frame["position"]])


def test_the_interval_of_a_model_counts_its_fitting() -> None:
    """A saturated model's DM is stratified IPS, whose error is that of the cells' means."""
    frame = log(1_200)
    rng = np.random.default_rng(2)
    (refitted,) = evaluate_refitting(frame, ["DM"], mean_by_slate, rng=rng, resamples=60)
    (fixed,) = evaluate(mean_by_slate(frame, rng), ["DM"], rng=rng)
    assert refitted.value == pytest.approx(fixed.value)
    # v is the same on all slates, so a fixed model has no error at all.
    assert fixed.se == pytest.approx(0, abs=1e-12)
    share = cascade(TARGET)[:, -1]
    cell = frame["reward"].groupby([frame["slate_id"]]).sum()
    first = frame.groupby("slate_id")["item_id"].agg(["first", "last"])
    table = pd.DataFrame({"gain": cell, **first})
    by = table.groupby(["first", "last"])["gain"].agg(["var", "size"])
    known = np.sqrt(
        sum(s**2 * by.loc[tuple(slate), "var"] / by.loc[tuple(slate), "size"]
            for s, slate in zip(share, SLATES.tolist()))
    )  # fmt: skip
    # 60 resamples leave a relative error of 1 / sqrt(120).
    assert refitted.se == pytest.approx(float(known), rel=3 / np.sqrt(120) + 0.05)
    assert "its bias is not counted" in refitted.notes[0]


def test_resampled_sessions_are_whole_and_copies_share_their_name() -> None:
    frame = log(90)
    drawn = resample_sessions(frame.sample(frac=1, random_state=0), np.random.default_rng(3))
    assert set(drawn["session_id"]) < set(frame["session_id"])
    assert (drawn.groupby("slate_id").size() == 2).all()
    assert drawn.groupby("slate_id")["session_id"].nunique().max() == 1
    slates = drawn.groupby("session_id")["slate_id"].nunique()
    assert (slates % 3 == 0).all()
    assert slates.sum() == 90
