"""Every click model keeps one contract, checked against enumeration of all click vectors."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import chi2

from envs.clicks import ClickModelName, make_click_model
from envs.clicks.base import ClickModel
from envs.clicks.cascade import Cascade
from envs.clicks.ccm import ClickChain
from envs.clicks.dbn import DynamicBayesian
from envs.clicks.dcm import DependentClick
from envs.clicks.mnl import MultinomialLogit
from envs.clicks.parameters import ClickParameters
from envs.clicks.position import PositionBased
from envs.clicks.sdbn import SimplifiedDynamicBayesian
from envs.clicks.ubm import UserBrowsing
from envs.errors import UserError

MODELS: tuple[ClickModelName, ...] = get_args(ClickModelName)
# Reading goes down the page and never comes back (a click revives UBM; MNL has no order).
DOWNWARD = [name for name in MODELS if name not in ("ubm", "mnl")]
every_model = pytest.mark.parametrize("name", MODELS)


def _vectors(slots: int) -> np.ndarray:
    """All click vectors, (2^k, k) bool."""
    return (np.arange(2**slots)[:, None] >> np.arange(slots) & 1).astype(bool)


def _attraction(slots: int, rows: int = 3) -> np.ndarray:
    """Random attractions with the corners 0 and 1 among them, (rows, k) float32."""
    out = np.random.default_rng(slots).random((rows, slots)).astype(np.float32)
    out[0, 0], out[-1, -1] = 0, 1
    return out


def _uneven(slots: int) -> ClickParameters:
    """Parameters without any pattern, every list given."""
    rng = np.random.default_rng(slots)
    draw = rng.uniform(0.1, 0.95, size=(slots + 3, slots + 3))
    rows = tuple(tuple(row[: r + 1].tolist()) for r, row in enumerate(draw[:slots]))
    return ClickParameters(
        theta=tuple(np.append(1.0, draw[slots, : slots - 1]).tolist()),
        continuation=tuple(draw[slots + 1, : slots - 1].tolist()),
        ubm_gamma=((1.0,), *rows[1:]),
        **dict(zip(("gamma", "satisfaction", "tau1", "tau2", "tau3"), draw[slots + 2].tolist())),
    )


def _both(name: ClickModelName, slots: int) -> list[ClickModel]:
    return [make_click_model(name, slots, p) for p in (ClickParameters(), _uneven(slots))]


def _probabilities(model: ClickModel, attraction: np.ndarray) -> np.ndarray:
    """Probability of every click vector for one slate, (2^k,)."""
    vectors = _vectors(len(attraction))
    return np.exp(model.log_likelihood(vectors, np.tile(attraction, (len(vectors), 1))))


# The contract


@every_model
@pytest.mark.parametrize("slots", range(1, 6))
def test_probabilities_sum_to_one_and_give_the_marginals(name: ClickModelName, slots: int) -> None:
    attraction = _attraction(slots)
    for model in _both(name, slots):
        marginal = model.marginal_click_probability(attraction)
        for row, slate in enumerate(attraction):
            probability = _probabilities(model, slate)
            assert probability.sum() == pytest.approx(1, abs=1e-12)
            np.testing.assert_allclose(probability @ _vectors(slots), marginal[row], atol=1e-12)


@every_model
def test_an_item_is_clicked_where_it_is_examined_and_attracts(name: ClickModelName) -> None:
    attraction = _attraction(5)
    for model in _both(name, 5):
        examined = model.examination_probability(attraction)
        assert examined.shape == attraction.shape
        assert ((examined >= 0) & (examined <= 1)).all()
        if name != "mnl":
            np.testing.assert_allclose(examined[:, 0], 1)
        np.testing.assert_allclose(
            examined * attraction, model.marginal_click_probability(attraction), rtol=1e-12
        )


@pytest.mark.parametrize("name", DOWNWARD)
def test_a_page_is_read_from_the_top(name: ClickModelName) -> None:
    model = make_click_model(name, 5, ClickParameters())
    assert (np.diff(model.examination_probability(_attraction(5)), axis=1) <= 0).all()


@every_model
@pytest.mark.parametrize("variant", [0, 1])
def test_sampled_clicks_follow_the_likelihood(name: ClickModelName, variant: int) -> None:
    slate, n = np.array([0.3, 0.6, 0.2, 0.5], dtype=np.float32), 40_000
    model = _both(name, 4)[variant]
    clicks = model.sample(np.tile(slate, (n, 1)), np.random.default_rng(5))
    marginal = model.marginal_click_probability(slate[None])[0]
    band = 3 * np.sqrt(marginal * (1 - marginal) / n)
    assert (abs(clicks.mean(axis=0) - marginal) < band).all()
    expected = n * _probabilities(model, slate)
    observed = np.bincount(clicks @ (1 << np.arange(4)), minlength=16)
    possible = expected > 0
    assert observed[~possible].sum() == 0
    statistic = ((observed - expected)[possible] ** 2 / expected[possible]).sum()
    assert statistic < chi2.ppf(0.99865, possible.sum() - 1)


@every_model
def test_zero_attraction_is_never_clicked_not_even_at_the_smallest_flip(
    name: ClickModelName,
) -> None:
    model = make_click_model(name, 3, ClickParameters())
    attraction = np.array([[0.0, 1.0, 0.0]], dtype=np.float32)
    clicks = model.clicks_from(attraction, np.zeros((1, 3, model.draws)))
    np.testing.assert_array_equal(clicks, [[False, True, False]])
    assert model.log_likelihood(np.array([[True, False, False]]), attraction)[0] == -np.inf


@every_model
@pytest.mark.parametrize("slots", [1, 5])
def test_smaller_flips_or_larger_attractions_keep_a_page_clicked(
    name: ClickModelName, slots: int
) -> None:
    rng = np.random.default_rng(6)
    attraction = rng.random((500, slots)).astype(np.float32)
    for model in _both(name, slots):
        flips = rng.random((500, slots, model.draws))
        clicked = model.clicks_from(attraction, flips).any(axis=1)
        assert 0 < clicked.sum() < 500
        assert (model.clicks_from(attraction, flips / 2).any(axis=1) >= clicked).all()
        assert (model.clicks_from(np.sqrt(attraction), flips).any(axis=1) >= clicked).all()


@every_model
def test_a_row_does_not_depend_on_its_batch(name: ClickModelName) -> None:
    rng = np.random.default_rng(9)
    model = make_click_model(name, 5, ClickParameters())
    attraction = rng.random((40, 5)).astype(np.float32)
    flips = rng.random((40, 5, model.draws))
    whole = model.clicks_from(attraction, flips)
    alone = [model.clicks_from(attraction[[b]], flips[[b]])[0] for b in range(40)]
    np.testing.assert_array_equal(whole, alone)


@every_model
def test_slopes_are_those_of_the_likelihood(name: ClickModelName) -> None:
    """Central differences of step h are off by about h^2 = 1e-10 times the third derivative."""
    step, rng = 1e-5, np.random.default_rng(10)
    model = make_click_model(name, 4, _uneven(4))
    attraction = rng.uniform(0.2, 0.8, size=(30, 4))
    clicks = model.sample(attraction.astype(np.float32), rng)
    slopes = model.slopes(clicks, attraction)
    np.testing.assert_allclose(slopes.log_likelihood, model.log_likelihood(clicks, attraction))

    for j in range(4):
        move = step * (np.arange(4) == j)
        ahead, behind = (model.log_likelihood(clicks, attraction + m) for m in (move, -move))
        np.testing.assert_allclose(
            slopes.attraction[:, j], (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-6
        )
    free = np.array(list(model.free().values()))
    for j in range(len(free)):
        move = step * (np.arange(len(free)) == j)
        ahead, behind = (
            model.with_free(free + m).log_likelihood(clicks, attraction) for m in (move, -move)
        )
        change = (ahead - behind).sum() / (2 * step)
        assert slopes.free[j] == pytest.approx(change, rel=1e-6, abs=1e-5)


@every_model
def test_parameters_give_the_same_model_again(name: ClickModelName) -> None:
    clicks = _vectors(4)
    attraction = np.random.default_rng(11).random(clicks.shape).astype(np.float32)
    for model in _both(name, 4):
        again = make_click_model(name, 4, model.parameters())
        assert again.free() == model.free()
        np.testing.assert_array_equal(
            again.log_likelihood(clicks, attraction), model.log_likelihood(clicks, attraction)
        )


# Where models are one


def _assert_same(one: ClickModel, other: ClickModel) -> None:
    clicks = np.repeat(_vectors(4), 3, axis=0)
    attraction = np.tile(_attraction(4), (16, 1))
    np.testing.assert_allclose(
        np.exp(one.log_likelihood(clicks, attraction)),
        np.exp(other.log_likelihood(clicks, attraction)),
        atol=1e-12,
    )
    np.testing.assert_allclose(
        one.examination_probability(attraction),
        other.examination_probability(attraction),
        atol=1e-12,
    )
    rng = np.random.default_rng(12)
    flips, attraction = rng.random((500, 4, 2)), rng.random((500, 4)).astype(np.float32)
    np.testing.assert_array_equal(
        one.clicks_from(attraction, flips[..., : one.draws]),
        other.clicks_from(attraction, flips[..., : other.draws]),
    )


THETA = np.array([1.0, 0.7, 0.8, 0.2])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (DependentClick(np.zeros(3)), Cascade()),
        (DependentClick(np.ones(3)), PositionBased(np.ones(4))),
        (DynamicBayesian(1.0, 0.3), SimplifiedDynamicBayesian(0.3)),
        (SimplifiedDynamicBayesian(1.0), Cascade()),
        (SimplifiedDynamicBayesian(0.3), DependentClick(np.full(3, 0.7))),
        (ClickChain(0.8, 0.6, 0.6), DynamicBayesian(0.8, 0.25)),
        (ClickChain(1.0, 0.4, 0.4), DependentClick(np.full(3, 0.4))),
        (UserBrowsing(np.tile(THETA[:, None], 4)), PositionBased(THETA)),
        (UserBrowsing.decaying(4, 0.0), PositionBased.decaying(4, 0.0)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_special_cases_collapse(one: ClickModel, other: ClickModel) -> None:
    _assert_same(one, other)


def test_all_models_agree_on_a_slate_of_one() -> None:
    attraction = _attraction(1, rows=4)
    flips = np.random.default_rng(7).random((4, 1, 2))
    for name in MODELS:
        model = make_click_model(name, 1, ClickParameters())
        for clicks, chance in ((True, attraction), (False, 1 - attraction)):
            likelihood = model.log_likelihood(np.full((4, 1), clicks), attraction)
            np.testing.assert_allclose(np.exp(likelihood), chance[:, 0], atol=1e-7)
        if name != "mnl":  # there the second flip is the no-click option's
            np.testing.assert_array_equal(
                model.clicks_from(attraction, flips[..., : model.draws]),
                flips[..., 0] < attraction,
            )


# Known answers


def test_hand_worked_pages() -> None:
    half = np.full((1, 3), 0.5, dtype=np.float32)
    np.testing.assert_allclose(
        Cascade().marginal_click_probability(half), [[1 / 2, 1 / 4, 1 / 8]], rtol=1e-12
    )
    # Examination 1, 1/2, 1/3 at decay 1.
    position = PositionBased.decaying(3, 1.0)
    np.testing.assert_allclose(
        position.marginal_click_probability(half), [[1 / 2, 1 / 4, 1 / 6]], rtol=1e-12
    )
    clicks = np.array([[False, True, False]])
    assert Cascade().log_likelihood(clicks, half)[0] == pytest.approx(np.log(1 / 4))
    assert position.log_likelihood(clicks, half)[0] == pytest.approx(np.log(1 / 2 * 1 / 4 * 5 / 6))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        # Reading on: .8 after a skip, .8 * .5 after a click. No click: .5 (.2 + .8 * .5).
        (DynamicBayesian(0.8, 0.5), (0.3, 0.4, 0.2, 0.1)),
        # Reading on after a click: .6 * .5 + .2 * .5 = .4, so the same.
        (ClickChain(0.8, 0.6, 0.2), (0.3, 0.4, 0.2, 0.1)),
        # Reading on after a click: .4; one click at the top: .5 (.6 + .4 * .5).
        (DependentClick(np.array([0.4])), (0.25, 0.4, 0.25, 0.1)),
        (SimplifiedDynamicBayesian(0.6), (0.25, 0.4, 0.25, 0.1)),
        # Second position seen by .6 below a skip, by .8 below a click.
        (UserBrowsing(np.array([[1.0, 1.0], [0.6, 0.8]])), (0.35, 0.3, 0.15, 0.2)),
        # Odds 1 and 1 against 1 for no click.
        (MultinomialLogit(), (1 / 3, 1 / 3, 1 / 3, 0)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_hand_worked_pages_of_two(model: ClickModel, expected: tuple[float, ...]) -> None:
    """Probability of no click, the top one, the lower one, both; attraction 1/2 each."""
    slate = np.array([0.5, 0.5], dtype=np.float32)
    np.testing.assert_allclose(_probabilities(model, slate), expected, atol=1e-12)


def test_a_click_revives_attention_in_user_browsing() -> None:
    model = UserBrowsing.decaying(3, 1.0)
    examined = model.examination_probability(np.array([[0.0, 1.0, 0.5]], dtype=np.float32))
    # Seen at distance 2 from the top by 1/2; then by 1 below that click, else by 1/3.
    np.testing.assert_allclose(examined, [[1, 1 / 2, 1 / 2 * 1 + 1 / 2 * 1 / 3]], rtol=1e-12)


def test_logit_shares_one_click_by_odds_whatever_the_order() -> None:
    model = MultinomialLogit()
    slate = np.array([[0.5, 0.75, 0.2]], dtype=np.float32)  # odds 1, 3, 1/4
    expected = np.array([[1, 3, 0.25]]) / 5.25
    np.testing.assert_allclose(model.marginal_click_probability(slate), expected, rtol=1e-6)
    turned = model.marginal_click_probability(slate[:, ::-1])
    np.testing.assert_allclose(turned[:, ::-1], expected, rtol=1e-6)
    sure = np.array([[1.0, 0.5, 1.0]], dtype=np.float32)
    np.testing.assert_allclose(model.marginal_click_probability(sure), [[0.5, 0, 0.5]], atol=1e-12)


def test_logit_keeps_the_luck_of_what_did_not_change() -> None:
    """Another item in one place takes clicks or gives them back; no other click moves."""
    rng = np.random.default_rng(13)
    model = MultinomialLogit()
    attraction = rng.random((2_000, 4)).astype(np.float32)
    flips = rng.random((2_000, 4, 2))
    other = attraction.copy()
    other[:, 0] = rng.random(2_000)
    new_flips = flips.copy()
    new_flips[:, 0, 0] = rng.random(2_000)
    before = model.clicks_from(attraction, flips)
    after = model.clicks_from(other, new_flips)
    untouched = ~before[:, 0] & ~after[:, 0]
    assert untouched.sum() > 500
    np.testing.assert_array_equal(before[untouched], after[untouched])


def test_without_decay_positions_do_not_matter() -> None:
    attraction = _attraction(5)
    np.testing.assert_allclose(
        PositionBased.decaying(5, 0.0).marginal_click_probability(attraction),
        attraction,
        rtol=1e-12,
    )


@pytest.mark.parametrize("model", [Cascade(), MultinomialLogit()], ids=["cascade", "mnl"])
def test_some_models_click_once_a_page_at_most(model: ClickModel) -> None:
    rng = np.random.default_rng(8)
    attraction = rng.random((2_000, 5)).astype(np.float32)
    clicks = model.sample(attraction, rng)
    assert set(clicks.sum(axis=1)) == {0, 1}
    twice = np.array([[True, True, False]])
    assert model.log_likelihood(twice, np.full((1, 3), 0.5, np.float32))[0] == -np.inf


# Settings


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("position", {"theta": [1, 0.5]}, "theta: 3 numbers"),
        ("dcm", {"continuation": [0.5] * 3}, "continuation: 2 numbers"),
        ("ubm", {"ubm_gamma": [[1], [0.5]]}, r"rows of \[1, 1\]"),
    ],
)
def test_lists_must_fit_the_slate(name: ClickModelName, given: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make_click_model(name, 3, ClickParameters.model_validate(given))


@pytest.mark.parametrize(
    "given",
    [
        {"theta": [1, 1.5]},
        {"continuation": [0.5, -0.1]},
        {"continuation": 2},
        {"ubm_gamma": [[1], [0.5, float("nan")]]},
    ],
)
def test_probabilities_lie_between_0_and_1(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="between 0 and 1"):
        ClickParameters.model_validate(given)


@pytest.mark.parametrize("key", ["gamma", "satisfaction", "tau1", "tau2", "tau3"])
def test_a_single_probability_lies_between_0_and_1(key: str) -> None:
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        ClickParameters.model_validate({key: 1.1})


def test_one_continuation_stands_for_every_position() -> None:
    one = make_click_model("dcm", 4, ClickParameters(continuation=0.3))
    listed = make_click_model("dcm", 4, ClickParameters(continuation=(0.3, 0.3, 0.3)))
    assert one.free() == listed.free()
