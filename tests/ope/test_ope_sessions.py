"""Estimators of whole sessions: exact expectations, reductions, known values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from envs.errors import UserError
from experiments.ope.evaluate import evaluate
from experiments.ope.fitted_q import fit_session_model
from experiments.ope.intervals import point
from experiments.ope.registry import ESTIMATORS
from experiments.ope.session_estimators import magic, smallest_quadratic
from experiments.ope.sessions import Sessions
from experiments.ope.slates import Slates
from experiments.ope.state_density import marginalised
from tests.ope import session_world as world

WRONG = np.random.default_rng(0).random((world.STEPS, world.STATES, world.ACTIONS)) * 3


def values_of(frame: pd.DataFrame, *names: str) -> dict[str, float]:
    slates = Slates(frame)
    return {name: point(ESTIMATORS[name].terms(slates)) for name in names}


@pytest.mark.parametrize("name", ["TIS", "PDIS", "SDR"])
def test_the_expectation_over_all_sessions_is_the_truth(name: str) -> None:
    frame, probability = world.log_of_all()
    assert probability.sum() == pytest.approx(1.0)
    frame = world.with_model(frame, WRONG)
    slates = Slates(frame)
    terms = ESTIMATORS[name].terms(slates)
    first = Sessions(slates).first
    assert np.all(np.delete(terms.numerator, first, axis=0) == 0)
    assert probability @ terms.numerator[first, 0] == pytest.approx(world.truth(), abs=1e-12)


def test_unbiased_over_seeds_and_consistent_ones_near() -> None:
    """200 logs of 60 sessions: bias inside 3 standard errors; ratios and MIS have one of order
    1/60, which their own slack allows for."""
    names = ["TIS", "PDIS", "SDR", "SNTIS", "SNPDIS", "SNSDR", "MIS"]
    rng = np.random.default_rng(1)
    found = []
    for _ in range(200):
        frame = world.with_model(world.sample_log(60, rng), world.q_values() + 0.2)
        found.append(list(values_of(frame, *names).values()))
    errors = np.array(found) - world.truth()
    band = 3 * errors.std(axis=0, ddof=1) / np.sqrt(len(errors))
    slack = np.array([0, 0, 0, 1, 1, 1, 1]) / 60
    assert np.all(np.abs(errors.mean(axis=0)) <= band + slack)
    spread = dict(zip(names, errors.std(axis=0)))
    # What each step forward is for.
    assert spread["SDR"] < spread["PDIS"] < spread["TIS"]
    assert spread["MIS"] < spread["PDIS"]


def test_a_perfect_model_is_the_truth_on_every_log() -> None:
    frame = world.sample_log(7, np.random.default_rng(12))
    values = values_of(world.with_model(frame, world.q_values()), "FQE")
    assert values["FQE"] == pytest.approx(world.truth(), rel=1e-12)


def test_a_zero_model_leaves_importance_sampling() -> None:
    frame = world.with_model(world.sample_log(80, np.random.default_rng(2)), 0 * WRONG)
    values = values_of(frame, "PDIS", "SDR", "SNPDIS", "SNSDR")
    assert values["SDR"] == pytest.approx(values["PDIS"], rel=1e-12)
    assert values["SNSDR"] == pytest.approx(values["SNPDIS"], rel=1e-12)


def test_a_session_of_one_step_is_a_bandit() -> None:
    frame = world.sample_log(150, np.random.default_rng(3))
    frame = frame[frame["step"] == 0].drop(columns="step")
    frame = frame.assign(q_hat=0.3, v_hat=0.4, q_hat_session=0.3, v_hat_session=0.4)
    values = values_of(
        frame, "IPS", "TIS", "PDIS", "MIS", "SNIPS", "SNTIS", "SNPDIS", "DR", "SDR", "SNDR",
        "SNSDR", "DM", "FQE",
    )  # fmt: skip
    for names in (["IPS", "TIS", "PDIS", "MIS"], ["SNIPS", "SNTIS", "SNPDIS"], ["DR", "SDR"],
                  ["SNDR", "SNSDR"], ["DM", "FQE"]):  # fmt: skip
        assert [values[name] for name in names] == pytest.approx(
            [values[names[0]]] * len(names), rel=1e-12
        )


def test_a_state_that_remembers_everything_makes_mis_pdis() -> None:
    """All sessions of one past carry the same weight, so its mean is that weight."""
    frame = world.sample_log(300, np.random.default_rng(4))
    past = frame.groupby("session_id")["item_id"].transform(
        lambda actions: [str(actions.tolist()[:t]) for t in range(len(actions))]
    )
    visited = frame.groupby("session_id")["state"].transform(
        lambda states: [str(states.tolist()[: t + 1]) for t in range(len(states))]
    )
    values = values_of(frame.assign(state=visited + past), "MIS", "PDIS")
    assert values["MIS"] == pytest.approx(values["PDIS"], rel=1e-12)


def test_the_target_being_the_logging_policy_gives_the_mean_per_session() -> None:
    frame = world.sample_log(50, np.random.default_rng(5))
    frame["eval_pscore"] = frame["pscore"]
    names = ["TIS", "PDIS", "SNTIS", "SNPDIS", "MIS"]
    mean = frame["reward"].sum() / 50
    assert values_of(frame, *names) == pytest.approx(dict.fromkeys(names, mean), rel=1e-12)


def test_two_sessions_by_hand() -> None:
    """Session a: weights 2 then 1/2, rewards 1 then 3. Session b: weight 1/2, reward 4."""
    frame = pd.DataFrame(
        {
            "slate_id": [0, 1, 2],
            "session_id": ["a", "b", "a"],
            "step": [1, 0, 0],
            "position": 0,
            "item_id": 0,
            "reward": [3.0, 4.0, 1.0],
            "pscore": [0.8, 0.8, 0.4],
            "eval_pscore": [0.4, 0.4, 0.8],
            "q_hat_session": [2.0, 3.0, 1.5],
            "v_hat_session": [1.0, 2.0, 0.5],
        }
    )
    values = values_of(frame, "TIS", "PDIS", "SNTIS", "SNPDIS", "SDR", "FQE")
    assert values["TIS"] == pytest.approx((1 * 4 + 0.5 * 4) / 2)
    assert values["PDIS"] == pytest.approx((2 * 1 + 1 * 3 + 0.5 * 4) / 2)
    assert values["SNTIS"] == pytest.approx((1 * 4 + 0.5 * 4) / 1.5)
    # The second step: session b has ended, earns nothing and keeps its weight of 1/2.
    assert values["SNPDIS"] == pytest.approx((2 * 1 + 0.5 * 4) / 2.5 + 3 / 1.5)
    of_a = 0.5 + 2 * (1 - 1.5) + 2 * 1.0 + 1 * (3 - 2)
    assert values["SDR"] == pytest.approx((of_a + 2 + 0.5 * (4 - 3)) / 2)
    assert values["FQE"] == pytest.approx((0.5 + 2.0) / 2)


def test_intervals_of_sessions_resample_sessions() -> None:
    """The standard error is that of the mean over sessions, though rows are slates."""
    frame = world.sample_log(400, np.random.default_rng(6))
    (estimate,) = evaluate(frame, ["PDIS"], interval="delta", rng=np.random.default_rng(0))
    log = Sessions(Slates(frame))
    returns = (log.cumulative * log.reward).sum(axis=1)
    assert estimate.value == pytest.approx(returns.mean(), rel=1e-12)
    assert estimate.se == pytest.approx(returns.std(ddof=1) / np.sqrt(400), rel=1e-9)


def test_the_weights_of_sessions_expect_one_at_every_step() -> None:
    """Each policy goes somewhere, and a session that has ended stays."""
    log = Sessions(Slates(world.sample_log(400, np.random.default_rng(13))))
    for name in ("TIS", "PDIS", "SDR"):
        weigh = ESTIMATORS[name].session_weights
        assert weigh is not None
        weight = weigh(log)
        band = 3 * weight.std(axis=0) / np.sqrt(400)
        assert np.all(np.abs(weight.mean(axis=0) - 1) < band)
    np.testing.assert_array_equal(weight[:, -1], log.weight.prod(axis=1))


def test_magic_believes_a_good_model_and_leaves_a_bad_one() -> None:
    rng = np.random.default_rng(7)
    # Few sessions, a perfect model: the weights are the noisier part.
    few = world.sample_log(40, rng)
    good = values_of(world.with_model(few, world.q_values()), "MAGIC", "FQE", "SNSDR")
    assert abs(good["MAGIC"] - world.truth()) <= abs(good["SNSDR"] - world.truth()) + 1e-12
    # Many sessions, a model that is off by 5 a session: the model's own bias rules it out.
    many = world.with_model(world.sample_log(3000, rng), world.q_values() + 5)
    bad = values_of(many, "MAGIC", "FQE", "SNSDR")
    assert bad["FQE"] == pytest.approx(world.truth() + 5)
    assert abs(bad["MAGIC"] - bad["SNSDR"]) < 0.01 * 5


def test_magic_of_one_step_lies_between_model_and_weights() -> None:
    reward, weight = np.array([[1.0], [0.0], [1.0]]), np.array([[2.0], [0.5], [1.0]])
    q, v = np.full((3, 1), 0.2), np.full((3, 1), 0.3)
    model, weighted = 0.3, 0.3 + (2 * 0.8 - 0.5 * 0.2 + 0.8) / 3.5
    assert min(model, weighted) <= point(magic(reward, weight, q, v)) <= max(model, weighted)


def test_the_smallest_quadratic_by_hand() -> None:
    # 3 x^2 + (1 - x)^2 is least at x = 1/4.
    found = smallest_quadratic(np.diag([3.0, 1.0]))
    np.testing.assert_allclose(found, [0.25, 0.75], atol=1e-6)
    # With x = 1 - y it is 1 + 2 y + 2 y^2, which is least at the border, y = 0.
    np.testing.assert_allclose(
        smallest_quadratic(np.array([[1.0, 2.0], [2.0, 5.0]])), [1.0, 0.0], atol=1e-6
    )


def one_hot(step: np.ndarray, state: np.ndarray, action: np.ndarray) -> np.ndarray:
    cells = (step * world.STATES + state) * world.ACTIONS + action
    return np.eye(world.STEPS * world.STATES * world.ACTIONS)[cells]


def test_fitted_q_finds_the_recursion() -> None:
    """Rewards are their means here, so only the transitions are noise in the fitted Q."""
    frame = world.sample_log(6000, np.random.default_rng(8))
    step, state, action = (frame[c].to_numpy() for c in ("step", "state", "item_id"))
    target = sum(
        TARGET_a[:, None] * one_hot(step, state, np.full_like(step, a))
        for a, TARGET_a in enumerate(world.TARGET[state].T)
    )
    assert isinstance(target, np.ndarray)
    found = fit_session_model(
        one_hot(step, state, action), target, world.REWARD[state, action],
        frame["session_id"].to_numpy(), step, rng=np.random.default_rng(9), ridge=1e-9,
    )  # fmt: skip
    # A mean of the reward to go (at most 2 from its mean) over a third of the sessions held out.
    first = step == 0
    known = world.q_values()[0, 0][action[first]]
    band = 3 * 2 / np.sqrt(6000 * 2 / 3 * world.LOGGING[0].min())
    np.testing.assert_allclose(found.q[first], known, atol=band)
    values = values_of(frame.assign(**found.columns(1)), "FQE", "SDR")
    assert values["FQE"] == pytest.approx(world.truth(), abs=band)


def test_fitted_q_is_exact_without_noise() -> None:
    """Each session: 3 steps in one state, reward the action, target always takes action 1."""
    rng = np.random.default_rng(10)
    step = np.tile(np.arange(3), 50)
    action = rng.integers(0, 2, size=150)
    features = np.column_stack([np.eye(3)[step], action])
    target = np.column_stack([np.eye(3)[step], np.ones(150)])
    found = fit_session_model(
        features, target, action.astype(float), np.repeat(np.arange(50), 3), step,
        rng=rng, ridge=1e-10,
    )  # fmt: skip
    np.testing.assert_allclose(found.v, 3 - step, atol=1e-5)
    np.testing.assert_allclose(found.q, action + 2 - step, atol=1e-5)


def test_the_marginal_weights_by_hand() -> None:
    """Two sessions meet in state 1 with weights 2 and 1/2: there both count 1.25."""
    state = np.array([[0, 1], [0, 1], [0, -1]])
    weight = np.array([[2.0, 3.0], [0.5, 1.0], [0.5, 1.0]])
    reward = np.array([[1.0, 1.0], [0.0, 2.0], [4.0, 0.0]])
    terms = marginalised(reward, weight, state)
    np.testing.assert_allclose(terms.numerator[:, 0], [2 + 1.25 * 3, 1.25 * 2, 2.0])


def test_refusals() -> None:
    frame = world.sample_log(5, np.random.default_rng(11))
    with pytest.raises(UserError, match="'step' has 0 twice"):
        values_of(frame.assign(step=0, session_id=1), "PDIS")
    with pytest.raises(UserError, match="estimator SDR needs column 'q_hat_session'"):
        evaluate(frame, ["SDR"], rng=np.random.default_rng(0))
    with pytest.raises(UserError, match=r"target features \(S, F\)"):
        fit_session_model(
            np.ones((4, 2)), np.ones((4, 3)), np.ones(4), np.arange(4), np.zeros(4, int),
            rng=np.random.default_rng(0),
        )  # fmt: skip
