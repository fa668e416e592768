"""Exact expectations by enumeration, and the laws by which estimators reduce to each other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from envs.errors import UserError
from experiments.ope import estimators
from experiments.ope.evaluate import evaluate
from experiments.ope.intervals import point
from experiments.ope.registry import ESTIMATORS
from experiments.ope.slates import Slates
from tests.ope.plackett_luce_world import (
    LOGGING,
    SLATES,
    SLOTS,
    TARGET,
    cascade,
    log_of_all,
    sample_log,
    truth,
)

SHAPE = SLATES.shape


def table(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


def any_reward() -> np.ndarray:
    """Every slate has rewards of its own: a click may depend on the items below."""
    return table(1, *SHAPE)


def cascade_reward() -> np.ndarray:
    """The first click depends on the first item, the second on both."""
    return np.stack([table(2, 4)[SLATES[:, 0]], table(3, len(SLATES))], axis=1)


def item_reward() -> np.ndarray:
    """A click depends on the item and where it stands."""
    return table(4, 4, SLOTS)[SLATES, np.arange(SLOTS)]


def target_mean(q: np.ndarray) -> np.ndarray:
    """E_target[q at each position], the same for every slate, ``(12, 2)``."""
    return np.broadcast_to(cascade(TARGET)[:, -1] @ q, SHAPE)


def given_above(q: np.ndarray) -> np.ndarray:
    """E_target[q at a position | the logged items above], ``(12, 2)``."""
    stages = cascade(TARGET)
    alike = SLATES[:, :1] == SLATES[:, 0]
    second = (alike * (stages[:, 1] / stages[:, 0] * q[:, 1])).sum(axis=1)
    return np.stack([target_mean(q)[:, 0], second], axis=1)


def expectation(name: str, frame: pd.DataFrame) -> float:
    """E over the logging policy of an estimator that is a plain mean: every slate, weighted."""
    terms = ESTIMATORS[name].terms(Slates(frame))
    assert np.all(terms.denominator == 1)
    return float(cascade(LOGGING)[:, -1] @ terms.numerator.sum(axis=1))


@pytest.mark.parametrize("name", ["SIPS", "DR"])
@pytest.mark.parametrize("reward", [any_reward(), cascade_reward(), item_reward()])
def test_slate_weights_are_unbiased_whatever_the_reward(name: str, reward: np.ndarray) -> None:
    q = table(5, *SHAPE)
    frame = log_of_all(reward, q_hat=q, v_hat=target_mean(q))
    assert expectation(name, frame) == pytest.approx(truth(reward), abs=1e-12)


@pytest.mark.parametrize("name", ["RIPS", "CascadeDR"])
@pytest.mark.parametrize("reward", [cascade_reward(), item_reward()])
def test_cascade_weights_are_unbiased_under_a_cascade(name: str, reward: np.ndarray) -> None:
    # A wrong model, but a lawful one: its prediction looks only at the items above.
    q = np.stack([table(6, 4)[SLATES[:, 0]], table(7, len(SLATES))], axis=1)
    frame = log_of_all(reward, q_hat=q, v_hat=target_mean(q))
    assert expectation(name, frame) == pytest.approx(truth(reward), abs=1e-12)


def test_item_position_weights_are_unbiased_for_separate_items_only() -> None:
    assert expectation("IIPS", log_of_all(item_reward())) == pytest.approx(
        truth(item_reward()), abs=1e-12
    )
    bias = expectation("IIPS", log_of_all(any_reward())) - truth(any_reward())
    assert abs(bias) > 1e-3


def test_cascade_dr_of_rewards_to_go_is_unbiased_with_any_model() -> None:
    reward = cascade_reward()
    q = np.stack([table(8, 4)[SLATES[:, 0]], table(9, len(SLATES))], axis=1)
    frame = log_of_all(reward, q_hat_cascade=q, v_hat_cascade=given_above(q))
    assert expectation("CascadeDR", frame) == pytest.approx(truth(reward), abs=1e-12)


def test_both_forms_of_cascade_dr_agree_slate_by_slate() -> None:
    """With Q_l = q_l + V_{l+1} the sum of Kiyohara et al. telescopes to the immediate form."""
    q = np.stack([table(10, 4)[SLATES[:, 0]], table(11, len(SLATES))], axis=1)
    v_second = given_above(q)[:, 1]
    q_to_go = np.stack([q[:, 0] + v_second, q[:, 1]], axis=1)
    v_to_go = given_above(q_to_go)
    weight = cascade(TARGET) / cascade(LOGGING)
    reward = any_reward()
    immediate = estimators.doubly_robust(reward, weight, q, target_mean(q))
    to_go = estimators.cascade_doubly_robust(reward, weight, q_to_go, v_to_go)
    np.testing.assert_allclose(to_go.numerator, immediate.numerator, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("robust", "weighted"), [("DR", "SIPS"), ("CascadeDR", "RIPS")])
def test_a_zero_model_leaves_importance_sampling(robust: str, weighted: str) -> None:
    zero = np.zeros(SHAPE)
    frame = log_of_all(any_reward(), q_hat=zero, v_hat=zero)
    values = value_of(frame, robust, weighted)
    assert values[robust] == pytest.approx(values[weighted], rel=1e-12)


def test_a_zero_model_leaves_self_normalised_importance_sampling() -> None:
    zero = np.zeros(SHAPE)
    values = value_of(log_of_all(any_reward(), q_hat=zero, v_hat=zero), "SNDR", "SNSIPS")
    assert values["SNDR"] == pytest.approx(values["SNSIPS"], rel=1e-12)


def test_a_perfect_model_makes_dr_the_direct_method() -> None:
    reward = any_reward()
    frame = log_of_all(reward, q_hat=reward, v_hat=target_mean(reward))
    values = value_of(frame, "DM", "DR", "SNDR", "CascadeDR")
    assert values == pytest.approx(dict.fromkeys(values, truth(reward)), rel=1e-12)


def test_the_target_being_the_logging_policy_gives_the_mean() -> None:
    model = table(12, *SHAPE)
    frame = log_of_all(any_reward(), q_hat=model, v_hat=model)
    for column in ("pscore", "pscore_cascade", "pscore_item_position"):
        frame[f"eval_{column}"] = frame[column]
    mean = frame["reward"].sum() / len(SLATES)
    names = ["SIPS", "IIPS", "RIPS", "SNSIPS", "SNIIPS", "SNRIPS", "BetaIPS", "BetaRIPS", "AIPS"]
    names += ["DR", "SNDR", "CascadeDR", "ClippedIPS@1", "SwitchDR@1", "SGIPS@0.5", "SGDR@1"]
    values = value_of(frame, *names)
    assert values == pytest.approx(dict.fromkeys(names, mean), rel=1e-12)


def test_a_slate_of_one_is_a_bandit() -> None:
    weight = table(13, 50) / table(14, 50)
    reward, q, v = table(15, 50), table(16, 50), table(17, 50)
    scale = 1 / weight.max()
    frame = pd.DataFrame(
        {
            "slate_id": np.arange(50),
            "position": 0,
            "item_id": 0,
            "reward": reward,
            "pscore": scale,
            "eval_pscore": scale * weight,
            "q_hat": q,
            "v_hat": v,
        }
    )
    ips = np.mean(weight * reward)
    snips = np.sum(weight * reward) / np.sum(weight)
    dr = np.mean(v + weight * (reward - q))
    sndr = np.mean(v) + np.sum(weight * (reward - q)) / np.sum(weight)
    known = {"DM": np.mean(v), "DR": dr, "SNDR": sndr, "CascadeDR": dr}
    known |= dict.fromkeys(["IPS", "SIPS", "IIPS", "RIPS"], ips)
    known |= dict.fromkeys(["SNIPS", "SNSIPS", "SNIIPS", "SNRIPS"], snips)
    known["AIPS"] = ips
    known |= dict.fromkeys(["ClippedIPS@inf", "SGIPS@0", "FactoredPI"], ips)
    known |= dict.fromkeys(["ClippedDR@inf", "SwitchDR@inf", "DRos@inf", "SGDR@0"], dr)
    known |= dict.fromkeys(["SwitchDR@0", "DRos@0", "ClippedDR@0"], np.mean(v))
    assert value_of(frame, *known) == pytest.approx(known, rel=1e-12)


@pytest.mark.parametrize("name", ["SNIPS", "SNSIPS", "SNIIPS", "SNRIPS", "SNDR"])
def test_a_constant_reward_is_exact_when_self_normalised(name: str) -> None:
    zero = np.zeros(SHAPE)
    frame = log_of_all(np.full(SHAPE, 0.3), q_hat=zero, v_hat=zero)
    (estimate,) = evaluate(frame, [name], rng=np.random.default_rng(0))
    # A normaliser frozen over the resamples would give this interval a width.
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.6,) * 3, rel=1e-12)


def test_slates_of_unequal_length_by_hand() -> None:
    frame = pd.DataFrame(
        {
            "slate_id": ["a", "a", "b"],
            "position": [0, 1, 0],
            "item_id": [1, 2, 1],
            "reward": [1.0, 2.0, 4.0],
            "pscore": [0.2, 0.2, 0.5],
            "pscore_cascade": [0.4, 0.2, 0.5],
            "pscore_item_position": [0.4, 0.5, 0.5],
            "eval_pscore": [0.1, 0.1, 0.25],
            "eval_pscore_cascade": [0.8, 0.1, 0.25],
            "eval_pscore_item_position": [0.8, 0.25, 0.25],
        }
    )
    values = value_of(frame, "SIPS", "RIPS", "IIPS", "SNSIPS", "SNIIPS")
    assert values["SIPS"] == pytest.approx((0.5 * 3 + 0.5 * 4) / 2)
    assert values["RIPS"] == pytest.approx((2 * 1 + 0.5 * 2 + 0.5 * 4) / 2)
    assert values["IIPS"] == pytest.approx((2 * 1 + 0.5 * 2 + 0.5 * 4) / 2)
    assert values["SNSIPS"] == pytest.approx((0.5 * 3 + 0.5 * 4) / (0.5 + 0.5))
    # The position that slate b lacks is a sure choice: weight 1, no reward.
    assert values["SNIIPS"] == pytest.approx((2 * 1 + 0.5 * 4) / 2.5 + 0.5 * 2 / 1.5)


def test_the_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(18)
    frame = sample_log(200, any_reward(), rng)
    names = ["SIPS", "IIPS", "RIPS", "SNRIPS"]
    shuffled = frame.sample(frac=1, random_state=rng)
    assert value_of(shuffled, *names) == pytest.approx(value_of(frame, *names), rel=1e-12)


def test_a_ratio_without_any_weight_is_undefined_not_zero() -> None:
    nothing = np.zeros((3, 1))
    assert np.isnan(point(estimators.self_normalised(np.ones((3, 1)), nothing)))


def value_of(frame: pd.DataFrame, *names: str) -> dict[str, float]:
    found = evaluate(frame, names, interval="delta", rng=np.random.default_rng(0))
    return {estimate.estimator: estimate.value for estimate in found}


def test_columns_that_no_rule_of_the_log_covers_are_checked() -> None:
    frame = log_of_all(any_reward()).assign(pscore_embedding=0.5, eval_pscore_embedding=0.5)
    assert value_of(frame, "MIPS")["MIPS"] == pytest.approx(frame["reward"].sum() / len(SLATES))
    for column, bad, message in [
        ("pscore_embedding", 0.0, "'pscore_embedding' must hold positive numbers"),
        ("eval_pscore_embedding", -0.1, "its eval_ numbers from 0 on"),
        ("weight_pi", np.nan, "'weight_pi' must hold finite numbers"),
        ("v_hat_mrdr", np.inf, "'v_hat_mrdr' must hold a finite number"),
    ]:
        broken = frame.assign(weight_pi=1.0, q_hat_mrdr=0.0, v_hat_mrdr=0.0)
        broken.loc[3, column] = bad
        name = {"w": "PI", "v": "MRDR"}.get(column[0], "MIPS")
        with pytest.raises(UserError, match=message):
            value_of(broken, name)


def test_positions_that_a_slate_lacks_are_sure_choices_of_reasons_too() -> None:
    """Slate a has two positions; at b's missing one nothing was chosen, so its weight goes on."""
    frame = pd.DataFrame(
        {
            "slate_id": ["a", "a", "b"],
            "position": [0, 1, 0],
            "item_id": 0,
            "reward": 1.0,
            "pscore": 0.5,
            "eval_pscore": 0.5,
            "pscore_cascade": 0.5,
            "eval_pscore_cascade": 0.5,
            "pscore_reason": [0.5, 0.2, 0.4],
            "eval_pscore_reason": [0.25, 0.4, 0.2],
        }
    )
    weight = Slates(frame).weight("pscore_cascade*pscore_reason")
    np.testing.assert_allclose(weight, [[0.5, 1.0], [0.5, 0.5]])
