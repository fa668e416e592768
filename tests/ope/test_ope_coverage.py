"""The coverage study: its worlds are what they say, and its counts are right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from envs.world import World
from experiments.ope.coverage import Coverage, as_table, study
from experiments.ope.coverage_shop import ShopWorld
from experiments.ope.coverage_worlds import SlateWorld, made_up_worlds
from experiments.ope.evaluate import evaluate
from experiments.ope.slates import Slates

#: Two items, one slot: small enough to work out by hand.
HAND = SlateWorld(
    "by hand", np.array([0.2, 0.6]), np.log([1.0, 3.0]), np.log([3.0, 1.0]), 1, 40, (1, 3), ("IPS",)
)


def test_the_truth_by_hand() -> None:
    # Keen shoppers (attraction times 1.5) have three slates where cold ones (0.5) have one.
    temper = 0.5 * 1 / 4 + 1.5 * 3 / 4
    assert HAND.truth == pytest.approx(temper * (0.75 * 0.2 + 0.25 * 0.6))
    assert HAND.logging_truth == pytest.approx(temper * (0.25 * 0.2 + 0.75 * 0.6))


@pytest.mark.parametrize("world", made_up_worlds(), ids=lambda world: world.name)
def test_logs_agree_with_the_truth(world: SlateWorld) -> None:
    """The logged mean and each estimator lie within their errors of what they should find."""
    frame = pd.concat(
        [
            log.assign(
                session_id=log["session_id"] + 10_000 * n, slate_id=log["slate_id"] + 10_000 * n
            )
            for n, log in enumerate(world.logs(6, np.random.default_rng(0)))
        ]
    )
    slates = Slates(frame)
    rewards = slates.reward.sum(axis=1)
    # Slates of a session are alike: at most as bad as if each session were one slate.
    band = 3 * rewards.std() * np.sqrt(max(world.lengths) / slates.n)
    assert rewards.mean() == pytest.approx(world.logging_truth, abs=band)
    assert slates.weight("pscore")[:, 0].mean() == pytest.approx(
        1, abs=3 * slates.weight("pscore").std() / np.sqrt(slates.n)
    )
    rng = np.random.default_rng(1)
    for found in evaluate(frame, world.estimators, rng=rng, interval="delta"):
        assert abs(found.value - world.truth) < 3.5 * found.se, found.estimator


@dataclass(frozen=True)
class Shifted:
    """The hand-worked world with a truth that no interval holds."""

    name: str = "shifted"
    truth: float = 99.0
    logging_truth: float = -99.0
    estimators: tuple[str, ...] = ("IPS",)

    def logs(self, count: int, rng: np.random.Generator) -> Iterator[pd.DataFrame]:
        return HAND.logs(count, rng)


def test_counts() -> None:
    found = study(Shifted(), 5, np.random.default_rng(0), resamples=50)
    assert {one.covered for one in found} == {0.0}
    logged = [one for one in found if one.estimator == "logged"]
    weighted = [one for one in found if one.estimator == "IPS"]
    assert {one.above for one in logged} == {1.0}
    assert {one.above for one in weighted} == {0.0}
    kinds = {one.interval for one in weighted}
    assert kinds == {
        "skew", "bootstrap", "bca", "delta", "student", "hoeffding", "bernstein", "sequence",
    }  # fmt: skip
    table = as_table(found)
    assert set(table["level"]) == {0.90, 0.95}
    assert (table["logs"] == 5).all()


def covered(found: list[Coverage], estimator: str, interval: str, level: float) -> float:
    (one,) = [
        one for one in found
        if (one.estimator, one.interval, one.level) == (estimator, interval, level)
    ]  # fmt: skip
    return one.covered


def test_recommended_intervals_keep_their_promise_on_light_weights() -> None:
    world, logs = made_up_worlds()[0], 120
    found = study(world, logs, np.random.default_rng(2), resamples=300)
    for level in (0.90, 0.95):
        band = 3 * np.sqrt(level * (1 - level) / logs)
        for estimator in ("SNIPS", "DR"):
            for interval in ("skew", "bootstrap", "bca", "delta", "student"):
                assert covered(found, estimator, interval, level) == pytest.approx(level, abs=band)
        assert covered(found, "IPS", "bernstein", level) == 1.0


def test_logs_of_the_shop_are_of_seeds_of_their_own(small_world: World) -> None:
    """No two logs share a session, and the truth is the mean over the pages of both."""
    shop = ShopWorld(small_world, sessions=10)
    first, second = shop.logs(2, np.random.default_rng(0))
    assert first["session_id"].nunique() == second["session_id"].nunique() == 10
    assert not np.array_equal(first["item_id"], second["item_id"])
    assert shop.met[2] == first["slate_id"].nunique() + second["slate_id"].nunique()
    again = ShopWorld(small_world, sessions=20)
    (together,) = again.logs(1, np.random.default_rng(0))
    assert shop.met[1:] == pytest.approx(again.met[1:])
    assert together["reward"].sum() == first["reward"].sum() + second["reward"].sum()


def test_the_recommended_interval_under_heavy_weights() -> None:
    """It holds what it says there, at less than half as much width again as a normal interval."""
    world, logs = made_up_worlds()[1], 80
    found = study(world, logs, np.random.default_rng(3), resamples=50)
    band = 3 * np.sqrt(0.95 * 0.05 / logs)
    for estimator in ("IPS", "SNIPS", "DR", "SNDR"):
        assert covered(found, estimator, "skew", 0.95) >= 0.95 - band
    widths = {(one.estimator, one.interval): one.width for one in found if one.level == 0.95}
    for estimator in ("IPS", "SNIPS", "DR", "SNDR"):
        assert widths[estimator, "delta"] < widths[estimator, "skew"]
        assert widths[estimator, "skew"] < 1.5 * widths[estimator, "delta"]
