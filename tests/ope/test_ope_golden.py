"""Point estimates and diagnostics equal the published reference on frozen inputs."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from envs.feedback import read_feedback
from envs.files import read_json
from experiments.ope.diagnostics import overlap
from experiments.ope.evaluate import Estimate, evaluate
from experiments.ope.pseudo_inverse import pseudo_inverse_weights, slot_gram
from experiments.ope.registry import ESTIMATORS
from experiments.ope.shrunk_estimators import SHRUNK
from experiments.ope.slates import Slates
from experiments.ope.tuning import Selection, choose_lambda
from tests.data_at_hand import shared_data

BANDIT_MAP = {"item_id": "action", "q_hat": "q_hat_logged"}
BANDIT = {"IPS": "ipw", "SNIPS": "snipw", "DM": "dm", "DR": "dr", "SNDR": "sndr"}
ESTIMATED = {name: f"{BANDIT[name]}_estimated_pscore" for name in ("IPS", "SNIPS", "DR")}
SLATE = {name: name.lower() for name in ("SIPS", "IIPS", "RIPS", "SNSIPS", "SNIIPS", "SNRIPS")}
DETERMINISTIC = {name: f"det_{name.lower()}" for name in ("SIPS", "IIPS", "RIPS")}
#: Families of shrunk weights: our name, theirs, and the lambdas of the fixed entries.
FAMILIES = {
    "ClippedIPS": ("ipw", "ipw_clip", (2, 10)),
    "ClippedDR": ("dr", "dr_clip", (10,)),
    "SwitchDR": ("switch_dr", "switch_dr", (1, 5, 10, 100)),
    "DRos": ("dr_os", "dr_os", (1, 10, 100, 500)),
    "SGIPS": ("sg_ipw", "sg_ipw", (0.001, 0.01, 0.1)),
    "SGDR": ("sg_dr", "sg_dr", (0.001, 0.01, 0.1)),
}
SHRUNK_NAMES = {
    f"{name}@{lam}": f"{theirs}_{lam}"
    for name, (_, theirs, lams) in FAMILIES.items()
    for lam in lams
}
#: The lambdas that the file's tuned entries name; the grids they were chosen from are not in it.
LARGE, SMALL = (np.inf, 500.0, 50.0, 1.0), (0.0, 0.01, 0.5, 1.0)
CHOICES = [
    (log, name, how)
    for log in ("bandit_v1", "obd_men")
    for name in FAMILIES
    for how in get_args(Selection)
    # Here the reference ends at lambda 1, whose interval is wider than that of 0.5: it went by
    # lambda, where SLOPE++ (and ours) goes by width.
    if (log, name, how) != ("bandit_v1", "SGDR", "slope")
]

_NO_DISTRIBUTION = "needs pi(a|x) of all 20 actions (or p(e|a)), which the files do not hold"
#: Entries that are no estimate of ours from the frozen inputs, and why.
NOT_MATCHED = {
    "bandit_v1": {
        "diagnostics": "no estimate; test_diagnostics",
        "ipw_greedy_target": _NO_DISTRIBUTION,
        "dr_greedy_target": _NO_DISTRIBUTION,
        "replay_greedy_target": _NO_DISTRIBUTION,
        "mips_true_p_e_a": _NO_DISTRIBUTION,
        "mips_slope_exact": _NO_DISTRIBUTION,
        "mips_slope_greedy": _NO_DISTRIBUTION,
        "snmips_correct_reference_numpy": _NO_DISTRIBUTION,
        "offcem_reference_numpy": _NO_DISTRIBUTION,
        "mips_estimated_p_a_xe_sklearn": "carries a note: depends on a library's version",
        "snmips_true_p_e_a": "carries a note: a known bug of the reference",
    },
    "slate_L3_v1": {
        "diagnostics": "no estimate; test_diagnostics",
        "cascade_dr_obp_tree_qhat": "the tree's q_hat is not in the files",
    },
    "obd_men": {
        "diagnostics": "no estimate",
        "on_policy_bts": "an on-policy mean",
        "on_policy_random": "an on-policy mean",
        "seconds": "no estimate",
    },
}


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


def bandit_frame(folder: Path, propensity: str = "pscore") -> pd.DataFrame:
    columns = BANDIT_MAP | {"pscore": propensity}
    return read_feedback(folder / "bandit_v1.parquet", column_map=columns, targets=True)


@pytest.mark.parametrize(
    ("names", "propensity"),
    [(BANDIT, "pscore"), (SHRUNK_NAMES, "pscore"), (ESTIMATED, "estimated_pscore")],
)
def test_bandit(folder: Path, golden: Any, names: dict[str, str], propensity: str) -> None:
    assert_equal(bandit_frame(folder, propensity), names, golden["bandit_v1"])


def test_balanced_weights_that_are_given(folder: Path, golden: Any) -> None:
    frame = bandit_frame(folder)
    frame["weight_balanced"] = frame["eval_pscore"] / frame["pscore"]
    assert_equal(frame, {"BalancedIPS": "b_ipw_given_weights_w_obs"}, golden["bandit_v1"])


@pytest.mark.parametrize("log", ["bandit_v1", "obd_men"])
@pytest.mark.parametrize("how", ["mse", "slope"])
def test_tuned_estimates(folder: Path, golden: Any, log: str, how: str) -> None:
    frame = bandit_frame(folder) if log == "bandit_v1" else men_frame(folder)
    known = golden[log]
    names = {}
    for name, (tuned, _, _) in FAMILIES.items():
        key = f"tuned_{tuned}_{how}"
        names[f"{name}@{known[key]['lambda_']}"] = key
    for name, key in names.items():
        assert_equal(frame, {name: key}, known)


@pytest.mark.parametrize(("log", "name", "how"), CHOICES)
def test_chosen_lambdas(folder: Path, golden: Any, log: str, name: str, how: Selection) -> None:
    """Among the lambdas that the file names we choose as the reference did."""
    slates = Slates(bandit_frame(folder) if log == "bandit_v1" else men_frame(folder))
    weight, reward = slates.weight("pscore")[:, 0], slates.reward[:, 0]
    q, v = np.zeros_like(reward), np.zeros_like(reward)
    if SHRUNK[name].model:
        q, v = (slates.prediction(column)[:, 0] for column in SHRUNK[name].model)
    grid = SMALL if name.startswith("SG") else LARGE
    family = SHRUNK[name].family
    found = choose_lambda(how, family, reward - q, weight, v, slates.clusters, grid)
    known = golden[log][f"tuned_{FAMILIES[name][0]}_{how}"]["lambda_"]
    # A lambda above all weights changes nothing, so several may be one estimate.
    np.testing.assert_array_equal(family.apply(weight, found), family.apply(weight, known))


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


def test_pseudo_inverse(folder: Path, golden: Any) -> None:
    """Its note says that it is not OBP's, but it is the paper's formula, so it must agree."""
    frame = read_feedback(
        folder / "slate_L3_v1.parquet", column_map={"item_id": "action"}, targets=True
    ).head(3 * 5000)
    with np.load(folder / "slate_L3_v1.npz", allow_pickle=False) as arrays:
        logits, marginal = arrays["logits_b"], arrays["item_position_marginal_e"]
    items = logits.shape[1]
    every = np.array(list(itertools.permutations(range(items), 3)))
    strength = np.exp(logits - logits.max(axis=1, keepdims=True))
    chosen = strength[:, every]
    left = strength.sum(axis=1)[:, None, None] - np.cumsum(chosen, axis=2) + chosen
    probability = (chosen / left).prod(axis=2)
    gram = slot_gram(every, probability, items)
    logged = frame["item_id"].to_numpy().reshape(-1, 3)
    weight = pseudo_inverse_weights(logged, marginal.reshape(len(marginal), -1), gram)
    frame["weight_pi"] = np.repeat(weight, 3)
    (found,) = evaluate(frame, ["PI"], interval="delta", rng=np.random.default_rng(0))
    known = golden["slate_L3_v1"]["pi_gram_reference_numpy"]
    assert found.value == pytest.approx(known["value"], rel=1e-8)
    assert found.se == pytest.approx(known["se"], rel=1e-3)


def men_frame(folder: Path, model: str = "") -> pd.DataFrame:
    """The real log: its three slots are three bandits, one item, click and propensity each."""
    with np.load(folder / "obd_men_inputs.npz", allow_pickle=False) as arrays:
        action, position = arrays["action"].astype(int), arrays["position"].astype(int)
        target, q = arrays["bts_action_dist"], arrays[f"q_hat{model}_at_position"]
        reward, pscore = arrays["reward"].astype(float), arrays["pscore"]
    rows = np.arange(len(action))
    return pd.DataFrame(
        {
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


def test_real_bandit_log(folder: Path, golden: Any) -> None:
    assert_equal(men_frame(folder), BANDIT | SHRUNK_NAMES, golden["obd_men"])


def test_real_bandit_log_with_weighted_models(folder: Path, golden: Any) -> None:
    assert_equal(men_frame(folder, "_iw"), {"DM": "dm_iw", "DR": "dr_iw"}, golden["obd_men"])
    mrdr = men_frame(folder, "_mrdr")
    mrdr = mrdr.assign(q_hat_mrdr=mrdr["q_hat"], v_hat_mrdr=mrdr["v_hat"])
    assert_equal(mrdr, {"DM": "dm_mrdr", "MRDR": "dr_mrdr"}, golden["obd_men"])


def test_every_entry_is_matched_or_explained(golden: Any) -> None:
    shrunk = set(SHRUNK_NAMES.values())
    tuned = {
        f"tuned_{ours}_{how}" for ours, _, _ in FAMILIES.values() for how in get_args(Selection)
    }
    bandit = set(BANDIT.values()) | shrunk | tuned
    matched = {
        "bandit_v1": bandit | set(ESTIMATED.values()) | {"b_ipw_given_weights_w_obs"},
        "slate_L3_v1": {*SLATE.values(), *DETERMINISTIC.values(), "cascade_dr"}
        | {"pi_gram_reference_numpy"},
        "obd_men": bandit | {"dm_iw", "dr_iw", "dm_mrdr", "dr_mrdr"},
    }
    for log, names in matched.items():
        assert names | set(NOT_MATCHED[log]) == set(golden[log])


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


#: Two percentile bootstraps of R resamples differ at an end by sqrt(2) * 2.67 / sqrt(R) standard
#: errors (the error of a 2.5 % quantile, twice): three and a half times that, in standard errors.
RESAMPLES = 1000
END_BAND = 3.5 * np.sqrt(2) * 2.67 / np.sqrt(RESAMPLES)


def bootstrapped(frame: pd.DataFrame, names: list[str]) -> list[Estimate]:
    rng = np.random.default_rng(0)
    return evaluate(frame, names, interval="bootstrap", resamples=RESAMPLES, rng=rng)


def test_intervals_of_plain_means(folder: Path, golden: Any) -> None:
    """The reference's resamples are others of the same kind: ends agree to their own noise."""
    slates = read_feedback(
        folder / "slate_L3_v1.parquet", column_map={"item_id": "action"}, targets=True
    )
    logs = (
        (slates, "slate_L3_v1", SLATE, ["SIPS", "IIPS", "RIPS"]),
        (bandit_frame(folder), "bandit_v1", BANDIT, ["IPS", "DM", "DR"]),
    )
    for frame, log, theirs, names in logs:
        for found in bootstrapped(frame, names):
            known = golden[log][theirs[found.estimator]]["ci"]
            band = END_BAND * found.se
            assert (found.low, found.high) == pytest.approx((known["lo"], known["hi"]), abs=band)


def test_intervals_of_self_normalised_estimators_are_narrower_on_purpose(
    folder: Path, golden: Any
) -> None:
    """The reference freezes the normaliser of the whole log, so its intervals are too wide.

    Ours equal a bootstrap that draws slates with replacement and divides by each resample's own
    weights, written out here.
    """
    frame = read_feedback(
        folder / "slate_L3_v1.parquet", column_map={"item_id": "action"}, targets=True
    )
    slates = Slates(frame)
    drawn = np.random.default_rng(1).integers(slates.n, size=(RESAMPLES, slates.n))
    counts = np.stack([np.bincount(row, minlength=slates.n) for row in drawn]).astype(float)
    for found in bootstrapped(frame, ["SNSIPS", "SNIIPS", "SNRIPS"]):
        numerator, denominator = ESTIMATORS[found.estimator].terms(slates)
        values = ((counts @ numerator) / (counts @ denominator)).sum(axis=1)
        ends = np.quantile(values, [0.025, 0.975])
        assert (found.low, found.high) == pytest.approx(ends, abs=END_BAND * found.se)
        known = golden["slate_L3_v1"][SLATE[found.estimator]]["ci"]
        assert known["hi"] - known["lo"] > 1.2 * (found.high - found.low)
