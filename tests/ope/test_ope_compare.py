"""Several targets on one log: paired differences, simultaneous intervals, the forest plot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from envs.errors import UserError
from experiments.ope.compare import Comparison, compare, logged_value, target_view
from experiments.ope.evaluate import RECOMMENDED, evaluate
from experiments.ope.forest import write_forest
from experiments.ope.intervals import influence, standard_error, wilson_interval
from experiments.ope.registry import ESTIMATORS
from experiments.ope.slates import Slates
from tests.ope.plackett_luce_world import LOGGING, SLATES, TARGET, cascade, sample_log, truth

EXPECTED = np.random.default_rng(0).random(SLATES.shape)
#: A third policy, between the two of the little world.
BETWEEN = (LOGGING + TARGET) / 2


def log(slates: int, seed: int) -> pd.DataFrame:
    """Targets ``eval``, ``same`` (equal to it), ``between`` and ``idle`` (the logging policy)."""
    own = {"between": BETWEEN, "same": TARGET, "idle": LOGGING}
    columns = {}
    for name, scores in own.items():
        stages = cascade(scores)
        columns[f"{name}_pscore"] = np.repeat(stages[:, -1:], 2, axis=1)
        columns[f"{name}_pscore_cascade"] = stages
    return sample_log(slates, EXPECTED, np.random.default_rng(seed), **columns)


def run(frame: pd.DataFrame, *targets: str, estimator: str | None = "SNSIPS") -> Comparison:
    return compare(frame, targets, estimator, rng=np.random.default_rng(1))


def test_values_and_paired_differences() -> None:
    frame = log(3_000, 2)
    found = run(frame, "eval", "between")
    (alone,) = evaluate(frame, ["SNSIPS"], rng=np.random.default_rng(1))
    assert found.policies[0].estimate.value == alone.value
    assert [one.target for one in found.policies] == ["eval", "between", "logged"]
    assert [(one.a, one.b) for one in found.pairs] == [
        ("eval", "between"), ("eval", "logged"), ("between", "logged"),
    ]  # fmt: skip
    pair = found.pairs[0]
    values = [one.estimate.value for one in found.policies]
    assert pair.value == pytest.approx(values[0] - values[1])
    pulls = [
        influence(ESTIMATORS["SNSIPS"].terms(Slates(target_view(frame, name))))
        for name in ("eval", "between")
    ]
    # Paired: the error of the difference, not of the two values.
    known = standard_error(pulls[0] - pulls[1])
    assert pair.se == pytest.approx(known, rel=3 / np.sqrt(2 * 1000))
    assert pair.joint_low < pair.low < pair.high < pair.joint_high


def test_equal_policies_differ_by_nothing() -> None:
    found = run(log(500, 3), "eval", "same", "idle")
    pairs = {(one.a, one.b): one for one in found.pairs}
    same = pairs["eval", "same"]
    assert (same.value, same.joint_low, same.joint_high) == (0.0, 0.0, 0.0)
    assert same.verdict == "eval and same cannot be told apart"
    assert pairs["idle", "logged"].value == pytest.approx(0, abs=1e-12)


def test_simultaneous_intervals_hold_all_at_once() -> None:
    truths = {
        "eval": truth(EXPECTED), "between": truth(EXPECTED, BETWEEN),
        "logged": truth(EXPECTED, LOGGING),
    }  # fmt: skip
    trials, all_held = 60, 0
    for seed in range(trials):
        frame = log(300, 100 + seed)
        found = compare(
            frame, ["eval", "between"], "SNSIPS", rng=np.random.default_rng(seed), resamples=300
        )
        all_held += all(
            one.joint_low <= truths[one.a] - truths[one.b] <= one.joint_high for one in found.pairs
        )
    assert all_held / trials >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials)


def test_verdicts_in_words() -> None:
    better = run(log(20_000, 4), "eval")
    assert truth(EXPECTED) < truth(EXPECTED, LOGGING)
    assert better.pairs[0].verdict == "logged is better than eval"
    frame = log(2_000, 5)
    far = frame.assign(far_pscore=np.where(frame["item_id"] == 99, 1.0, 0.0))
    lost = run(far, "far", estimator="SIPS")
    assert not lost.conclusive
    assert lost.pairs[0].verdict == "not enough overlap to conclude"


def test_the_default_estimator_assumes_the_least_that_the_log_allows() -> None:
    frame = log(300, 6)
    assert run(frame, "eval", estimator=None).estimator == "SNRIPS"
    whole = frame.drop(columns=["eval_pscore_cascade"])
    assert run(whole, "eval", estimator=None).estimator == "SNSIPS"


def test_a_view_has_nothing_of_another_target() -> None:
    frame = log(10, 7).assign(v_hat=0.1, between_v_hat=0.7)
    seen = target_view(frame, "between")
    np.testing.assert_array_equal(seen["eval_pscore"], frame["between_pscore"])
    assert (seen["v_hat"] == 0.7).all()
    assert "eval_pscore_item_position" not in seen


def test_json() -> None:
    found = json.loads(json.dumps(run(log(300, 8), "eval").as_dict(), allow_nan=False))
    assert {"target", "value", "low", "high", "joint_low", "warnings"} <= set(found["policies"][0])
    assert found["pairs"][0]["verdict"]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["evil"], "target 'evil': the log has no column 'evil_pscore'.*Did you mean 'eval'"),
        ([], "different prefixes"),
        (["eval", "eval"], "different prefixes"),
        (["logged"], "other than 'logged'"),
    ],
)
def test_refusals(targets: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(log(20, 9), *targets)


# The logging policy's own value


def test_wilson_for_clicks_on_single_items_and_the_recommended_interval_else() -> None:
    rng = np.random.default_rng(10)
    clicks = (rng.random(2_000) < 0.02).astype(float)
    bandit = pd.DataFrame(
        {"slate_id": range(2_000), "position": 0, "item_id": 0, "reward": clicks, "pscore": 0.5}
    )
    found = logged_value(bandit, rng=rng)
    assert found.interval == "wilson"
    assert (found.low, found.high) == wilson_interval(int(clicks.sum()), 2_000, 0.95)
    sessions = logged_value(bandit.assign(session_id=bandit["slate_id"] // 4), rng=rng)
    assert sessions.interval == RECOMMENDED
    assert sessions.value == pytest.approx(clicks.mean())


# The forest plot


def test_the_plot_names_each_policy_and_is_the_same_again(tmp_path: Path) -> None:
    found = run(log(300, 11), "eval", "between")
    for name in ("a.svg", "b.svg", "c.png"):
        write_forest(found, tmp_path / name)
    text = (tmp_path / "a.svg").read_text()
    # Letters are drawn as shapes; their source stands beside them as comments.
    assert all(f"<!-- {name} -->" in text for name in ("eval", "between", "logging policy"))
    assert text == (tmp_path / "b.svg").read_text()
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_is_a_picture(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"written as \.svg, \.png, \.pdf"):
        write_forest(run(log(50, 12), "eval"), tmp_path / "forest.txt")
