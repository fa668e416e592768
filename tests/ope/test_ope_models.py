"""The reward model: it recovers what it can express and never sees what it predicts."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

from envs.errors import UserError
from experiments.ope.cross_fitting import cross_fit
from experiments.ope.models import fit_slate_model


def rewards_of(features: np.ndarray) -> np.ndarray:
    """Linear in the item, its position and the mean of the items above: (..., k, 2) to (..., k)."""
    k = features.shape[-2]
    above = np.stack(
        [
            features[..., :l, 0].mean(axis=-1) if l else np.zeros(features.shape[:-2])
            for l in range(k)  # noqa: E741
        ],
        axis=-1,
    )
    return features @ np.array([0.7, -0.2]) - 0.5 * above + np.array([1.0, 0.6, 0.1])


def test_it_recovers_a_reward_it_can_express() -> None:
    rng = np.random.default_rng(0)
    logged, target = rng.random((120, 3, 2)), rng.random((120, 5, 3, 2))
    predictions = fit_slate_model(
        logged, rewards_of(logged), target, np.arange(120), rng=rng, regressor=Ridge(alpha=1e-9)
    )
    np.testing.assert_allclose(predictions.q_logged, rewards_of(logged), atol=1e-6)
    np.testing.assert_allclose(predictions.v_position, rewards_of(target).mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(
        predictions.v_target, rewards_of(target).mean(axis=1).sum(axis=1), atol=1e-6
    )


def test_no_session_is_predicted_by_a_model_that_saw_it() -> None:
    """Both slates of a session are alike; a memorising model would repeat the reward exactly."""
    rng = np.random.default_rng(1)
    features = np.repeat(rng.random((30, 2, 3)), 2, axis=0)
    rewards = np.repeat(rng.random((30, 2)), 2, axis=0)
    sessions = np.repeat(np.array([f"s{i}" for i in range(30)]), 2)
    memory = KNeighborsRegressor(n_neighbors=1)
    predictions = fit_slate_model(
        features, rewards, features[:, None], sessions, rng=rng, regressor=memory
    )
    assert not np.isclose(predictions.q_logged, rewards).any()
    # The only target slate is the logged one, so both are predicted alike.
    np.testing.assert_array_equal(predictions.v_position, predictions.q_logged)


def test_the_default_model_beats_the_mean() -> None:
    rng = np.random.default_rng(2)
    logged = rng.random((400, 3, 2))
    rewards = rewards_of(logged) + 0.1 * rng.normal(size=(400, 3))
    predictions = fit_slate_model(logged, rewards, logged[:, None], np.arange(400), rng=rng)
    error = np.mean((predictions.q_logged - rewards) ** 2)
    assert error < 0.5 * rewards.var()


def test_columns_are_in_the_order_of_a_sorted_log() -> None:
    rng = np.random.default_rng(3)
    logged = rng.random((12, 3, 2))
    predictions = fit_slate_model(
        logged, rewards_of(logged), logged[:, None], np.arange(12), rng=rng, regressor=Ridge()
    )
    columns = predictions.columns()
    assert columns["q_hat"][4] == predictions.q_logged[1, 1]
    assert columns["v_hat"][5] == predictions.v_position[1, 2]


def test_refusals() -> None:
    rng = np.random.default_rng(4)
    features, rewards = rng.random((6, 3, 2)), rng.random((6, 3))
    with pytest.raises(UserError, match=r"target features \(S, M, k, F\)"):
        fit_slate_model(features, rewards, features, np.arange(6), rng=rng)
    with pytest.raises(UserError, match=r"as many as there are sessions \(1\), but folds is 3"):
        fit_slate_model(features, rewards, features[:, None], np.zeros(6), rng=rng)


@pytest.mark.parametrize("learner", ["logistic", "boosting_classifier"])
def test_classifiers_predict_probabilities(learner: str) -> None:
    rng = np.random.default_rng(5)
    feature = rng.integers(0, 2, size=(3000, 1)).astype(float)
    clicks = (rng.random(3000) < np.where(feature[:, 0] == 1, 0.8, 0.3)).astype(float)
    asked = np.repeat([[0.0], [1.0]], 1500, axis=0)
    (found,) = cross_fit(feature, clicks, np.arange(3000), [asked], rng=rng, learner=learner)
    band = 4 * 0.5 / np.sqrt(1000)
    np.testing.assert_allclose(found, np.where(asked[:, 0] == 1, 0.8, 0.3), atol=band)
    with pytest.raises(UserError, match="needs outcomes of 0 and 1"):
        cross_fit(feature, clicks * 2, np.arange(3000), [asked], rng=rng, learner=learner)


def test_a_classifier_without_any_click_predicts_none() -> None:
    rng = np.random.default_rng(6)
    features = rng.random((30, 2))
    (found,) = cross_fit(
        features, np.zeros(30), np.arange(30), [features], rng=rng, learner="logistic"
    )
    np.testing.assert_array_equal(found, 0.0)


def test_weights_of_rows_count_in_the_fit() -> None:
    """Half of the rows say 0, half 1, and these weigh three times as much."""
    rng = np.random.default_rng(7)
    outcome = np.tile([0.0, 1.0], 300)
    (found,) = cross_fit(
        np.zeros((600, 1)), outcome, np.repeat(np.arange(300), 2), [np.zeros((600, 1))],
        rng=rng, learner="ridge", sample_weight=1 + 2 * outcome,
    )  # fmt: skip
    np.testing.assert_allclose(found, 0.75, atol=1e-9)
