"""Bandit estimators: shrunk weights, lambda, control variates, embeddings, learned weights."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from envs.errors import UserError
from experiments.ope import shrinkage
from experiments.ope.action_models import Fitting, fit_action_model, fitting_weights
from experiments.ope.balanced import balanced_weights
from experiments.ope.embeddings import (
    choose_dimensions,
    cluster_probability,
    embedding_probability,
    factored_embedding,
    regressed_weights,
)
from experiments.ope.evaluate import evaluate
from experiments.ope.intervals import point
from experiments.ope.registry import ESTIMATORS
from experiments.ope.slates import Slates
from experiments.ope.tuning import Selection, bias_bound, choose_lambda, slope
from tests.ope import bandit_world as world

WRONG = np.random.default_rng(0).random((world.CONTEXTS, world.ACTIONS))


def values_of(frame: pd.DataFrame, *names: str) -> dict[str, float]:
    slates = Slates(frame)
    return {name: point(ESTIMATORS[name].terms(slates)) for name in names}


def expectation(name: str, frame: pd.DataFrame, probability: np.ndarray) -> float:
    terms = ESTIMATORS[name].terms(Slates(frame))
    assert np.all(terms.denominator == 1)
    return float(probability @ terms.numerator.sum(axis=1))


# Exact expectations


@pytest.mark.parametrize("name", ["IPS", "DR", "MRDR", "ClippedIPS@inf", "SwitchDR@inf", "SGIPS@0"])
def test_unbiased_by_enumeration(name: str) -> None:
    frame, probability = world.log_of_all(world.BY_ACTION)
    frame = world.with_model(world.with_model(frame, WRONG), 2 * WRONG, "_mrdr")
    assert expectation(name, frame, probability) == pytest.approx(world.truth(world.BY_ACTION))


def test_mips_is_unbiased_where_the_cluster_is_all_that_matters() -> None:
    for expected, unbiased in [(world.BY_CLUSTER, True), (world.BY_ACTION, False)]:
        frame, probability = world.log_of_all(expected)
        frame["pscore_embedding"] = frame["pscore_cluster"]
        frame["eval_pscore_embedding"] = frame["eval_pscore_cluster"]
        error = expectation("MIPS", frame, probability) - world.truth(expected)
        assert (abs(error) < 1e-12) == unbiased


def test_offcem_needs_only_the_differences_inside_a_cluster() -> None:
    frame, probability = world.log_of_all(world.BY_ACTION)
    off_by_cluster = world.BY_ACTION + np.array([0.5, -2.0, 1.0])[world.CLUSTER]
    good = world.with_model(frame, off_by_cluster)
    assert expectation("OffCEM", good, probability) == pytest.approx(world.truth(world.BY_ACTION))
    bad = world.with_model(frame, WRONG)
    bias = expectation("OffCEM", bad, probability) - world.truth(world.BY_ACTION)
    assert abs(bias) > 1e-3


def test_unbiased_over_seeds() -> None:
    """300 logs of 100 rows: each mean error inside 3 of its standard errors; the control variate,
    whose coefficient is fitted, within 1/100 more."""
    names = ["IPS", "DR", "MRDR", "MIPS", "OffCEM", "BetaIPS"]
    rng, found = np.random.default_rng(1), []
    for _ in range(300):
        frame = world.with_model(world.sample_log(100, world.BY_CLUSTER, rng), WRONG)
        frame = world.with_model(frame, world.BY_CLUSTER, "_mrdr")
        frame["pscore_embedding"] = frame["pscore_cluster"]
        frame["eval_pscore_embedding"] = frame["eval_pscore_cluster"]
        # Within clusters the rewards are alike, so OffCEM's model must be alike there too.
        alike = WRONG[:, [0, 0, 2, 2, 4, 4]]
        values = values_of(frame, *names)
        values["OffCEM"] = values_of(world.with_model(frame, alike), "OffCEM")["OffCEM"]
        found.append(list(values.values()))
    errors = np.array(found) - world.truth(world.BY_CLUSTER)
    band = 3 * errors.std(axis=0, ddof=1) / np.sqrt(len(errors))
    slack = np.array([0, 0, 0, 0, 0, 1]) / 100
    assert np.all(np.abs(errors.mean(axis=0)) <= band + slack)
    spread = dict(zip(names, errors.std(axis=0)))
    # Coarser weights, a good model and a control variate each pay.
    assert spread["MIPS"] < spread["IPS"]
    assert spread["MRDR"] < spread["DR"]
    assert spread["BetaIPS"] < spread["IPS"]


# Reductions


def test_an_identity_embedding_is_the_action() -> None:
    rng = np.random.default_rng(2)
    frame = world.sample_log(50, world.BY_ACTION, rng)
    context, action = frame["context"].to_numpy(), frame["item_id"].to_numpy()
    given = np.eye(world.ACTIONS)[:, action].T
    frame["pscore_embedding"] = embedding_probability(world.LOGGING[context], given)
    frame["eval_pscore_embedding"] = embedding_probability(world.TARGET[context], given)
    singles = np.arange(world.ACTIONS)
    for prefix, policy in (("", world.LOGGING), ("eval_", world.TARGET)):
        frame[f"{prefix}pscore_cluster"] = cluster_probability(policy[context], singles, action)
    frame = world.with_model(frame, WRONG)
    values = values_of(frame, "IPS", "MIPS", "SNIPS", "SNMIPS", "DR", "OffCEM")
    assert values["MIPS"] == pytest.approx(values["IPS"], rel=1e-12)
    assert values["SNMIPS"] == pytest.approx(values["SNIPS"], rel=1e-12)
    assert values["OffCEM"] == pytest.approx(values["DR"], rel=1e-12)


def test_a_zero_model_turns_doubly_robust_into_weighting() -> None:
    frame = world.sample_log(60, world.BY_ACTION, np.random.default_rng(3))
    frame = world.with_model(world.with_model(frame, 0 * WRONG), 0 * WRONG, "_mrdr")
    pairs = {"DR": "IPS", "MRDR": "IPS", "ClippedDR@2": "ClippedIPS@2", "SGDR@0.3": "SGIPS@0.3"}
    values = values_of(frame, *pairs, *pairs.values())
    for robust, weighted in pairs.items():
        assert values[robust] == pytest.approx(values[weighted], rel=1e-12)


def test_shrunk_weights_by_hand() -> None:
    weight = np.array([0.0, 1.0, 4.0])
    np.testing.assert_allclose(shrinkage.clip(weight, 2.0), [0, 1, 2])
    np.testing.assert_allclose(shrinkage.switch(weight, 1.0), [0, 1, 0])
    np.testing.assert_allclose(shrinkage.optimistic(weight, 4.0), [0, 4 / 5, 16 / 20])
    np.testing.assert_allclose(shrinkage.harmonic(weight, 0.5), [0, 1, 4 / 2.5])
    for family in (shrinkage.CLIP, shrinkage.SWITCH, shrinkage.OPTIMISTIC, shrinkage.HARMONIC):
        np.testing.assert_allclose(family.apply(weight, family.grid[0]), weight)
    np.testing.assert_allclose(shrinkage.harmonic(weight, 1.0), [0, 1, 1])
    np.testing.assert_array_equal(shrinkage.optimistic(weight, 0.0), 0 * weight)


def test_a_constant_reward_is_exact_with_a_control_variate() -> None:
    frame = world.sample_log(80, world.BY_ACTION, np.random.default_rng(4)).assign(reward=0.7)
    assert values_of(frame, "BetaIPS")["BetaIPS"] == pytest.approx(0.7, rel=1e-12)


# The choice of lambda


def test_slope_by_hand() -> None:
    # Widths fall from left to right; the third is 3 from the first: 0.5 + 1.449 * 1 < 3.
    assert slope([0.0, 0.5, 3.0, 0.1], [1.0, 0.8, 0.5, 0.1]) == 1
    assert slope([0.0, 0.5, 0.3, 0.1], [1.0, 0.8, 0.5, 0.1]) == 3
    # The order given does not matter, that of the widths does.
    assert slope([0.1, 3.0, 0.5, 0.0], [0.1, 0.5, 0.8, 1.0]) == 2


def test_the_bias_bound_by_hand() -> None:
    weight, shrunk, residual = np.array([1.0, 3.0]), np.array([1.0, 1.0]), np.array([5.0, 1.0])
    log_term = np.log(40) / 2
    known = 1.0 + np.sqrt(2 * 5 * log_term) + 2 * 3 * log_term / 3
    assert bias_bound(residual, weight, shrunk) == pytest.approx(known)


@pytest.mark.parametrize("how", ["mse", "slope"])
def test_weights_that_are_all_one_need_no_shrinking(how: Selection) -> None:
    rng = np.random.default_rng(5)
    found = choose_lambda(
        how, shrinkage.CLIP, rng.random(200), np.ones(200), np.zeros(200), np.arange(200),
    )  # fmt: skip
    assert np.all(shrinkage.CLIP.apply(np.ones(200), found) == 1)


def test_slope_shrinks_where_one_weight_rules_and_keeps_what_is_sure() -> None:
    rng = np.random.default_rng(6)
    reward = rng.random(500)
    heavy = np.ones(500)
    heavy[0] = 200.0
    args = (reward, heavy, np.zeros(500), np.arange(500))
    assert choose_lambda("slope", shrinkage.CLIP, *args) < 200
    # Half of the rows have weight 2 and all of the reward: to clip them is a sure loss.
    weight, earned = np.tile([0.0, 2.0], 5000), np.tile([0.0, 1.0], 5000)
    sure = (earned + 0.01 * rng.normal(size=10000), weight, np.zeros(10000), np.arange(10000))
    assert choose_lambda("slope", shrinkage.CLIP, *sure) >= 2


def test_lambda_in_the_name() -> None:
    frame = world.with_model(world.sample_log(40, world.BY_ACTION, np.random.default_rng(7)), WRONG)
    names = ["DRos@5", "DRos", "DRos@mse", "DRos@slope"]
    found = evaluate(frame, names, interval="delta", rng=np.random.default_rng(0))
    assert [estimate.estimator for estimate in found] == names
    assert found[1].value == found[2].value
    assert "DRos@5" in ESTIMATORS
    assert "DR@5" not in ESTIMATORS
    for wrong, message in [("SGDR@2", "from 0 to 1"), ("DRos@x", "mse, slope; it is 'x'")]:
        with pytest.raises(UserError, match=message):
            evaluate(frame, [wrong], rng=np.random.default_rng(0))


# Replay


def test_replay_of_a_uniform_log_by_hand() -> None:
    frame = pd.DataFrame(
        {
            "slate_id": [0, 1, 2, 3],
            "position": 0,
            "item_id": [0, 1, 0, 1],
            "reward": [1.0, 5.0, 2.0, 7.0],
            "pscore": 0.5,
            "eval_pscore": [1.0, 0.0, 0.0, 1.0],
        }
    )
    assert values_of(frame, "Replay")["Replay"] == pytest.approx((1 + 7) / 2)
    with pytest.raises(UserError, match="Replay needs a deterministic target"):
        values_of(frame.assign(eval_pscore=0.5), "Replay")


# Embeddings


def test_dimensions_are_multiplied_before_actions_are_averaged() -> None:
    """Two actions, two dimensions that always agree: p(e = (0, 1)) is 0, not 1/4."""
    agree = [np.eye(2), np.eye(2)]
    given = factored_embedding(agree, np.array([[0, 1], [1, 1]]))
    np.testing.assert_array_equal(given, [[0, 0], [0, 1]])
    policy = np.full((2, 2), 0.5)
    np.testing.assert_allclose(embedding_probability(policy, given), [0.0, 0.5])


def test_a_dimension_without_any_effect_is_dropped() -> None:
    """The first dimension is the cluster, all that matters; the second tells the actions apart."""
    rng = np.random.default_rng(8)
    frame = world.sample_log(4000, world.BY_CLUSTER, rng)
    context, action = frame["context"].to_numpy(), frame["item_id"].to_numpy()
    tables = [np.eye(3)[world.CLUSTER], np.eye(2)[np.tile([0, 1], 3)]]
    logged = np.column_stack([world.CLUSTER[action], action % 2])
    kept = choose_dimensions(
        tables, logged, world.LOGGING[context], world.TARGET[context], frame["reward"].to_numpy()
    )
    assert kept == [0]
    with pytest.raises(UserError, match="one column a dimension"):
        choose_dimensions(tables, logged[:, :1], world.LOGGING, world.TARGET, np.ones(3))


def test_regressed_weights_are_the_marginal_ones() -> None:
    """The mean of the actions' weights among rows of one context and cluster, out of fold."""
    frame = world.sample_log(6000, world.BY_CLUSTER, np.random.default_rng(9))
    cells = frame["context"].to_numpy() * 3 + world.CLUSTER[frame["item_id"]]
    weight = (frame["eval_pscore"] / frame["pscore"]).to_numpy()
    found = regressed_weights(
        np.eye(9)[cells], weight, np.arange(6000), rng=np.random.default_rng(0), learner="ridge"
    )
    known = (frame["eval_pscore_cluster"] / frame["pscore_cluster"]).to_numpy()
    # A mean over two thirds of the rarest cell's rows, and a ridge of 1 row.
    rarest = np.bincount(cells).min() * 2 / 3
    band = 3 * weight.std() / np.sqrt(rarest) + weight.max() / rarest
    np.testing.assert_allclose(found, known, atol=band)


# Learned weights and models


def test_balanced_weights_are_the_density_ratio() -> None:
    rng = np.random.default_rng(10)
    frame = world.sample_log(6000, world.BY_ACTION, rng)
    context = frame["context"].to_numpy()
    drawn = (rng.random(6000)[:, None] > world.TARGET[context].cumsum(axis=1)).sum(axis=1)

    def cell(action: np.ndarray) -> np.ndarray:
        return np.eye(world.CONTEXTS * world.ACTIONS)[context * world.ACTIONS + action]

    weight = balanced_weights(
        cell(frame["item_id"].to_numpy()), cell(np.minimum(drawn, world.ACTIONS - 1)),
        np.arange(6000), rng=rng,
    )  # fmt: skip
    known = (frame["eval_pscore"] / frame["pscore"]).to_numpy()
    assert np.corrcoef(weight, known)[0, 1] > 0.98
    frame["weight_balanced"] = weight
    (estimate,) = evaluate(frame, ["BalancedIPS"], interval="delta", rng=rng)
    assert abs(estimate.value - world.truth(world.BY_ACTION)) < 3 * estimate.se


def test_the_weights_of_mrdr_by_hand() -> None:
    logged, target = np.array([0.5, 0.2]), np.array([0.1, 0.4])
    np.testing.assert_allclose(fitting_weights("normal", logged, target), 1)
    np.testing.assert_allclose(fitting_weights("iw", logged, target), [0.2, 2.0])
    np.testing.assert_allclose(fitting_weights("mrdr", logged, target), [0.2, 0.4 * 0.8 / 0.04])


def test_of_all_constants_mrdr_fits_the_one_of_least_variance() -> None:
    """A model that knows nothing is a constant c: then DR is w r - c (w - 1) in each row."""
    frame = world.sample_log(3000, world.BY_ACTION, np.random.default_rng(11))
    context, action = frame["context"].to_numpy(), frame["item_id"].to_numpy()
    variances = {}
    kinds: tuple[Fitting, ...] = ("normal", "mrdr")
    for fitting in kinds:
        model = fit_action_model(
            np.zeros((3000, 1)), np.zeros((world.ACTIONS, 1)), action,
            frame["reward"].to_numpy(), frame["pscore"].to_numpy(), world.TARGET[context],
            np.arange(3000), rng=np.random.default_rng(0), learner="ridge",
            fitting=fitting,
        )  # fmt: skip
        terms = ESTIMATORS["DR"].terms(Slates(frame.assign(**model.columns())))
        variances[fitting] = terms.numerator.var()
    assert variances["mrdr"] < variances["normal"]


def test_an_action_model_recovers_what_it_can_express() -> None:
    frame = world.sample_log(3000, world.BY_ACTION, np.random.default_rng(12))
    context, action = frame["context"].to_numpy(), frame["item_id"].to_numpy()
    linear = np.add.outer([0.1, 0.2, 0.3], np.linspace(0, 0.5, world.ACTIONS))
    model = fit_action_model(
        np.eye(3)[context], np.eye(world.ACTIONS), action, linear[context, action],
        frame["pscore"].to_numpy(), world.TARGET[context], np.arange(3000),
        rng=np.random.default_rng(0), learner="ridge",
    )  # fmt: skip
    np.testing.assert_allclose(model.q, linear[context], atol=0.01)
    np.testing.assert_allclose(model.v, (world.TARGET * linear).sum(axis=1)[context], atol=0.01)
    known = model.q[np.arange(3000), action]
    np.testing.assert_array_equal(model.columns("_mrdr")["q_hat_mrdr"], known)
