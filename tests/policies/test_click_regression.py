"""Click regression: known answers from logs whose law is known, and learning in a shop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs.errors import UserError
from envs.observation import CLASS_FEATURE, ITEM_FEATURES
from policies.click_regression import (
    ClickLog,
    ClickRegression,
    fit_click_regression,
    impression_weights,
    weighted_log_loss,
)
from policies.page_features import JOINT_FEATURES
from tests.policies.click_logs import DRIVING, bent_log, straight_log


def test_log_loss_by_hand() -> None:
    logit, clicks = np.array([0.0, np.log(3.0)]), np.array([True, False])
    # -log(1/2) and -log(1/4).
    wanted = np.average([np.log(2), np.log(4)], weights=[1, 3])
    assert weighted_log_loss(logit, clicks, np.array([1.0, 3.0])) == pytest.approx(wanted)
    assert np.isfinite(weighted_log_loss(np.array([900.0]), np.array([False]), np.ones(1)))


def test_weights_make_each_slot_a_uniform_draw() -> None:
    """The logger puts the best text on top; in the weighted log no slot holds better texts."""
    log, pages = straight_log(20_000, seed=2), 20_000
    text = log.items[..., ITEM_FEATURES.index("text")]
    plain = text.mean(axis=0)
    assert plain[0] - plain[-1] > 0.1
    weights = impression_weights(log, "click")
    assert weights.mean() == pytest.approx(1)
    means = np.average(text, axis=0, weights=weights)
    # Of a weighted mean: spread of text times the root of the mean squared weight over pages.
    error = text.std() * np.sqrt((weights**2).mean() / pages)
    assert np.abs(means - 0.5).max() < 4 * error


def test_a_click_weighs_what_it_earned() -> None:
    log = straight_log(2_000, seed=3)
    clicks, plain = impression_weights(log, "click"), impression_weights(log, "click")
    worth = impression_weights(log, "reward")
    np.testing.assert_array_equal(worth[~log.clicks], clicks[~log.clicks])
    earned = log.rewards[log.clicks]
    np.testing.assert_allclose(worth[log.clicks], plain[log.clicks] * earned / earned.mean())


def _weight(found: ClickRegression, feature: str) -> float:
    assert found.linear is not None
    return float(found.linear.weights[JOINT_FEATURES.index(f"scene_home:{feature}")])


def _ratio(found: ClickRegression) -> float:
    """Pull of text over push of margin: the penalty shrinks both, which changes no order."""
    return _weight(found, "text") / -_weight(found, "margin")


def test_a_line_is_found_and_chosen() -> None:
    found = fit_click_regression(straight_log(4_000, seed=4))
    assert found.chosen.startswith("logistic")
    assert found.log_loss[found.chosen] == min(found.log_loss.values())
    assert "boosting" in found.log_loss
    # Truth: 3 / 2. Some 1,500 clicks tell each weight, of 0.3 and more of spread, to about 0.12.
    assert _ratio(found) == pytest.approx(1.5, abs=3 * 0.12)
    told = [name for name in ITEM_FEATURES if name not in (*DRIVING, CLASS_FEATURE)]
    others = [_weight(found, name) for name in told]
    assert np.abs(others).max() < 0.5


def test_without_the_slot_good_items_would_get_its_credit() -> None:
    """The log confounds slot and text; what is learned is the text's own pull."""
    # Clicks as rare as in a shop: there slots multiply the odds as they multiply the probability.
    log = straight_log(20_000, seed=5, bias=-3.5, examined=(1.0, 0.4, 0.1))
    right = fit_click_regression(log, kinds=("logistic",))
    blind = fit_click_regression(
        replace(
            log,
            # The same impressions as if each had been a page of one slot, evenly logged.
            context=np.repeat(log.context, log.clicks.shape[1], axis=0),
            items=log.items.reshape(-1, 1, len(ITEM_FEATURES)),
            clicks=log.clicks.reshape(-1, 1),
            rewards=log.rewards.reshape(-1, 1),
            propensity=np.ones((log.clicks.size, 1)),
            sessions=np.repeat(log.sessions, log.clicks.shape[1]),
        ),
        kinds=("logistic",),
    )
    assert abs(_ratio(right) - 1.5) < (_ratio(blind) - 1.5) / 2


def test_a_bend_is_left_to_boosting() -> None:
    found = fit_click_regression(bent_log(1_500, seed=6))
    assert found.chosen == "boosting"
    assert found.linear is None


def test_the_same_log_makes_the_same_regression() -> None:
    log = straight_log(900, seed=7)
    one, two = (fit_click_regression(log, kinds=("logistic",)) for _ in range(2))
    assert one.log_loss == two.log_loss
    assert one.linear is not None
    assert two.linear is not None
    np.testing.assert_array_equal(one.linear.weights, two.linear.weights)


@pytest.mark.parametrize("rate", [0, 1])
def test_a_log_that_says_nothing_is_refused(rate: int) -> None:
    log: ClickLog = straight_log(50, seed=8)
    log = replace(log, clicks=np.full_like(log.clicks, bool(rate)))
    with pytest.raises(UserError, match=r"raise baselines\.log_sessions"):
        fit_click_regression(log)
