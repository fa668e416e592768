"""Where looking ahead must pay: a shop small enough to say by how much, and rankers that learn it.

Two classes of items, one slot. A good item is clicked more often than a plain one, whatever was
shown before; but whoever is shown the same class again is soon tired of it, and leaves. For the
page at hand the good class is right on every page. For the session it is not: every sequence of
classes has a return in closed form, and the best of all of them takes turns.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest

from envs.behaviour import ShopConfig
from envs.shop import ShopVectorEnv
from envs.similarity import SCORES
from envs.world import World
from experiments.rankers_horizon import horizon
from experiments.rankers_names import LONG, MYOPIC
from experiments.rankers_play import Pages, Played, play_all
from experiments.simulate import interval
from policies.baselines import Page, SlatePolicy, ranker_policy
from policies.oracles import myopic_policy
from policies.ranker.config import RankerConfig, ScorerConfig, WarmStartConfig
from policies.ranker.train import train_ranker
from tests.shop_at_hand import bare_world

GOOD, PLAIN = 0, 1
PAGES, SESSIONS = 8, 600
Sequence = tuple[int, ...]

CONFIG = ShopConfig(
    slots=1, candidates=24, max_pages=PAGES, start_home=1.0, start_search=0.0,
    follow_click=0.0, new_query=0.0,
    # A click is all that counts, and quality all that it depends on.
    bias=-1.0, w_match=0.0, w_class=0.0, w_scene=0.0, w_price=0.0, w_quality=1.0, w_satiation=0.0,
    w_click=1.0, w_buy=0.0, w_leave=0.0, buy_bias=-50.0,
    # Leaving depends on satiation alone.
    satiation_gain=1.0, satiation_decay=0.3, leave_bias=-14.0, leave_satiation=11.0,
    leave_no_click=0.0, leave_distrust=0.0, leave_impatience=0.0,
)  # fmt: skip


@cache
def two_classes() -> World:
    """The small shop with two classes of items, the good ones and the plain ones."""
    world = bare_world()
    good = world.quality > np.median(world.quality)
    classes = np.where(good, GOOD, PLAIN)
    changed = replace(world, quality=good.astype(np.float32), class_index=classes)
    return changed.with_config(CONFIG)


def worth(sequence: Sequence) -> float:
    """Return of showing these classes page after page, until the shopper leaves."""

    def sigmoid(logit: float) -> float:
        return float(1 / (1 + np.exp(-logit)))

    there, total, tired = 1.0, 0.0, np.zeros(2)
    for kind in sequence:
        total += there * sigmoid(CONFIG.bias + CONFIG.w_quality * (kind == GOOD))
        tired *= CONFIG.satiation_decay
        tired[kind] += CONFIG.satiation_gain
        there *= 1 - sigmoid(CONFIG.leave_bias + CONFIG.leave_satiation * tired[kind])
    return total


ALL_GOOD: Sequence = (GOOD,) * PAGES
BEST: Sequence = max(product((GOOD, PLAIN), repeat=PAGES), key=worth)


def showing(sequence: Sequence) -> SlatePolicy:
    """Show the classes of a sequence."""
    wanted = np.array(sequence)

    def score(page: Page) -> np.ndarray:
        quality = page.observation["items"][..., SCORES.index("quality")]
        # A row whose session is over asks for one page more than there are.
        kind = wanted[np.minimum(page.state.page, PAGES - 1)]
        return np.where(kind[:, None] == GOOD, quality, -quality).astype(np.float32)

    return SlatePolicy("sequence", score)


@pytest.mark.parametrize("sequence", [ALL_GOOD, BEST])
def test_the_shop_pays_what_the_equations_say(sequence: Sequence) -> None:
    played, pages = play_all(two_classes(), showing(sequence), range(SESSIONS))
    for values in (played.reward, played.expected):
        error = values.std(ddof=1) / np.sqrt(SESSIONS)
        assert abs(values.mean() - worth(sequence)) < 4 * error
    clicked = 1 / (1 + np.exp(1.0 - (np.array(sequence) == GOOD)))
    np.testing.assert_allclose(pages.expected, pages.there * clicked, rtol=1e-5)


def test_the_best_page_is_good_on_every_page_and_costs_half_the_session() -> None:
    _, pages = play_all(two_classes(), myopic_policy(), range(100))
    np.testing.assert_allclose(pages.expected, 0.5 * pages.there, rtol=1e-5)
    assert worth(BEST) > 1.9 * worth(ALL_GOOD)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Played, Pages]]:
    """Both rankers in the same sessions, trained alike but for gamma."""
    # Both start where a shop is today: good items first.
    start = ScorerConfig(hidden=16, baseline_features=("quality",), baseline_weight=2.0)
    config = RankerConfig(
        scorer=start, iterations=8, num_envs=64, batch=1024, minibatch=256, lr=1e-2,
        eval_every=4, eval_sessions=256, checkpoint_every=8,
        warm_start=WarmStartConfig(slates=0),
    )  # fmt: skip
    world, found = two_classes(), {}
    for name, gamma in ((LONG, 0.95), (MYOPIC, 0.0)):
        scorer = train_ranker(
            lambda count, seed: ShopVectorEnv(world, count, seed),
            config.model_copy(update={"gamma": gamma}),
            tmp_path_factory.mktemp(name),
            seed=1,
        ).scorer
        found[name] = play_all(world, ranker_policy(scorer), range(SESSIONS))
    return found


def test_a_ranker_that_looks_ahead_beats_the_one_that_does_not(
    trained: dict[str, tuple[Played, Pages]],
) -> None:
    (long, _), (myopic, _) = trained[LONG], trained[MYOPIC]
    assert interval(long.reward - myopic.reward)["low"] > 0
    # It goes most of the way that the equations leave; the other one goes nearly none of it.
    way = worth(BEST) - worth(ALL_GOOD)
    assert long.expected.mean() > worth(ALL_GOOD) + 0.6 * way
    assert myopic.expected.mean() < worth(ALL_GOOD) + 0.1 * way


def test_the_pages_show_how(trained: dict[str, tuple[Played, Pages]]) -> None:
    found = horizon([trained[LONG][1]], [trained[MYOPIC][1]])
    long, myopic = (found["variants"][name] for name in (LONG, MYOPIC))
    assert found["pages"] == list(range(1, PAGES + 1))
    # A plain item on the second page gives up something for a shopper who is not tired of it ...
    assert found["lead"]["high"][1] < 0
    assert long["satiation"][1] < myopic["satiation"][1]
    # ... and stays, so that in the end there is more to earn.
    assert long["there"][-1] > 2 * myopic["there"][-1]
    assert found["lead"]["low"][-1] > 0
