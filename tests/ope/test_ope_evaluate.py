"""What a user asks of the evaluation: choices, warnings, JSON, clear refusals."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from envs.errors import UserError
from experiments.ope.diagnostics import overlap, overlap_warnings
from experiments.ope.evaluate import Estimate, evaluate
from tests.ope.plackett_luce_world import SLATES, log_of_all, sample_log

EXPECTED = np.random.default_rng(0).random(SLATES.shape)


def run(frame: pd.DataFrame, *names: str, **choices: Any) -> list[Estimate]:
    return evaluate(frame, names or None, rng=np.random.default_rng(0), **choices)


def bandit(weight: np.ndarray, reward: np.ndarray) -> pd.DataFrame:
    scale = 1 / max(1.0, weight.max())
    return pd.DataFrame(
        {
            "slate_id": np.arange(len(weight)),
            "position": 0,
            "item_id": 0,
            "reward": reward,
            "pscore": scale,
            "eval_pscore": scale * weight,
        }
    )


def concentrated(slates: int, carrying: int) -> np.ndarray:
    """Equal weights on ``carrying`` slates, which then are the effective sample size; mean 1."""
    return np.where(np.arange(slates) < carrying, slates / carrying, 0.0)


def test_all_estimators_whose_columns_are_there() -> None:
    frame = log_of_all(EXPECTED)
    six = ["SIPS", "IIPS", "RIPS", "SNSIPS", "SNIIPS", "SNRIPS"]
    assert [estimate.estimator for estimate in run(frame)] == six
    whole = frame.drop(columns=["pscore_cascade", "eval_pscore_item_position"])
    assert [estimate.estimator for estimate in run(whole)] == ["SIPS", "SNSIPS"]
    modelled = frame.assign(q_hat=0.0, v_hat=0.0)
    assert len(run(modelled)) == 10
    one = bandit(np.ones(20), np.arange(20.0))
    assert [estimate.estimator for estimate in run(one)] == ["IPS", "SNIPS"]


def test_estimates_as_json() -> None:
    (estimate,) = run(log_of_all(EXPECTED), "SNIPS")
    row = json.loads(json.dumps(estimate.as_dict(), allow_nan=False))
    contract = {"estimator", "value", "low", "high", "se", "ess", "max_weight", "n", "warnings"}
    assert contract <= set(row)
    assert row["low"] < row["value"] < row["high"]
    assert row["n"] == 12


def test_no_overlap_is_said_and_leaves_no_number() -> None:
    frame = bandit(np.zeros(50), np.ones(50))
    (estimate,) = run(frame, "SNIPS")
    assert not estimate.conclusive
    assert estimate.as_dict()["value"] is None
    assert estimate.zero_share == 1.0
    assert "none of the logged slates" in estimate.warnings[0]


def test_a_small_effective_sample_is_no_verdict() -> None:
    (estimate,) = run(bandit(concentrated(5000, 37), np.ones(5000)), "IPS")
    assert estimate.ess == pytest.approx(37)
    assert estimate.max_weight == pytest.approx(5000 / 37)
    assert estimate.zero_share == pytest.approx(1 - 37 / 5000)
    assert not estimate.conclusive
    assert estimate.warnings == [
        "not enough overlap to conclude: effective sample size 37 of 5000 (0.7%), below the 1% "
        "floor"
    ]


def test_the_worst_position_speaks_for_all() -> None:
    seen = overlap(np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 3.0]]), np.arange(3))
    assert (seen.ess, seen.position, seen.max_weight, seen.weight_share) == (1.0, 1, 3.0, 1.0)
    assert seen.zero_share == pytest.approx(2 / 6)


def test_few_effective_slates_are_no_verdict_in_a_small_log_either() -> None:
    (estimate,) = run(bandit(concentrated(200, 25), np.ones(200)), "IPS")
    assert "25 of 200 (12.5%), below the floor of 30 slates" in estimate.warnings[0]


def test_good_overlap_has_no_warning() -> None:
    frame = sample_log(2000, EXPECTED, np.random.default_rng(3))
    for estimate in run(frame):
        assert estimate.warnings == []
        assert estimate.conclusive


def test_one_slate_that_carries_the_estimate() -> None:
    weight = np.ones(2000)
    weight[7] = 500.0
    (estimate,) = run(bandit(weight, np.ones(2000)), "SNIPS")
    assert any("one slate carries 20% of the weight" in text for text in estimate.warnings)


def test_a_target_that_leaves_the_log_shows_in_the_mean_weight() -> None:
    rng = np.random.default_rng(4)
    inside = rng.uniform(0.5, 0.9, size=(1000, 1))
    warnings = overlap_warnings(overlap(inside, np.arange(1000)))
    assert len(warnings) == 1
    assert "the target often shows what the log hardly ever did" in warnings[0]
    above = overlap_warnings(overlap(inside + 0.6, np.arange(1000)))
    assert "not 1: the propensities are wrong" in above[0]


def test_a_model_that_contradicts_the_weights_is_reported() -> None:
    frame = sample_log(2000, EXPECTED, np.random.default_rng(5))
    biased = frame.assign(q_hat=0.0, v_hat=0.15)
    dm, dr, _ = run(biased, "DM", "DR", "SNIPS")
    assert "DR lies +" in dr.warnings[0]
    assert "from SNIPS" in dr.warnings[0]
    assert "DM lies -" in dm.warnings[0]
    fair = frame.assign(q_hat=0.5, v_hat=0.5)
    assert run(fair, "DR", "SNIPS")[0].warnings == []
    # The same estimate by another sum differs by rounding, which is no contradiction.
    zero = frame.assign(q_hat=0.0, v_hat=0.0)
    assert run(zero, "SNDR", "SNIPS")[0].warnings == []


@pytest.mark.parametrize(
    ("names", "choices", "message"),
    [
        (["SNIP"], {}, "no estimator 'SNIP'.*Did you mean 'SNIPS'"),
        (["DR"], {}, "estimator DR needs column 'q_hat'"),
        (["SIPS"], {"interval": "magic"}, "no interval 'magic'.*bootstrap, bca, delta, student"),
        (["SIPS"], {"level": 95}, "level must lie between 0 and 1, but it is 95"),
        (["SIPS"], {"cluster": "shopper"}, "no column 'shopper' to cluster by"),
        (["SIPS"], {"cluster": "item_id"}, "'item_id' varies within a slate"),
        (["SIPS"], {"cluster": "one"}, "all slates share one 'one'"),
    ],
)
def test_refusals(names: list[str], choices: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(log_of_all(EXPECTED).assign(one=1), *names, **choices)


def test_a_log_without_a_target_is_refused() -> None:
    with pytest.raises(UserError, match="column 'eval_pscore' is missing"):
        run(log_of_all(EXPECTED).drop(columns="eval_pscore"), "SIPS")


def test_a_model_is_checked_against_the_weights_unasked() -> None:
    frame = sample_log(2000, EXPECTED, np.random.default_rng(5))
    (dr,) = run(frame.assign(q_hat=0.0, v_hat=0.15), "DR")
    assert "from SNSIPS" in dr.warnings[0]
    assert not dr.conclusive


def test_what_an_interval_leaves_out_is_noted() -> None:
    frame = sample_log(500, EXPECTED, np.random.default_rng(6), q_hat=EXPECTED, v_hat=EXPECTED)
    dm, dr, sips = run(frame, "DM", "DR", "SIPS")
    assert "counts neither its bias" in dm.notes[0]
    assert "right to first order" in dr.notes[0]
    assert sips.notes == []


def test_a_target_outside_the_log_is_counted_and_ends_the_verdict() -> None:
    frame = bandit(np.random.default_rng(7).uniform(0.4, 0.6, size=3000), np.ones(3000))
    (estimate,) = run(frame, "SNIPS")
    assert estimate.support_violations == pytest.approx(0.5, abs=0.01)
    assert not estimate.conclusive
    (fair,) = run(bandit(np.ones(50), np.ones(50)), "SNIPS")
    assert fair.support_violations == 0.0


def test_estimates_of_sessions_say_so() -> None:
    frame = sample_log(400, EXPECTED, np.random.default_rng(8))
    frame["session_id"] = frame["slate_id"] // 2
    (pdis,) = run(frame, "PDIS", interval="delta")
    assert (pdis.unit, pdis.n) == ("session", 200)
    (sips,) = run(frame, "SIPS")
    assert (sips.unit, sips.n) == ("slate", 400)


@pytest.mark.parametrize(
    ("reward", "names", "choices", "message"),
    [
        (1.0, ["SNIPS"], {}, "for plain weighted means .*, which SNIPS is not"),
        (2.0, ["SIPS"], {}, "needs the range of all possible rewards"),
        (2.0, ["SIPS"], {"reward_range": (0.0, 1.0)}, "range is 0 to 1, but the log's rewards go"),
        (1.0, ["SIPS"], {"reward_range": (1.0, 1.0)}, "must go upwards, but it is 1 to 1"),
    ],
)
def test_guaranteed_intervals_need_bounds(
    reward: float, names: list[str], choices: dict[str, Any], message: str
) -> None:
    frame = log_of_all(EXPECTED).assign(reward=reward)
    with pytest.raises(UserError, match=message):
        run(frame, *names, interval="bernstein", **choices)


def test_a_wider_reward_range_widens_a_guaranteed_interval() -> None:
    frame = sample_log(3000, EXPECTED, np.random.default_rng(9))
    narrow, wide = (
        run(frame, "IIPS", interval="bernstein", reward_range=bounds, weight_cap=5.0)[0]
        for bounds in ((0.0, 1.0), (0.0, 2.0))
    )
    assert wide.high - wide.low > narrow.high - narrow.low
    assert narrow.low < narrow.value < narrow.high
