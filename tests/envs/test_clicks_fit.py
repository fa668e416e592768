"""Fitting click models to logs: known parameters come back, inside intervals that mean 95 %."""

from __future__ import annotations

from itertools import product
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from envs.clicks import ClickModelName, make_click_model
from envs.clicks.base import ClickModel
from envs.clicks.fit import fit
from envs.clicks.log import ClickLog, click_log
from envs.clicks.parameters import ClickParameters
from envs.clicks.perplexity import held_out, perplexity
from envs.clicks.position import PositionBased
from envs.errors import UserError

MODELS: tuple[ClickModelName, ...] = get_args(ClickModelName)
WITH_PARAMETERS: tuple[ClickModelName, ...] = ("position", "dcm", "dbn", "sdbn", "ubm", "ccm")
SLOTS = 4
# The default UBM sees the place below a click for sure: a boundary, which has no interval.
TRUTH = ClickParameters(
    ubm_gamma=((1.0,), (0.7, 0.9), (0.5, 0.6, 0.8), (0.4, 0.5, 0.6, 0.8)),
    continuation=(0.5, 0.6, 0.7),
)


def _log(
    name: ClickModelName, seed: int, pages: int = 3_000, items: int = 20
) -> tuple[ClickModel, np.ndarray, ClickLog]:
    """Pages of distinct items in random order, clicked by the true model."""
    rng = np.random.default_rng([seed, MODELS.index(name)])
    attraction = rng.uniform(0.1, 0.8, size=items).astype(np.float32)
    shown = rng.random((pages, items)).argsort(axis=1)[:, :SLOTS]
    model = make_click_model(name, SLOTS, TRUTH)
    return model, attraction, ClickLog(model.sample(attraction[shown], rng), shown, items)


# Known answers


def test_parameters_come_back_inside_their_intervals() -> None:
    """One parameter a fit, in turn, so that the 120 outcomes are independent."""
    scores, covered = [], []
    for name, seed in product(WITH_PARAMETERS, range(20)):
        truth, _, log = _log(name, seed)
        found = fit(name, log)
        assert found.converged
        assert list(found.estimates) == list(truth.free())
        value, estimate = list(zip(truth.free().values(), found.estimates.values()))[
            seed % len(found.estimates)
        ]
        scores.append((estimate.value - value) / estimate.se)
        covered.append(estimate.low <= value <= estimate.high)
    n = len(scores)
    assert np.mean(covered) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / n)
    assert abs(np.mean(scores)) < 3 / np.sqrt(n)
    # The variance of a variance of n normals is 2 / (n - 1).
    assert abs(np.var(scores, ddof=1) - 1) < 3 * np.sqrt(2 / (n - 1))


@pytest.mark.parametrize("name", MODELS)
def test_the_fit_is_at_least_as_likely_as_the_truth(name: ClickModelName) -> None:
    truth, attraction, log = _log(name, 3)
    found = fit(name, log, prior=1e-6)
    assert found.converged
    assert found.warnings == ()
    true_likelihood = truth.log_likelihood(log.clicks, attraction[log.shown]).sum()
    parameters = log.items + len(truth.free())
    # Twice the gain is chi-square with as many degrees as there are parameters (Wilks).
    gain = found.log_likelihood - true_likelihood
    assert 0 < 2 * gain < parameters + 3 * np.sqrt(2 * parameters)
    recomputed = found.model.log_likelihood(log.clicks, found.attraction[log.shown]).sum()
    assert found.log_likelihood == pytest.approx(recomputed, rel=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_attractions_come_back(name: ClickModelName) -> None:
    """An attraction told by all its showings alone would have this error; some pages tell less."""
    _, attraction, log = _log(name, 4, pages=20_000)
    found = fit(name, log)
    assert np.corrcoef(found.attraction, attraction)[0, 1] > 0.98
    examined = found.model.examination_probability(attraction[log.shown])
    seen = np.bincount(log.shown.ravel(), examined.ravel())
    sigma = np.sqrt(attraction * (1 - attraction) / seen)
    # The scale is shared with the parameters, hence twice the band of known examination.
    assert (abs(found.attraction - attraction) < 6 * sigma).all()


def test_a_cascade_has_a_closed_form() -> None:
    _, _, log = _log("cascade", 5)
    found = fit("cascade", log, prior=2.0)
    examined = np.cumsum(log.clicks, axis=1) <= log.clicks
    seen = np.bincount(log.shown.ravel(), examined.ravel())
    clicked = np.bincount(log.shown.ravel(), log.clicks.ravel())
    rate = log.clicks[:, 0].mean()
    expected = (clicked + 2 * rate) / (seen + 2)
    np.testing.assert_allclose(found.attraction, expected, atol=1e-4)
    assert found.estimates == {}


@pytest.mark.parametrize("name", WITH_PARAMETERS)
def test_standard_errors_are_those_of_the_whole_information(name: ClickModelName) -> None:
    """The elimination of the attractions, against second differences of the plain likelihood."""
    _, _, log = _log(name, 6, pages=1_500, items=6)
    found = fit(name, log)
    rate = log.clicks[:, 0].mean()
    values = [e.value for e in found.estimates.values()]
    best = np.concatenate([found.attraction, values]).astype(np.float64)
    best = np.log(best / (1 - best))

    def posterior(logits: np.ndarray) -> float:
        p = 1 / (1 + np.exp(-logits))
        model = found.model.with_free(p[log.items :])
        attraction = p[: log.items]
        prior = rate * np.log(attraction) + (1 - rate) * np.log1p(-attraction)
        likelihood = model.log_likelihood(log.clicks, attraction[log.shown])
        return float(likelihood.sum() + prior.sum())

    step, size = 1e-3, len(best)
    moves = step * np.eye(size)
    hessian = np.array(
        [
            [
                posterior(best + a + b) - posterior(best + a - b)
                - posterior(best - a + b) + posterior(best - a - b)
                for a in moves
            ]
            for b in moves
        ]
    ) / (4 * step**2)  # fmt: skip
    errors = np.sqrt(np.diag(np.linalg.inv(-hessian)))[log.items :]
    p = np.array(values)
    np.testing.assert_allclose(
        [e.se for e in found.estimates.values()], errors * p * (1 - p), rtol=1e-3
    )


def test_pages_and_memory_order_do_not_matter() -> None:
    _, _, log = _log("ubm", 7)
    mixed = np.random.default_rng(0).permutation(len(log.clicks))
    turned = log.part(mixed)
    turned = ClickLog(np.asfortranarray(turned.clicks), turned.shown.copy(), log.items)
    one, other = fit("ubm", log), fit("ubm", turned)
    np.testing.assert_allclose(one.attraction, other.attraction, atol=1e-4)
    for a, b in zip(one.estimates.values(), other.estimates.values()):
        # The optimum is found to about a hundredth of a standard error.
        assert abs(a.value - b.value) < 0.03 * a.se


def test_a_fit_gives_a_configuration_to_simulate_with() -> None:
    for name in MODELS:
        _, _, log = _log(name, 8, pages=500)
        found = fit(name, log)
        again = make_click_model(name, SLOTS, found.parameters)
        assert again.free() == found.model.free()
        assert again.free() == pytest.approx({k: e.value for k, e in found.estimates.items()})


# What a fit warns of


def test_a_parameter_at_its_boundary_has_no_interval() -> None:
    """Clicks of a cascade: nothing is ever clicked after a click."""
    _, _, log = _log("cascade", 9)
    found = fit("dcm", log)
    for name, estimate in found.estimates.items():
        assert estimate.value < 1e-4
        assert np.isnan([estimate.se, estimate.low, estimate.high]).all()
        assert any(w.startswith(f"{name} is at its boundary") for w in found.warnings)


def test_items_that_keep_their_position_do_not_tell_examination() -> None:
    rng = np.random.default_rng(10)
    shown = rng.integers(5, size=(2_000, SLOTS)) + 5 * np.arange(SLOTS)
    clicks = PositionBased.decaying(SLOTS, 0.6).sample(np.full(shown.shape, 0.4, np.float32), rng)
    found = fit("position", ClickLog(clicks, shown, 20))
    assert sum("hardly told" in w for w in found.warnings) == SLOTS - 1


def test_what_no_page_shows_is_not_told() -> None:
    """Pages without a click at the top say nothing of reading on after one."""
    _, _, log = _log("dcm", 11)
    found = fit("dcm", log.part(~log.clicks[:, 0]))
    assert any(w.startswith("continuation_1 is not told by this log") for w in found.warnings)
    assert np.isnan(found.estimates["continuation_1"].se)
    assert found.estimates["continuation_2"].se > 0


def test_items_without_evidence_are_counted() -> None:
    _, _, log = _log("position", 12, pages=300, items=8)
    clicks = log.clicks & (log.shown != 0)
    more = ClickLog(clicks, log.shown, 10)
    found = fit("position", more)
    assert any(w.startswith("2 of 10 items were never shown") for w in found.warnings)
    assert any(w.startswith("1 of 10 items were never clicked") for w in found.warnings)
    # Never shown: the prior, the click rate of the first position.
    np.testing.assert_allclose(found.attraction[8:], clicks[:, 0].mean(), atol=0.01)
    assert 0 < found.attraction[0] < 0.02


def test_more_attractions_than_pages_can_tell_are_warned_of() -> None:
    """100 pages tell 100 attractions at most: ten times the root."""
    for items, warned in ((100, False), (101, True)):
        shown = np.arange(400).reshape(100, SLOTS) % items
        clicks = np.random.default_rng(0).random(shown.shape) < 0.3
        warnings = fit("position", ClickLog(clicks, shown, items)).warnings
        assert any(f"{items} attractions are told by 100" in w for w in warnings) == warned


def test_too_few_iterations_are_told() -> None:
    _, _, log = _log("ccm", 13)
    found = fit("ccm", log, max_iterations=1)
    assert not found.converged
    assert "stopped before its optimum" in found.warnings[0]


# Mistakes


@pytest.mark.parametrize("name", ["cascade", "mnl"])
def test_pages_that_cannot_be_are_refused(name: ClickModelName) -> None:
    _, _, log = _log("dcm", 14)
    several = int((log.clicks.sum(axis=1) > 1).sum())
    with pytest.raises(UserError, match=f"{several} of 3000 pages cannot be under '{name}'"):
        fit(name, log)


def test_a_log_without_clicks_is_refused() -> None:
    _, _, log = _log("position", 15, pages=50)
    with pytest.raises(UserError, match="none of the 50 pages has a click"):
        fit("position", ClickLog(np.zeros_like(log.clicks), log.shown, log.items))
    with pytest.raises(UserError, match="prior must be above 0"):
        fit("position", log, prior=0)


@pytest.mark.parametrize(
    ("clicks", "shown", "says"),
    [
        (np.zeros((2, 3), dtype=bool), np.zeros((3, 2), dtype=int), "same shape"),
        (np.zeros((0, 3), dtype=bool), np.zeros((0, 3), dtype=int), "not empty"),
        (np.zeros((2, 3)), np.zeros((2, 3), dtype=int), "float64"),
        (np.zeros((2, 3), dtype=bool), np.full((2, 3), 4), "got 4 to 4"),
    ],
)
def test_a_malformed_log_is_refused(clicks: Any, shown: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        ClickLog(clicks, shown, items=4)


# From a feedback log


def _frame() -> pd.DataFrame:
    """Three slates of two, rows shuffled."""
    rows = pd.DataFrame(
        {
            "slate_id": ["x", "x", "y", "y", "z", "z"],
            "position": [0, 1] * 3,
            "item_id": ["b", "a", "a", "c", "c", "b"],
            "query": ["q", "q", "q", "q", "r", "r"],
            "click": [1, 0, 0, 1, 0, 0],
        }
    )
    return rows.iloc[[5, 2, 0, 4, 1, 3]].reset_index(drop=True)


def test_a_feedback_log_becomes_a_click_log() -> None:
    log, names = click_log(_frame())
    assert log.items == 3
    labels = names["item_id"].to_numpy()[log.shown]
    # Slates in order of appearance: z, y, x.
    np.testing.assert_array_equal(labels, [["c", "b"], ["a", "c"], ["b", "a"]])
    np.testing.assert_array_equal(log.clicks, [[False, False], [False, True], [True, False]])


def test_attraction_may_belong_to_a_pair_of_query_and_item() -> None:
    log, names = click_log(_frame(), by=("query", "item_id"))
    pairs = set(map(tuple, names[["query", "item_id"]].to_numpy()))
    assert pairs == {("q", "a"), ("q", "b"), ("q", "c"), ("r", "b"), ("r", "c")}
    first = names.iloc[log.shown[0]]
    assert list(first["query"]) == ["r", "r"]
    assert list(first["item_id"]) == ["c", "b"]


def test_a_feedback_log_that_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(UserError, match="column 'click' is needed"):
        click_log(_frame().drop(columns="click"))
    with pytest.raises(UserError, match="lengths from 1 to 2"):
        click_log(_frame().iloc[1:])


# Choosing a model


def test_perplexity_of_known_forecasts() -> None:
    clicks = np.array([[True, False, True], [True, True, False]])
    model = PositionBased(np.ones(3))
    sure = np.tile(np.array([1.0, 0.5, 0.25], dtype=np.float32), (2, 1))
    # Certain and right: 1. A coin: 2. Then 1 / sqrt(1/4 * 3/4).
    np.testing.assert_allclose(
        perplexity(model, sure, clicks), [1, 2, 1 / np.sqrt(3 / 16)], rtol=1e-12
    )
    wrong = perplexity(model, 1 - sure, clicks)
    assert wrong[0] == np.inf


@pytest.mark.parametrize("name", ["position", "dcm", "ubm", "sdbn"])
def test_the_true_model_wins_on_held_out_pages(name: ClickModelName) -> None:
    """No rival contains the truth, so each must lose by more than the noise of the fits."""
    rivals: dict[str, tuple[ClickModelName, ...]] = {
        "position": ("dcm", "dbn", "sdbn", "ccm"),
        "dcm": ("position", "sdbn", "ccm"),
        "ubm": ("position", "dcm", "dbn", "sdbn", "ccm"),
        "sdbn": ("position", "ubm"),
    }
    _, _, log = _log(name, 16, pages=20_000)
    train, test = log.part(slice(0, 10_000)), log.part(slice(10_000, None))
    ranked = held_out([fit(one, train) for one in (*rivals[name], name)], test)
    assert ranked[0].name == name
    likelihoods = [one.log_likelihood for one in ranked]
    assert likelihoods == sorted(likelihoods, reverse=True)
    assert all(one.perplexity.shape == (SLOTS,) for one in ranked)
    assert (ranked[0].perplexity < 2).all()
