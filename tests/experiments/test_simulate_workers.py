"""Sessions spread over Ray workers come to the same, and fail in one line."""

from __future__ import annotations

import numpy as np
import pytest

from envs.errors import UserError
from experiments import simulate, simulate_workers
from experiments.simulate import Contestant, Sessions, evaluate
from experiments.simulate_workers import on_workers
from policies.baselines import Page, SlatePolicy, popularity_policy, random_policy
from tests.shop_at_hand import bare_world


@pytest.mark.filterwarnings(
    # Ray's own start-up leaves these to the garbage collector (ray-project/ray#9546).
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    # Ray 2.60 warns of what its next release does with GPUs; there is none here.
    "ignore:.*accelerator visible devices.*:FutureWarning",
)
def test_workers_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate, "_BATCH", 15)
    monkeypatch.setenv("RAY_ADDRESS", "nowhere:1")  # a stranger's cluster is not asked
    world, seeds = bare_world(), range(3, 43)
    field = [
        Contestant("random", random_policy(), world),
        Contestant("popularity", popularity_policy(), world),
    ]
    seen: list[tuple[int, int]] = []

    # Defined here, so that it is sent by value: a worker cannot import a test.
    def fails(page: Page) -> np.ndarray:
        raise UserError("shop: this policy is broken; mend it")

    broken = [Contestant("broken", SlatePolicy("broken", fails), world)]
    with simulate_workers.ray_for(2, None):
        player = on_workers(2)
        spread = evaluate(
            field, seeds, player=player, progress=lambda done, total, _: seen.append((done, total))
        )
        with pytest.raises(UserError, match="this policy is broken"):
            evaluate(broken, seeds, player=player)
    here = evaluate(field, seeds)
    assert seen == [(n, 6) for n in range(1, 7)]
    assert list(spread.played) == list(here.played)
    for name, one in here.played.items():
        for column in Sessions.__dataclass_fields__:
            np.testing.assert_array_equal(
                getattr(spread.played[name], column), getattr(one, column)
            )


def test_an_address_without_a_cluster_is_one_line() -> None:
    field = [Contestant("random", random_policy(), bare_world())]
    with pytest.raises(UserError, match=r"--address 127\.0\.0\.1:1: no Ray cluster"):
        evaluate(field, range(20), player=on_workers(1, "127.0.0.1:1"))
