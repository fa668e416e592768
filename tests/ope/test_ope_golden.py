"""Point estimates and diagnostics equal the published reference on frozen inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from envs.feedback import read_feedback
from envs.files import read_json
from experiments.ope.diagnostics import overlap
from experiments.ope.evaluate import evaluate
from experiments.ope.slates import Slates
from tests.data_at_hand import shared_data

BANDIT_MAP = {"item_id": "action", "q_hat": "q_hat_logged"}
BANDIT = {"IPS": "ipw", "SNIPS": "snipw", "DM": "dm", "DR": "dr", "SNDR": "sndr"}
ESTIMATED = {name: f"{BANDIT[name]}_estimated_pscore" for name in ("IPS", "SNIPS", "DR")}
SLATE = {name: name.lower() for name in ("SIPS", "IIPS", "RIPS", "SNSIPS", "SNIIPS", "SNRIPS")}
DETERMINISTIC = {name: f"det_{name.lower()}" for name in ("SIPS", "IIPS", "RIPS")}


@pytest.fixture(scope="module")
def folder() -> Path:
    return shared_data("ope_golden")


@pytest.fixture(scope="module")
def golden(folder: Path) -> Any:
    return read_json(folder / "golden.json")


def assert_equal(frame: pd.DataFrame, names: dict[str, str], known: dict[str, Any]) -> None:
    estimates = evaluate(frame, list(names), interval="delta", rng=np.random.default_rng(0))
    values = {names[estimate.estimator]: estimate.value for estimate in estimates}
    assert values == pytest.approx({key: known[key]["value"] for key in values}, rel=1e-8, abs=0)
    assert not any("note" in known[key] for key in values)


@pytest.mark.parametrize(
    ("names", "propensity"), [(BANDIT, "pscore"), (ESTIMATED, "estimated_pscore")]
)
def test_bandit(folder: Path, golden: Any, names: dict[str, str], propensity: str) -> None:
    columns = BANDIT_MAP | {"pscore": propensity}
    frame = read_feedback(folder / "bandit_v1.parquet", column_map=columns, targets=True)
    assert_equal(frame, names, golden["bandit_v1"])


def test_slates(folder: Path, golden: Any) -> None:
    frame = read_feedback(
        folder / "slate_L3_v1.parquet", column_map={"item_id": "action"}, targets=True
    )
    assert_equal(frame, SLATE, golden["slate_L3_v1"])


def test_slates_of_a_deterministic_target(folder: Path, golden: Any) -> None:
    kinds = ("pscore", "pscore_cascade", "pscore_item_position")
    columns = {"item_id": "action"} | {f"eval_{kind}": f"det_{kind}" for kind in kinds}
    frame = read_feedback(folder / "slate_L3_v1.parquet", column_map=columns, targets=True)
    assert_equal(frame, DETERMINISTIC, golden["slate_L3_v1"])


def test_cascade_dr(folder: Path, golden: Any) -> None:
    frame = read_feedback(
        folder / "slate_L3_v1.parquet", column_map={"item_id": "action"}, targets=True
    )
    with np.load(folder / "slate_L3_v1.npz", allow_pickle=False) as arrays:
        q, target = arrays["q_hat"], arrays["eval_action_dist"]
    items = frame["item_id"].to_numpy().reshape(q.shape[:2])
    logged = np.take_along_axis(q, items[..., None], axis=2)[..., 0]
    frame["q_hat_cascade"] = logged.ravel()
    frame["v_hat_cascade"] = (q * target).sum(axis=2).ravel()
    assert_equal(frame, {"CascadeDR": "cascade_dr"}, golden["slate_L3_v1"])


def test_real_bandit_log(folder: Path, golden: Any) -> None:
    with np.load(folder / "obd_men_inputs.npz", allow_pickle=False) as arrays:
        action, position = arrays["action"].astype(int), arrays["position"].astype(int)
        target, q = arrays["bts_action_dist"], arrays["q_hat_at_position"]
        reward, pscore = arrays["reward"].astype(float), arrays["pscore"]
    rows = np.arange(len(action))
    frame = pd.DataFrame(
        {
            # Its three slots are three bandits: one item, one click and one propensity each.
            "slate_id": rows,
            "position": 0,
            "item_id": action,
            "reward": reward,
            "pscore": pscore,
            "eval_pscore": target[action, position],
            "q_hat": q[rows, action],
            "v_hat": (q * target[:, position].T).sum(axis=1),
        }
    )
    assert_equal(frame, BANDIT, golden["obd_men"])


def test_diagnostics(folder: Path, golden: Any) -> None:
    bandit = read_feedback(
        folder / "bandit_v1.parquet", column_map={"item_id": "action"}, targets=True
    )
    slates = Slates(bandit)
    seen, known = (
        overlap(slates.weight("pscore"), slates.clusters),
        golden["bandit_v1"]["diagnostics"],
    )
    assert (seen.ess, seen.max_weight, seen.zero_share, seen.mean) == pytest.approx(
        (known["ess"], known["w_max"], known["w_zero_share"], known["w_mean"]), rel=1e-8
    )
    frame = read_feedback(
        folder / "slate_L3_v1.parquet", column_map={"item_id": "action"}, targets=True
    )
    slates = Slates(frame)
    weight = slates.weight("pscore_cascade")
    by_position = [overlap(weight[:, [l]], slates.clusters).ess for l in range(3)]  # noqa: E741
    assert by_position == pytest.approx(golden["slate_L3_v1"]["diagnostics"]["cascade_ess"])
    # An estimate over all positions is as sure as its worst one.
    assert overlap(weight, slates.clusters).ess == pytest.approx(min(by_position))
